"""The figures and the page of a workdir built by hand."""

import base64
import io
import re

import numpy as np
import pytest
from handmade import DRAWN, Page, edit_json, install, make
from PIL import Image

from kdjax import report
from kdjax.report import gains, records, wording
from kdjax.report.figures import confusion, examples


@pytest.fixture
def source(monkeypatch):
  return install(monkeypatch)


@pytest.mark.slow
def test_figures_are_drawn_at_twice_the_width_of_the_page(tmp_path, source):
  folder = make(tmp_path / "run")
  report.write(folder)
  for ending in ("png", "svg"):
    paths = (folder / "figures").glob(f"*.{ending}")
    assert {path.stem for path in paths} == DRAWN
  for path in (folder / "figures").glob("*.png"):
    image = Image.open(path).convert("RGB")
    assert image.width == 1800
    assert image.height > 200
    pixels = np.asarray(image).reshape(-1, 3)
    assert len(np.unique(pixels[::7], axis=0)) > 20
    assert pixels.std() > 10


@pytest.mark.slow
def test_the_page_includes_all_that_it_shows(tmp_path, source):
  folder = make(tmp_path / "run")
  report.write(folder)
  text = (folder / "report.html").read_text()
  page = Page(text)
  prefix = "data:image/png;base64,"
  pictures = [url for url in page.loads if not url.startswith("#")]
  assert len(pictures) == 6  # three images, on a wide and on a narrow page
  for url in pictures:
    assert url.startswith(prefix)
    image = Image.open(io.BytesIO(base64.b64decode(url[len(prefix) :])))
    assert image.size == (6, 6)
  assert not {"link", "iframe", "object"} & set(page.tags)
  style = text[: text.index("</style>")]
  assert not re.search(r"@import|url\(|https?:", style)
  ids = re.findall(r' id="([^"]+)"', text)
  assert len(ids) == len(set(ids))
  used = re.findall(r'(?:xlink:href="|url\()#([^")]+)', text)
  assert set(used) <= set(ids)


@pytest.mark.slow
def test_the_page_says_how_its_numbers_were_computed(tmp_path, source):
  folder = make(tmp_path / "run")
  report.write(folder)
  for text in (
    Page((folder / "report.html").read_text()).text,
    (folder / "report.md").read_text().replace("`", ""),
  ):
    for phrase in (
      "test split of tiny, 8 examples. Nothing was selected on it.",
      "highest accuracy on validation",
      "shared: all seeds use the teacher of seed 4",
      "mlp(width=7), 1,234 parameters",
      "temperature=4",
      "0.75",
      "2 x abacus",
      "9.8.7",
      "0123456789",
      "kdjax run --config=configs/tiny.py",
      "seed 6",
      "+0.1100 ± 0.0265",
      "better in 3 of 3 seeds",
    ):
      assert phrase in text


@pytest.mark.slow
def test_text_of_a_config_is_escaped(tmp_path, source):
  folder = make(tmp_path / "run")
  edit_json(folder / "config.json", lambda it: it.update(name="<b>a|b</b>"))
  report.write(folder)
  assert "b" not in Page((folder / "report.html").read_text()).tags


def test_confusion_counts_all_seeds_and_no_unlabelled_row(tmp_path):
  predictions = records.read(make(tmp_path / "run")).predictions("distilled")
  # Row 0: positions 0, 3 and 6; row 1: 1 and 4; row 2: 2 and 5.
  expected = [[7, 2, 0], [0, 6, 0], [1, 1, 4]]
  assert confusion.counts(predictions).tolist() == expected


def test_a_vote_is_the_majority_and_of_equals_the_most_probable():
  logits = np.array(
    [
      [[5.0, 0.0, 0.0], [1.0, 0.0, 0.0]],
      [[0.0, 1.0, 0.0], [0.0, 4.0, 0.0]],
      [[0.0, 1.0, 0.0], [0.0, 0.0, 0.1]],
    ]
  )
  assert examples.votes(logits).tolist() == [1, 1]


def test_examples_are_the_corrected_ones_in_any_order_of_the_source(
  tmp_path, source
):
  record = records.read(make(tmp_path / "run"))
  drawing = examples.examples(record, {})
  # Position 4, where all seeds of alone are wrong, then 1, then 2.
  assert source.index[source.requests[-1]].tolist() == [106, 103, 101]
  assert (
    "Of 7 test examples, 3 are classified wrong by alone" in drawing.caption
  )
  assert "1 the reverse" in drawing.caption


@pytest.mark.slow
@pytest.mark.parametrize(
  ("spoil", "lost"),
  [
    (lambda run: (run / "metrics.jsonl").unlink(), {"curves", "terms"}),
    (
      lambda run: (run / "stages/distilled/predictions.npz").unlink(),
      {"confusion", "examples", "classes"},
    ),
    (
      lambda run: edit_json(
        run / "config.json", lambda it: it["data"].update(name="gone")
      ),
      {"examples"},
    ),
    (lambda run: (run / "environment.json").unlink(), set()),
  ],
)
def test_a_figure_without_its_input_is_left_out(tmp_path, source, spoil, lost):
  folder = make(tmp_path / "run")
  (folder / "figures").mkdir()
  for name in DRAWN:
    (folder / "figures" / f"{name}.svg").write_bytes(b"of an earlier report")
  spoil(folder)
  report.write(folder)
  names = {path.stem for path in (folder / "figures").iterdir()}
  assert names == DRAWN - lost
  assert ("Left out" in (folder / "report.md").read_text()) == bool(lost)


@pytest.mark.parametrize("known", [False, True])
def test_a_table_of_gains_without_intervals_over_examples_lacks_their_column(
  known,
):
  interval = {"interval": [0.1, 0.3]} if known else None
  gain = {
    "metric": "accuracy",
    "mode": "max",
    "mean": 0.2,
    "stderr": 0.05,
    "seeds": [0.15, 0.25],
    "interval": [-0.4, 0.8],
    "p": 0.156,
    "bootstrap": interval,
  }
  table = gains.grid({"a-b - a": gain})
  assert (gains.EXAMPLES in table.head) == known
  assert table.rows[0][0] == "a-b over a"
  assert {len(row) for row in table.rows} == {len(table.head)}
  assert ("+0.1000 to +0.3000" in table.rows[0]) == known


def test_stages_without_a_checkpoint_share_a_sentence():
  places = {"a": 10, "b": 0, "c": 0}
  unfinished = {name: {"step": at, "steps": 20} for name, at in places.items()}
  assert wording.unfinished({"unfinished": unfinished}) == [
    "`a` is not finished: step 10 of 20.",
    "Without a checkpoint: `b`, `c`.",
  ]

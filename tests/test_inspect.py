"""`kdjax inspect data`: every record is read, and what is broken is listed."""

import re
import textwrap

import examples
import numpy as np
import pytest
from PIL import Image

from kdjax import cli, registry
from kdjax.data import _split_summary
from kdjax.verbs import _contact_sheet

CONFIG = """
from kdjax.config import data, experiment, stage, network, term

def get_config():
  own = data({name!r}, **{options!r})
  plain = stage(
    network("conv", num_classes=3), terms={{"ce": term("cross_entropy")}}
  )
  return experiment("x", data=own, stages={{"alone": plain}})
"""


@pytest.fixture
def inspect(tmp_path, capsys):
  """Inspects a data set with its options; returns what was printed."""

  def inspect(name, options, *flags, status=None):
    path = tmp_path / "config.py"
    made = CONFIG.format(name=name, options=options)
    path.write_text(textwrap.dedent(made))
    ended = None
    try:
      cli.main(["inspect", "data", f"--config={path}", *flags])
    except SystemExit as error:
      ended = error.code
    assert ended == status
    return capsys.readouterr().out

  return inspect


def row(text, *cells):
  """Whether a line of the output has these cells, in this order."""
  pattern = r"^\s*" + r"\s+".join(re.escape(f"{cell}") for cell in cells)
  return re.search(pattern + r"(\s|$)", text, re.MULTILINE)


def test_counts_classes_missing_modalities_and_lengths_are_printed(
  inspect, tmp_path
):
  options = examples.manifest(tmp_path)
  out = inspect("manifest", options, f"--out={tmp_path / 'a.png'}")
  assert "manifest: 40 records" in out
  # One image, one sound, one text and one label are missing among 40.
  splits = [
    [int(cell) for cell in line.split()[1:]]
    for line in out.splitlines()
    if re.match(r"  (train|validation|test) ", line)
  ]
  assert np.sum(splits, axis=0).tolist() == [40, 39, 0, 1, 1, 0, 1]
  counts = {
    line.split()[0]: [int(cell) for cell in line.split()[1:4]]
    for line in out.splitlines()
    if line.split()[:1] and line.split()[0] in examples.CLASSES
  }
  # Of 40 in turn 14 are circles, 13 squares and 13 stars; r0007 was a square.
  totals = {name: sum(each) for name, each in counts.items()}
  assert totals == {"circle": 14, "square": 12, "star": 13}
  assert re.search(r"text +int32 \[4\] +train +3 +3 +4", out)
  assert "broken records" not in out


def test_broken_records_are_listed_whatever_the_config_does(inspect, tmp_path):
  options = examples.manifest(tmp_path) | {"record_key": ""}
  rows = [examples.row(tmp_path, place) for place in range(60)]
  for place in range(40):
    rows[place]["height"] = "tall"
  rows[50]["photo"] = "img/gone.png"
  examples.write_csv(tmp_path / "manifest.csv", rows)
  options |= {"on_error": "raise", "validation": 0.2, "test": 0.2}
  out = inspect("manifest", options, "--out=", status=1)
  assert "41 broken records, 41 faults" in out
  listed = out.count("'tall' is no number") + out.count("there is no file")
  more = sum(map(int, re.findall(r"(\d+) more faults", out)))
  assert listed + more == 41 and more > 0
  every = inspect("manifest", options, "--out=", "--listed=0", status=1)
  assert every.count("'tall' is no number") == 40
  assert re.search(r"manifest\.csv +52 +photo +there is no file", every)


def test_what_is_cut_or_scaled_is_counted(inspect, tmp_path):
  options = examples.manifest(tmp_path) | {"length": 5, "seconds": 0.2}
  rows = [examples.row(tmp_path, place) for place in range(30)]
  examples.image_file(tmp_path / "img/3.png", 3, (40, 50))
  examples.audio_file(tmp_path / "wav/4.wav", examples.tone(4, 4000))
  rows[5]["caption"] = "one two three four five six"
  examples.write_csv(tmp_path / "manifest.csv", rows)
  out = inspect("manifest", options, "--out=")
  assert "30 images have 2 sizes, from 10x12 to 50x40 pixels" in out
  assert "29 are 10x12" in out
  assert "1 of 30 recordings are longer than seconds=0.2" in out
  assert "the longest has 0.5 s. Sample rates: 8000 Hz" in out
  assert "1 of 30 texts are longer than length=5 and cut" in out


@pytest.mark.slow
def test_a_contact_sheet_shows_some_records(inspect, tmp_path):
  path = tmp_path / "sheet.png"
  out = inspect(
    "tfds", examples.tfds(tmp_path), "--split=train", f"--out={path}"
  )
  assert f"Wrote 24 records of train to {path}." in out
  assert not row(out, "test")
  with Image.open(path) as image:
    assert min(image.size) > 500
    assert len({*np.asarray(image.convert("L")).ravel().tolist()}) > 50


def test_every_data_set_can_be_inspected(inspect, tmp_path):
  out = inspect("digits", {}, "--split=test", f"--out={tmp_path / 'a.png'}")
  assert row(out, "test", 400, 400, 0)
  assert (tmp_path / "a.png").exists()
  out = inspect("arrays", examples.arrays(tmp_path), "--split=test", "--out=")
  assert row(out, "arrays:", 11, "records")


@pytest.mark.parametrize("count", [1, 16, 24])
@pytest.mark.parametrize("keys", [("image",), ("image", "audio")])
def test_no_caption_lies_over_a_picture(count, keys):
  from matplotlib.backends.backend_agg import FigureCanvasAgg

  record = {
    "image": np.zeros((8, 8, 3), np.uint8),
    "audio": np.zeros(400, np.float32),
    "label": np.int32(0),
    "index": np.int32(7),
  }
  figure = _contact_sheet._figure([record] * count, ("a class",), keys)
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  renderer = canvas.get_renderer()
  titles = [it.title.get_window_extent(renderer) for it in figure.axes]
  titled = [
    box for it, box in zip(figure.axes, titles, strict=True) if it.get_title()
  ]
  pictures = [it.get_window_extent(renderer) for it in figure.axes]
  assert len(titled) == count
  for title in titled:
    assert title.y0 >= 0 and title.y1 <= figure.bbox.height
    assert not any(title.overlaps(picture) for picture in pictures)


def test_nothing_is_drawn_of_what_cannot_be_seen(tmp_path):
  record = {"text": np.zeros(3, np.int32), "index": np.int32(0)}
  assert _contact_sheet.draw([record], (), str(tmp_path / "a.png")) == 0
  assert _contact_sheet.draw([], (), str(tmp_path / "a.png")) == 0
  assert not (tmp_path / "a.png").exists()


class Source:
  """Ten records in chunks; every third is broken."""

  values = np.arange(20.0).reshape(10, 2)

  def __len__(self):
    return 10

  def take(self, positions):
    valid = positions % 3 != 0
    return {
      "sizes": np.where(valid[:, None], self.values[positions], np.nan),
      "has/sizes": valid & (positions != 4),
      "label": np.where(valid, positions % 2, -1),
      "index": positions,
      "valid": valid,
    }


def test_a_split_is_measured_without_its_broken_and_missing_values(monkeypatch):
  monkeypatch.setattr(_split_summary, "CHUNK", 4)
  summary = _split_summary.measure(Source(), shown=10)
  assert (summary.size, summary.broken, summary.labelled) == (10, 4, 6)
  assert summary.classes.tolist() == [3, 3]
  assert summary.missing == {"sizes": 1}
  kept = Source.values[[1, 2, 5, 7, 8]]
  np.testing.assert_allclose(
    summary.values["sizes"], (kept.min(), kept.max(), kept.mean(), kept.std())
  )
  shown = [int(record["index"]) for record in summary.shown]
  assert shown == [1, 2, 4, 5, 7, 8]


@pytest.mark.parametrize(
  ("flags", "match"),
  [
    (["inspect"], "needs the word data"),
    (["inspect", "data"], "needs the word data, and --config"),
    (
      ["inspect", "data", "--split=tets"],
      r"'tets' of --split does not exist.*Did you mean",
    ),
    (
      ["inspect", "data", "--stage=alon"],
      r"'alon' of --stage does not exist.*mean 'alone'",
    ),
  ],
)
def test_a_mistake_is_an_error(flags, match, tmp_path, capsys):
  if len(flags) > 2:
    path = tmp_path / "config.py"
    path.write_text(CONFIG.format(name="digits", options={}))
    flags = [*flags, f"--config={path}"]
  with pytest.raises(SystemExit) as stopped:
    cli.main(flags)
  assert stopped.value.code == 2
  assert re.search(match, capsys.readouterr().err)


def test_every_data_set_that_may_skip_does_so_here():
  for name in registry.names("data"):
    known = registry.describe("data", name).options
    assert ("on_error" in known) == ("most_broken" in known), name

"""The report of a workdir built by hand, and the contract of its figures.

  accuracy     seed 0   seed 1   seed 2   mean   sum of squares about it
  alone          .70      .74      .72     .72   .0004 + .0004 + 0
  distilled      .80      .81      .88     .83   .0009 + .0004 + .0025
  difference     .10      .07      .16     .11   .0001 + .0016 + .0025

The sample deviation is sqrt(sum / 2), the standard error that over sqrt(3).
"""

import io
import json
import math
import re
import sys
from xml.etree import ElementTree

import pytest
import rich.console
from handmade import DRAWN, Page, edit_json, install, make
from PIL import Image
from test_experiment import tiny

import kdjax
from kdjax import cli, config, report
from kdjax.errors import UserError
from kdjax.report import figures, page, records, theme
from kdjax.report.document import AbsentError, Drawing, Grid


@pytest.fixture
def source(monkeypatch):
  return install(monkeypatch)


def test_means_and_deviations_are_those_computed_by_hand(tmp_path):
  results = report.summarize(make(tmp_path / "run"))
  assert results["name"] == "tiny"
  assert results["seeds"] == 3
  assert list(results["stages"]) == ["teacher", "alone", "distilled"]
  alone = results["stages"]["alone"]
  assert alone["accuracy"]["mean"] == pytest.approx(0.72)
  assert alone["accuracy"]["std"] == pytest.approx(0.02)
  assert alone["accuracy"]["seeds"] == [0.70, 0.74, 0.72]
  assert alone["accuracy_last"]["mean"] == pytest.approx(0.67)
  assert alone["nll"]["mean"] == pytest.approx(0.7)
  assert alone["nll"]["std"] == pytest.approx(0.2)
  distilled = results["stages"]["distilled"]["accuracy"]
  assert distilled["std"] == pytest.approx(math.sqrt(0.0019))
  assert alone["parameters"] == 1234
  assert alone["examples_per_second"] == 1500.0
  assert alone["seconds"] == 2.5
  assert "map" not in alone


def test_a_gain_is_the_mean_difference_paired_by_seed(tmp_path):
  folder = make(tmp_path / "run")
  gain = report.summarize(folder)["gains"]["distilled - alone"]
  assert gain["mean"] == pytest.approx(0.11)
  assert gain["stderr"] == pytest.approx(math.sqrt(0.0007))
  assert gain["seeds"] == pytest.approx([0.10, 0.07, 0.16])

  def turn(result):
    result["seeds"] = result["seeds"][::-1]
    for values in result["test"].values():
      for name in values:
        values[name] = values[name][::-1]

  edit_json(folder / "stages" / "alone" / "result.json", turn)
  again = report.summarize(folder)["gains"]["distilled - alone"]
  assert again["seeds"] == pytest.approx(gain["seeds"])


@pytest.mark.parametrize("width", [20, 80, 100, 10_000])
def test_a_table_is_cut_into_parts_that_fit_a_terminal(width):
  cells = ["0.8410 ± 0.0160"] * 7
  whole = Grid(["stage", *"abcdef", "note"], [["distilled", *cells]])
  whole.rows[0][-1] = "a remark of many words " * 5
  parts = page.fitting(whole, width)
  assert [name for part in parts for name in part.head[1:]] == whole.head[1:]
  assert all(part.rows[0][0] == "distilled" for part in parts)
  for part in parts:
    lines = io.StringIO()
    console = rich.console.Console(file=lines, width=max(width, 40))
    console.print(page.terminal_table(part))
    count = sum(name != "note" for name in part.head[1:])
    assert lines.getvalue().count("0.8410 ± 0.0160") == count


@pytest.mark.slow
def test_one_seed_has_no_deviation(tmp_path, source):
  folder = make(tmp_path / "run", seeds=1)
  results = report.write(folder)
  accuracy = results["stages"]["alone"]["accuracy"]
  assert accuracy == {"mean": 0.70, "std": None, "seeds": [0.70]}
  gain = results["gains"]["distilled - alone"]
  assert gain["mean"] == pytest.approx(0.10)
  assert gain["stderr"] is None
  # One seed has no deviation.
  assert "0.7000 |" in (folder / "report.md").read_text()
  assert "One seed" in Page((folder / "report.html").read_text()).text


def test_a_value_that_is_not_finite_is_null_and_shown_so(tmp_path, source):
  folder = make(tmp_path / "run")
  path = folder / "stages" / "alone" / "result.json"
  edit_json(
    path, lambda it: it["test"]["best"].update(nll=[1.0, math.nan, 2.0])
  )
  results = report.write(folder)
  nll = results["stages"]["alone"]["nll"]
  assert nll == {"mean": None, "std": None, "seeds": [1.0, None, 2.0]}
  assert "NaN" not in (folder / "results.json").read_text()
  assert "not finite" in report.markdown_table(results)


@pytest.mark.slow
def test_an_unfinished_stage_is_marked_and_has_no_numbers(tmp_path, source):
  folder = make(tmp_path / "run", finished=("teacher", "alone"))
  results = report.write(folder)
  assert list(results["stages"]) == ["teacher", "alone"]
  assert results["unfinished"] == {"distilled": {"step": 30, "steps": 30}}
  assert results["gains"] == {}
  assert "| distilled | unfinished | - |" in report.markdown_table(results)
  for text in (
    (folder / "report.md").read_text(),
    Page((folder / "report.html").read_text()).text,
  ):
    assert re.search(r"distilled[\s|]+unfinished[\s|]+-", text)
    assert "is not finished: step 30 of 30." in text


def test_a_stage_whose_steps_were_raised_is_unfinished(tmp_path):
  folder = make(tmp_path / "run")
  edit_json(
    folder / "config.json",
    lambda it: it["stages"]["distilled"].update(steps=90),
  )
  results = report.summarize(folder)
  assert results["unfinished"] == {"distilled": {"step": 30, "steps": 90}}


def test_an_incomplete_last_line_of_metrics_is_skipped(tmp_path, source):
  folder = make(tmp_path / "run")
  with (folder / "metrics.jsonl").open("a") as file:
    file.write('{"stage": "alone", "step": 40, "se')
  curve = records.read(folder).curve("alone", "train/loss")
  assert curve[4] == {10: 0.2, 20: 0.1, 30: pytest.approx(2 / 30)}
  report.write(folder)
  assert (folder / "figures" / "curves.png").exists()


@pytest.mark.slow
def test_results_json_holds_what_write_returns(tmp_path, source):
  folder = make(tmp_path / "run")
  results = report.write(folder)
  assert json.loads((folder / "results.json").read_text()) == results
  assert results == report.summarize(folder)


@pytest.mark.slow
def test_a_report_can_be_written_elsewhere(tmp_path, source):
  folder = make(tmp_path / "run")
  report.write(folder, tmp_path / "away")
  assert (tmp_path / "away" / "report.html").exists()
  assert not (folder / "report.html").exists()


def test_several_workdirs_are_compared(tmp_path):
  first = make(tmp_path / "a" / "run")
  second = make(tmp_path / "b" / "run", finished=("teacher", "alone"))
  other = make(tmp_path / "other")
  edit_json(
    other / "config.json",
    lambda it: it["stages"]["distilled"]["terms"]["softly"].update(
      temperature=9.0
    ),
  )
  assert list(report.summarize([first, other])) == ["run", "other"]
  markdown, text = report.compare([first, second, other], tmp_path / "out")
  for shown in (markdown, Page(text).text):
    assert "a/run/distilled" in shown
    assert re.search(r"b/run/distilled[\s|]+unfinished", shown)
    assert "stages.distilled.terms.softly.temperature" in shown
  assert "| tmp" not in markdown
  row = next(line for line in markdown.splitlines() if "a/run/alone" in line)
  assert "| 0.7200 ± 0.0200 |" in row
  assert (tmp_path / "out" / "report.md").read_text() == markdown
  assert (tmp_path / "out" / "report.html").read_text() == text
  assert Page(text).loads == []


@pytest.mark.slow
def test_the_command_writes_the_report_and_prints_the_table(
  tmp_path, source, capsys
):
  folder = make(tmp_path / "run")
  cli.main(["report", str(folder)])
  printed = capsys.readouterr().out
  assert re.search(r"distilled +0.8300 ± 0.0436", printed)
  assert str(folder / "report.html") in printed
  other = make(tmp_path / "other")
  cli.main(["report", str(folder), str(other), f"--out={tmp_path / 'out'}"])
  assert "other/alone" in capsys.readouterr().out
  assert (tmp_path / "out" / "report.html").exists()


def test_a_folder_that_is_no_workdir_is_an_error_that_says_what_it_lacks(
  tmp_path, capsys
):
  (tmp_path / "notes.txt").write_text("")
  with pytest.raises(UserError, match=r"lacks config.json.*notes.txt"):
    report.summarize(tmp_path)
  with pytest.raises(UserError, match="nowhere' does not exist"):
    report.summarize(tmp_path / "nowhere")
  empty = make(tmp_path / "empty", finished=())
  with pytest.raises(SystemExit, match="2"):
    cli.main(["report", str(empty)])
  assert "No stage is finished" in capsys.readouterr().err


# Figures


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  """A finished run on digits with teacher, gain and robustness."""
  plan = tiny()
  for stage in plan.stages.values():
    stage.robustness = {"no image": config.corruption("image", levels=(0, 1))}
  folder = tmp_path_factory.mktemp("ran")
  kdjax.run(plan, folder, quiet=True)
  return folder


def is_png(data):
  with Image.open(io.BytesIO(data)) as image:
    return image.format == "PNG" and image.width == 1800


@pytest.mark.parametrize("name", figures.find())
def test_a_figure_draws_a_run_or_says_what_is_missing(name, ran):
  draw = figures.find()[name]
  where = f"kdjax/report/figures/{name}.py"
  order = sys.modules[draw.__module__].ORDER
  assert isinstance(order, int), f"{where}: ORDER must be an int."
  try:
    drawing = draw(records.read(ran), report.summarize(ran))
  except AbsentError as error:
    sentence = str(error)
    assert sentence == "" or re.match(r"[A-Z].*\.$", sentence, re.DOTALL), (
      f"{where}: AbsentError takes a sentence that says what is missing."
    )
    return
  assert isinstance(drawing, Drawing), (
    f"{where}: {name}(..) must return a Drawing."
  )
  assert drawing.title and drawing.caption.endswith("."), (
    f"{where}: a Drawing has a title, and a caption in sentences."
  )
  assert is_png(drawing.png), f"{where}: draw on a figure from `theme.figure`."
  check_pictures(drawing, where)


def check_pictures(drawing, where):
  """The SVGs of a figure have live text, sizes and colours of their page."""
  widths = {"wide": theme.WIDTH, "narrow": theme.NARROW_WIDTH}
  for name, text in drawing.inline().items():
    root = ElementTree.fromstring(text)
    width = float(root.get("viewBox").split()[2])
    assert width == pytest.approx(72 * widths[name]), (
      f"{where}: draw on a figure from `theme.figure`."
    )
    sizes = re.findall(r"font-size: ([\d.]+)px", text)
    assert len(sizes) >= text.count("<text"), f"{where}: a text has no size."
    assert min(map(float, sizes)) >= theme.SMALL, (
      f"{where}: no text is smaller than `theme.SMALL`."
    )
    fixed = {
      match[1]
      for it in root.iter()
      for match in re.finditer(r"(?:fill|stroke): (#\w+)", it.get("style", ""))
    }
    assert not fixed, (
      f"{where}: `paint` must take its colours from its argument, the theme;"
      f" {', '.join(fixed)} are the same on a light and on a dark page."
    )


def test_the_figures_of_a_run_are_in_their_order_on_the_page(ran):
  text = (ran / "report.html").read_text()
  shown = {path.stem for path in (ran / "figures").iterdir()}
  assert {"stages", "curves", "robustness", "confusion"} <= shown
  order = [name for name in figures.find() if name in shown]
  links = re.findall(r"figures/(\w+)\.png", (ran / "report.md").read_text())
  assert links == order
  links = re.findall(r'href="figures/(\w+)\.svg"', text)
  assert links == order
  assert Page(text).tags.count("svg") == 2 * len(order)


NEW_FIGURE = '''
"""The number of stages."""

from kdjax.report.document import AbsentError, Drawing
from kdjax.report.theme import figure

ORDER = 25

def count(record, results):
  if len(results["stages"]) < 3:
    raise AbsentError("Count: fewer than three stages are finished.")

  def paint(theme):
    canvas = figure(1.0)
    canvas.subplots().barh([0], [len(results["stages"])], color=theme.ink)
    return canvas

  return Drawing.of("Count", "The number of finished stages.", paint)
'''


@pytest.fixture
def new_figure(tmp_path, monkeypatch):
  """A folder of figures outside of the package, with a figure `count`."""
  folder = tmp_path / "more"
  folder.mkdir()
  (folder / "count.py").write_text(NEW_FIGURE)
  monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(folder)])
  yield folder
  sys.modules.pop(f"{figures.__name__}.count", None)
  vars(figures).pop("count", None)


def test_a_figure_that_is_added_is_drawn_in_its_order(
  tmp_path, source, new_figure
):
  folder = make(tmp_path / "run")
  report.write(folder)
  markdown = (folder / "report.md").read_text()
  links = re.findall(r"figures/(\w+)\.png", markdown)
  assert [*figures.find()].index("count") == 2
  assert links == [name for name in figures.find() if name in DRAWN | {"count"}]
  assert is_png((folder / "figures" / "count.png").read_bytes())
  assert "The number of finished stages." in markdown
  other = make(tmp_path / "other", finished=("teacher", "alone"))
  report.write(other)
  assert "fewer than three stages" in (other / "report.md").read_text()
  assert not (other / "figures" / "count.png").exists()


@pytest.mark.parametrize("entry", ["ORDER", "count"])
def test_a_figure_without_an_entry_is_an_error(entry, new_figure):
  text = NEW_FIGURE.replace(entry, "OTHER")
  (new_figure / "count.py").write_text(text)
  with pytest.raises(UserError, match=f"'count'.*defines no '{entry}'"):
    figures.find()

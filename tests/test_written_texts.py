"""Students that write texts, on a table with several captions a picture."""

import json
import pathlib

import layouts
import numpy as np
import pytest
from PIL import Image

import kdjax
from kdjax import cli, export
from kdjax.config import fields
from kdjax.serve import app, opening
from kdjax.serve.service import Service

pytestmark = pytest.mark.slow

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


def captions(colour):
  return [f"all {colour}", f"a {colour} picture", f"{colour}"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
  """48 pictures of one colour each, with one to three captions."""
  folder = tmp_path_factory.mktemp("pictures")
  rng = np.random.default_rng(0)
  rows = []
  for place in range(48):
    colour = [*COLOURS][place % 3]
    noise = rng.integers(0, 40, (8, 8, 3))
    pixels = np.uint8(np.add(COLOURS[colour], noise))
    Image.fromarray(pixels).save(folder / f"{place}.png")
    split = ("train", "train", "validation", "test")[place // 3 % 4]
    texts = captions(colour)[: 1 + place % 2 * 2]
    row = {"image": f"{place}.png", "text": texts, "split": split}
    rows.append(row)
  layouts.lines(folder / "table.jsonl", rows)
  return folder


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
  """Two stages of `configs/caption.py:table`, smaller and shorter."""
  made = fields.load(f"{CONFIGS}/caption.py:table")
  with made.unlocked():
    made.update(seeds=2, gains=(), order=("teacher", "alone"))
    made.data.update(root=str(pictures), table="table.jsonl", length=4)
    made.data.image_size = (8, 8)
    made.stages = {name: made.stages[name] for name in made.order}
    for one in made.stages.values():
      one.update(steps=120, batch_size=8, eval_every=60, save_every=0)
      one.networks.student.update(vocabulary=8, length=4)
      one.networks.student.encoders.image.widths = (8, 16)
  path = tmp_path_factory.mktemp("written") / "run"
  kdjax.run(made, path, quiet=True)
  return path


@pytest.fixture(scope="module")
def unseen(pictures):
  """(path, colour) of the pictures of the test split."""
  places = [place for place in range(48) if place // 3 % 4 == 3]
  return [(pictures / f"{it}.png", [*COLOURS][it % 3]) for it in places]


def test_a_student_writes_one_of_the_captions(run, unseen):
  student = kdjax.student(run, "alone")
  assert [it.key for it in student.signature.inputs] == ["image"]
  said = student.predict([{"image": path} for path, _ in unseen])
  for (_, colour), one in zip(unseen, said, strict=True):
    assert one.texts["written"] in captions(colour)


def test_files_are_predicted_as_texts(run, unseen, tmp_path):
  out = tmp_path / "texts.jsonl"
  paths = [str(path) for path, _ in unseen]
  cli.main(
    ["predict", f"--workdir={run}", "--stage=alone", f"--out={out}", *paths]
  )
  rows = [json.loads(line) for line in out.read_text().splitlines()]
  assert len(rows) == len(unseen)
  for row, (path, colour) in zip(rows, unseen, strict=True):
    assert row == {
      "file": str(path),
      "written": row["written"],
      "fault": "",
    }
    assert row["written"] in captions(colour)


def test_exported_files_write_the_same(run, unseen, tmp_path):
  formats = ("stablehlo", "onnx")
  made = export.export(run, "alone", tmp_path / "alone", formats=formats)
  assert made.original.keys() == {"CIDEr-D"}
  student = kdjax.student(run, "alone")
  records = [{"image": path} for path, _ in unseen]
  expected = [it.texts for it in student.predict(records)]
  for it in made.files:
    assert it.agreement == 1
    assert it.scores == made.original
    read = export.load(tmp_path / "alone", it.file)
    assert [one.texts for one in read.predict(records)] == expected


def test_a_server_answers_with_the_text(run, unseen):
  testclient = pytest.importorskip("fastapi.testclient")
  served = Service(opening.of_workdir(run))
  made = app.make(served, app.Limits(), ("testserver",))
  with testclient.TestClient(made) as client:
    path, colour = unseen[0]
    answer = client.post("/predict", files={"image": path.read_bytes()})
    example = client.get("/examples/0").json()
  served.close()
  assert answer.json()["stages"]["alone"]["written"] in captions(colour)
  assert example["label"] in captions(unseen[0][1])


def test_the_report_shows_texts_side_by_side(run):
  cli.main(["report", str(run)])
  page = (run / "report.html").read_text()
  assert "Texts side by side" in page
  drawn = (run / "figures" / "texts.svg").read_text()
  for name in ("right: ", "teacher: ", "alone: "):
    assert name in drawn

"""Students of retrieval: embeddings through heads, looked up by name."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import kdjax
from kdjax import cli, export
from kdjax.config import (
  data,
  experiment,
  head,
  metric,
  network,
  stage,
  teacher,
  term,
)
from kdjax.errors import UserError
from kdjax.export import folder
from kdjax.students import gallery

FORMATS = ("stablehlo", "onnx", "safetensors")


def test_nearest_are_those_of_the_largest_cosines():
  random = np.random.default_rng(0)
  embeddings = random.normal(size=(9, 4)).astype(np.float32)
  names = tuple("abcdefghi")
  query = random.normal(size=4)
  cosines = [
    float(query @ it / np.sqrt(query @ query) / np.sqrt(it @ it))
    for it in embeddings.astype(np.float64)
  ]
  order = sorted(range(9), key=lambda row: -cosines[row])
  found = gallery.Gallery(names, embeddings).nearest(query, 3)
  assert [name for name, _ in found] == [names[row] for row in order[:3]]
  np.testing.assert_allclose(
    [cosine for _, cosine in found], [cosines[row] for row in order[:3]], 1e-5
  )
  assert len(gallery.Gallery(names, embeddings).nearest(query, 99)) == 9
  with pytest.raises(UserError, match="same student"):
    gallery.Gallery(names, embeddings).nearest(np.ones(5), 1)


def test_a_gallery_is_written_and_read(tmp_path):
  path = tmp_path / "names.npz"
  whole = gallery.Gallery(("café", "b"), np.eye(2, 3, dtype=np.float32))
  whole.save(path)
  again = gallery.read(path)
  assert again.names == whole.names
  np.testing.assert_array_equal(again.embeddings, whole.embeddings)


@pytest.mark.parametrize(
  "content",
  [
    {"names": np.array(["a"])},
    {"names": np.array([1]), "embeddings": np.ones((1, 2))},
    {"names": np.array(["a", "b"]), "embeddings": np.ones((1, 2))},
    {"names": np.array(["a"]), "embeddings": np.ones(2)},
    {"names": np.array(["a"], object), "embeddings": np.ones((1, 2))},
  ],
)
def test_what_is_no_gallery_is_refused(tmp_path, content):
  np.savez(tmp_path / "bad.npz", **content)
  with pytest.raises(UserError, match=r"bad\.npz"):
    gallery.read(tmp_path / "bad.npz")


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "folder"])
def test_a_damaged_file_is_no_gallery(tmp_path, damage):
  path = tmp_path / "bad.npz"
  if damage == "folder":
    path.mkdir()
  elif damage != "missing":
    values = np.arange(900, dtype=np.float32)[None]
    np.savez_compressed(path, names=np.array(["a"]), embeddings=values)
    raw = bytearray(path.read_bytes())
    half = len(raw) // 2
    raw[half : half + 40] = b"\xaa" * 40
    path.write_bytes(raw if damage == "flipped" else raw[:half])
  with pytest.raises(UserError, match=r"bad\.npz"):
    gallery.read(path)


def _experiment():
  image = network("conv", widths=(4, 6))
  text = network("text_transformer", vocabulary=17, width=64, depth=1)
  knobs = {"steps": 6, "batch_size": 16, "eval_every": 3}
  reads = {
    "image": "student/image/embedding",
    "text": "student/text/embedding",
    "scale": "student/scale",
  }
  measured = lambda **reads: {
    "metrics": {"retrieval": metric("retrieval", reads=reads)},
    "select": "mean_recall",
  }
  return experiment(
    "tiny",
    seeds=1,
    data=data("digits"),
    stages={
      "towers": stage(
        network("two_tower", encoders={"image": image, "text": text}, width=8),
        terms={"clip": term("clip", reads=reads)},
        **measured(query=reads["image"], key=reads["text"]),
        **knobs,
      ),
      "distilled": stage(
        image,
        teachers={"teacher": teacher("towers")},
        terms={
          "info_nce": term(
            "info_nce",
            reads={
              "student": "student/embedding",
              "teacher": "teacher/text/embedding",
            },
            heads={
              "student": head("linear", width=5),
              "teacher": head("linear", width=5),
            },
            targets=(),
            symmetric=True,
          )
        },
        **measured(
          query="heads/info_nce/student", key="heads/info_nce/teacher"
        ),
        **knobs,
      ),
    },
  )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  path = tmp_path_factory.mktemp("gallery") / "run"
  return path, kdjax.run(_experiment(), path)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["towers", "distilled"])
def test_a_student_and_a_gallery_have_the_recall_of_the_run(run, stage):
  path, results = run
  student = kdjax.student(path, stage)
  side = gallery.OtherSide(path, stage)
  source = side.stage.dataset.load("test", None, **side.stage.data_options)
  arrays = source.take(np.arange(len(source)))
  given = {"image": arrays["image"]}
  if stage == "towers":
    given |= {"text": arrays["text"], "mask/text": arrays["mask/text"]}
  found = student.outputs(given)["retrieval"]
  np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
  recall = side.score(found, side.rows(arrays))
  stated = results["stages"][stage]["mean_recall"]["mean"]
  assert recall == pytest.approx(stated, abs=1e-3)
  # The same by the definition of recall at 1, from names alone.
  whole = side.gallery("test")
  first = [whole.nearest(it, 1)[0] for it in found[:50]]
  keys = whole.embeddings / np.linalg.norm(whole.embeddings, axis=1)[:, None]
  best = (found[:50] @ keys.T).max(1)
  np.testing.assert_allclose([cosine for _, cosine in first], best, atol=1e-5)


@pytest.mark.slow
def test_an_exported_student_names_the_nearest(run, tmp_path):
  pytest.importorskip("onnxruntime", reason='needs pip install -e ".[export]"')
  from PIL import Image

  path, results = run
  out = tmp_path / "student"
  made = export.export(path, "distilled", out, formats=FORMATS, gallery="test")
  stated = results["stages"]["distilled"]["mean_recall"]["mean"]
  for it in made.files:
    assert it.bytes < 60_000  # neither the teacher nor its head
  for it in made.files[:2]:
    assert it.scores["mean recall"] == pytest.approx(stated, abs=1e-3)
  pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
  Image.fromarray(pixels).save(tmp_path / "a.png")
  rows = {}
  for name, flags in {
    "run": (f"--workdir={path}", "--stage=distilled", "--gallery=test"),
    "model": (f"--model={out}",),
  }.items():
    rows_of = tmp_path / f"{name}.jsonl"
    photo = tmp_path / "a.png"
    cli.main(["predict", *flags, "--top=2", f"--out={rows_of}", f"{photo}"])
    rows[name] = json.loads(rows_of.read_text())
  assert rows["run"]["nearest"] == rows["model"]["nearest"]
  assert rows["run"]["cosine"] == pytest.approx(rows["model"]["cosine"], 1e-3)
  assert rows["run"]["cosine"] >= rows["run"]["cosine_2"]
  assert rows["run"]["nearest"] in gallery.read(out / gallery.FILE).names


@pytest.mark.slow
def test_a_killed_export_leaves_nothing_that_stays(tmp_path):
  out = tmp_path / "student"
  write = lambda text: textwrap.dedent(f"""
    import os, pathlib, signal
    from kdjax.export import folder
    out = pathlib.Path({str(out)!r})
    for turn in range({{turns}}):
      with folder.replacing(out) as draft:
        (draft / "student.json").write_text(str(turn))
        (draft / "other").write_text(str(turn))
        {text}
    """)
  python = lambda text, turns: subprocess.Popen(
    [sys.executable, "-c", write(text).format(turns=turns)]
  )
  killed = python("os.kill(os.getpid(), signal.SIGKILL)", 1)
  assert killed.wait() == -9
  assert [it.name[:14] for it in tmp_path.iterdir()] == ["student.draft-"]
  # Two at once: one of them is there in the end, whole, and nothing else.
  both = [python("pass", 200), python("pass", 200)]
  assert [it.wait() for it in both] == [0, 0]
  assert [it.name for it in tmp_path.iterdir()] == ["student"]
  read = {it.name: it.read_text() for it in out.iterdir()}
  assert read == {"student.json": "199", "other": "199"}


def test_an_export_that_was_killed_between_its_renames_returns(tmp_path):
  out = tmp_path / "student"
  gone = subprocess.Popen([sys.executable, "-c", ""])
  gone.wait()
  old = out.with_name(f"student.old-{folder.platform.node()}-{gone.pid}")
  old.mkdir()
  (old / "student.json").write_text("earlier")
  with pytest.raises(KeyError), folder.replacing(out):
    raise KeyError
  assert [it.name for it in tmp_path.iterdir()] == ["student"]
  assert (out / "student.json").read_text() == "earlier"

"""Exported students: what is written, and what it says."""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import kdjax
from kdjax import export
from kdjax.config import (
  data,
  experiment,
  method,
  metric,
  network,
  stage,
  term,
)
from kdjax.config import teacher as taught_by
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.export import (
  examples,
  folder,
  formats,
  measuring,
  runner,
  tokenizers,
)
from kdjax.export.unrolled import unrolled
from kdjax.preprocess.tokenizer import Characters
from kdjax.preprocess.words import Vocabulary
from kdjax.students import trained
from kdjax.students.inputs import Input
from kdjax.students.signature import Signature

pytestmark = pytest.mark.slow

pytest.importorskip("onnxruntime", reason='needs pip install -e ".[export]"')

FORMATS = ("stablehlo", "onnx", "safetensors")


def _experiment():
  image = network("conv", num_classes=10, widths=(4, 6))
  encoders = {
    "image": network("conv", widths=(4, 6)),
    "text": network("text_transformer", vocabulary=17, width=8, depth=1),
  }
  knobs = {
    "terms": {"cross_entropy": term("cross_entropy")},
    "steps": 6,
    "batch_size": 16,
    "eval_every": 3,
  }
  base = stage(image, teachers={"teacher": taught_by("teacher")}, **knobs)
  return experiment(
    "tiny",
    seeds=2,
    data=data("digits", labelled_fraction=0.5),
    stages={
      "teacher": stage(
        network("fusion", encoders=encoders, num_classes=10, width=8), **knobs
      ),
      **method("kd", base, called="distilled"),
    },
  )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp("export") / "run"
  kdjax.run(_experiment(), path)
  return path


@pytest.fixture(scope="module")
def exported(workdir, tmp_path_factory):
  """The student in every format that the test environment has."""
  out = tmp_path_factory.mktemp("students") / "digits"
  return export.export(
    workdir, "distilled", out, formats=FORMATS, int8=True, most=40
  )


@pytest.fixture(scope="module")
def fused(workdir, tmp_path_factory):
  """The teacher of image and text, which may lack each of them."""
  out = tmp_path_factory.mktemp("students") / "fused"
  return export.export(
    workdir, "teacher", out, formats=("stablehlo", "onnx"), most=40
  )


def test_every_format_says_what_the_student_says(exported):
  assert {it.format for it in exported.files} == {*FORMATS, "onnx int8"}
  for it in exported.files:
    limit = 0.05 if "int8" in it.format else 1e-5
    assert it.difference < limit, it.file
    if it.scores and "int8" not in it.format:
      assert it.scores == exported.original


def test_accuracy_is_that_of_evaluate(workdir, tmp_path):
  made = export.export(workdir, "distilled", tmp_path, formats=("stablehlo",))
  measured = kdjax.evaluate(workdir, "distilled")["accuracy"][0]
  assert made.original["accuracy"] == pytest.approx(measured, abs=1e-6)
  (it,) = made.files
  assert it.scores["accuracy"] == pytest.approx(measured, abs=1e-6)


def test_several_classes_and_targets_are_scored(tmp_path):
  """Metrics that read another key than `label`, by the metrics' own reads."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(60, 4)).astype(np.float32)
  columns = {
    "x": x,
    "labels": (x[:, :3] > 0).astype(np.int32),
    "target": x.sum(1),
    "split": np.array(["train"] * 30 + ["validation"] * 10 + ["test"] * 20),
  }
  arrays.hold("export", columns)
  knobs = {"steps": 4, "batch_size": 8, "eval_every": 2}
  net = lambda count: network(
    "mlp", num_classes=count, widths=(6,), modality="x"
  )
  reads = {"student": "student/logits", "label": "batch/labels"}
  aimed = {"student": "student/logits", "target": "batch/target"}
  stages = {
    "several": stage(
      net(3),
      terms={"bce": term("binary_cross_entropy", reads=reads)},
      metrics={"multilabel": metric("multilabel", reads=reads)},
      select="hamming_loss",
      select_mode="min",
      **knobs,
    ),
    "value": stage(
      net(1),
      terms={"huber": term("huber", reads=aimed)},
      metrics={"regression": metric("regression", reads=aimed)},
      select="mse",
      select_mode="min",
      **knobs,
    ),
  }
  config = experiment(
    "kinds", seeds=1, data=data("arrays", held="export"), stages=stages
  )
  kdjax.run(config, tmp_path / "run")
  wanted = {
    "several": ("share right", "hamming_loss", lambda it: 1 - it),
    "value": ("RMSE", "rmse", lambda it: it),
  }
  for name, (score, measured, same) in wanted.items():
    made = export.export(
      tmp_path / "run", name, tmp_path / name, formats=("stablehlo",)
    )
    (expected,) = kdjax.evaluate(tmp_path / "run", name)[measured]
    assert made.files[0].scores == {
      score: pytest.approx(same(expected), abs=1e-6)
    }
    assert made.original == made.files[0].scores


def test_the_card_has_every_file_and_its_numbers(exported):
  card = (exported.folder / folder.CARD).read_text()
  assert card.startswith("---\nlicense: cc-by-4.0\n")
  for it in exported.files:
    assert f"`{it.file}`" in card
    assert (exported.folder / it.file).stat().st_size == it.bytes
  assert f"accuracy {exported.original['accuracy']:.3f}" in card
  assert max(map(len, card.splitlines())) <= 400


@pytest.mark.parametrize("which", ["exported", "fused"])
def test_the_lines_of_the_card_run(which, request):
  made = request.getfixturevalue(which)
  card = (made.folder / folder.CARD).read_text()
  blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
  assert len(blocks) == 2
  for block in blocks:
    done = subprocess.run(
      [sys.executable, "-I", "-c", block],
      cwd=made.folder,
      capture_output=True,
      text=True,
      check=False,
    )
    assert not done.returncode, done.stderr
    said = eval(done.stdout.strip().splitlines()[-1])
    assert sum(said.values()) == pytest.approx(1, abs=1e-4)
    assert "kdjax" not in block


def test_no_exported_file_has_a_path_of_this_machine(exported, fused):
  package = pathlib.Path(kdjax.__file__).parent
  for made in (exported, fused):
    for path in made.folder.iterdir():
      content = path.read_bytes()
      for secret in (package, made.folder, pathlib.Path.home(), sys.prefix):
        assert str(secret).encode() not in content, (path.name, secret)


def test_a_loaded_student_is_called_like_one_of_a_workdir(
  workdir, exported, fused
):
  image = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
  own = kdjax.student(workdir, "distilled")(image=image)["probabilities"]
  for file in ("student.onnx", "student.stablehlo"):
    loaded = export.load(exported.folder, file)
    np.testing.assert_allclose(
      loaded(image=image)["probabilities"], own, atol=1e-6
    )
  text = "odd digit; no hole"
  records = [{"image": image[0], "text": text}, {"text": text}]
  ours = kdjax.student(workdir, "teacher").predict(records)
  theirs = export.load(fused.folder, "student.onnx").predict(records)
  for one, other in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(
      one.outputs["probabilities"], other.outputs["probabilities"], atol=1e-6
    )


def test_a_student_that_never_gets_an_input_says_the_same(workdir, tmp_path):
  made = export.export(
    workdir,
    "teacher",
    tmp_path,
    formats=("stablehlo",),
    without=("text",),
    most=10,
  )
  _, signature = folder.read(made.folder)
  assert [it.key for it in signature.inputs] == ["image"]
  image = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)
  np.testing.assert_allclose(
    export.load(made.folder)(image=image)["probabilities"],
    kdjax.student(workdir, "teacher")(image=image)["probabilities"],
    atol=1e-6,
  )


def test_an_export_has_no_teacher(workdir, exported):
  student = trained.trained(workdir, "distilled").variables
  count = sum(np.size(it) for it in _leaves(student))
  weights = exported.folder / "model.safetensors"
  assert weights.stat().st_size < 4 * count + 4000


def _leaves(tree):
  import jax

  return jax.tree.leaves(tree)


def test_an_export_replaces_an_earlier_one_and_nothing_else(workdir, tmp_path):
  out = tmp_path / "student"
  options = {"formats": ("safetensors",), "most": 10}
  export.export(workdir, "distilled", out, **options)
  (out / "left.txt").write_text("of an earlier export")
  export.export(workdir, "distilled", out, **options)
  assert not (out / "left.txt").exists()
  other = tmp_path / "mine"
  other.mkdir()
  (other / "thesis.txt").write_text("mine")
  with pytest.raises(UserError, match="holds something"):
    export.export(workdir, "distilled", other, **options)
  assert (other / "thesis.txt").read_text() == "mine"
  assert sorted(it.name for it in tmp_path.iterdir()) == ["mine", "student"]


def test_what_stops_half_way_leaves_nothing(workdir, tmp_path, monkeypatch):
  def stop(*arguments):
    raise KeyboardInterrupt

  monkeypatch.setattr(measuring, "measure", stop)
  with pytest.raises(KeyboardInterrupt):
    export.export(workdir, "distilled", tmp_path / "out", formats=("onnx",))
  assert not [*tmp_path.iterdir()]


WRONG = {
  "unfinished": ({"stage": "nothing"}, "No stage 'nothing'"),
  "format": ({"formats": ("coreml",)}, "No format 'coreml'"),
  "output": ({"outputs": ("logit",)}, "no output 'logit'"),
  "without": ({"without": ("image",)}, "needs 'image'"),
  "unknown input": ({"without": ("sound",)}, "no input 'sound'"),
  "none": ({"formats": ()}, "No format is named"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_sentence_and_writes_nothing(
  case, workdir, tmp_path
):
  options, says = WRONG[case]
  given = {"stage": "distilled", "formats": ("safetensors",), **options}
  with pytest.raises(UserError, match=says):
    export.export(workdir, out=tmp_path / "out", **given)
  assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", formats.names())
def test_a_missing_package_is_named_with_the_line_that_installs_it(
  name, monkeypatch
):
  monkeypatch.setattr(formats, "lacking", lambda packages: [*packages][:1])
  with pytest.raises(UserError, match=re.escape(formats.named(name).INSTALL)):
    formats.check(name)


def test_without_a_format_those_are_written_whose_packages_are_there(
  workdir, tmp_path, monkeypatch
):
  lacking = formats.lacking
  monkeypatch.setattr(
    formats,
    "lacking",
    lambda packages: (
      [*lacking(packages)]
      + [it for it in packages if it in ("jax2onnx", "litert_converter")]
    ),
  )
  made = export.export(workdir, "distilled", tmp_path / "out", most=10)
  assert [it.format for it in made.files] == ["stablehlo"]
  assert {*made.refused} == {"onnx", "litert"}
  assert all("Install: " in why for why in made.refused.values())


BROKEN = {
  "cut": ("student.onnx", lambda raw: raw[: len(raw) // 2], "cannot be opened"),
  "version": (
    "student.json",
    lambda raw: raw.replace(b'"version": 1', b'"version": 99'),
    "version 99",
  ),
  "no JSON": ("student.json", lambda raw: b"{", "cannot be read"),
  "other JSON": ("student.json", lambda raw: b'{"version": 1}', "signature"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_export_is_one_sentence(case, exported, tmp_path):
  for path in exported.folder.iterdir():
    (tmp_path / path.name).write_bytes(path.read_bytes())
  file, change, says = BROKEN[case]
  (tmp_path / file).write_bytes(change((tmp_path / file).read_bytes()))
  with pytest.raises(UserError, match=says):
    export.load(tmp_path, "student.onnx")


def test_an_int8_file_is_loaded_by_its_name(exported):
  image = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
  said = export.load(exported.folder, "student.int8.onnx")(image=image)
  whole = export.load(exported.folder, "student.onnx")(image=image)
  np.testing.assert_allclose(
    said["probabilities"], whole["probabilities"], atol=0.05
  )


def test_weights_alone_are_not_run(workdir, exported, tmp_path):
  with pytest.raises(UserError, match="it is safetensors"):
    export.load(exported.folder, "model.safetensors")
  options = {"formats": ("safetensors",), "most": 10}
  export.export(workdir, "distilled", tmp_path, **options)
  with pytest.raises(UserError, match="it is safetensors"):
    export.load(tmp_path)


def test_a_student_whose_runtimes_are_missing_names_a_line(
  exported, monkeypatch
):
  monkeypatch.setattr(formats, "lacking", lambda packages: [*packages][:1])
  line = re.escape(formats.named("stablehlo").INSTALL)
  with pytest.raises(UserError, match=f"needs jax.*{line}"):
    export.load(exported.folder)


def test_a_folder_without_a_student_is_named(tmp_path):
  with pytest.raises(UserError, match="no exported student"):
    export.load(tmp_path)


def test_a_file_that_says_something_else_is_refused(exported):
  (found, *_) = exported.files
  wrong = measuring.Measurement(**{**found.to_json(), "difference": 0.01})
  with pytest.raises(UserError, match="another network"):
    measuring.check(
      wrong, Signature("tiny", (), (), ()), {"probabilities": np.ones(3)}
    )


def test_scores_are_those_of_a_reference():
  result = lambda kind: trained.Result("r", kind, ("a", "b", "c"))
  output = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
  label = np.array([1, 2, -1])
  assert examples.score(result("softmax"), output, label) == ("accuracy", 0.5)
  labels = np.array([[0, 1, 0], [1, 1, -1], [-1, -1, -1]])
  name, value = examples.score(result("sigmoid"), output, labels)
  # Right: .2, .5 is not above .5, .3; .6; .3 is wrong.
  assert (name, value) == ("share right", pytest.approx(3 / 5))
  name, value = examples.score(
    result("value"), np.array([1.0, 4.0]), np.array([[3.0], [1.0]])
  )
  assert (name, value) == ("RMSE", pytest.approx(np.sqrt((4 + 9) / 2)))


TEXTS = (
  "A small, BROWN bird; it's on the tree.",
  "Straße İstanbul ΟΔΟΣ ΣΟΦΟΣ, Σ! naïve nai\u0308ve",
  "don't rock 'n' roll 2nd 3.5",
  "",
  "  ... ",
  "鳥 と 木 นก",
  "one two three four five six seven eight nine ten",
)


@pytest.mark.parametrize("kind", [Vocabulary, Characters])
def test_an_exported_tokenizer_gives_the_ids_of_the_data_set(kind, tmp_path):
  reader = kind.build(TEXTS[:3], 20)
  text = Input("text", "text", (6,), "int32", mask=(6,))
  signature = Signature("tiny", (text,), (), ("embedding",))
  stated = tokenizers.write({"text": reader}, signature, tmp_path)
  read = tokenizers.read(tmp_path, signature, stated)["text"]
  for own, exported in zip(
    reader.encode(TEXTS, 6), read.encode(TEXTS, 6), strict=True
  ):
    np.testing.assert_array_equal(own, exported)


def test_loops_written_out_equal_loops():
  import jax
  import jax.numpy as jnp

  def program(x):
    def step(state, row):
      state = jnp.tanh(state + row)
      return state, state * 2

    for reverse in (False, True):
      state, rows = jax.lax.scan(step, x[0], x, reverse=reverse)
      x = x + rows + state[None]
    return (jax.lax.fori_loop(0, 3, lambda i, y: y * 1.5 + i, x),)

  x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
  np.testing.assert_allclose(unrolled(program)(x)[0], program(x)[0], rtol=1e-6)
  names = {
    it.primitive.name for it in jax.make_jaxpr(unrolled(program))(x).eqns
  }
  assert "scan" not in names
  assert "while" not in names


def test_a_loop_that_is_too_long_is_named(monkeypatch, tmp_path):
  import jax
  import jax.numpy as jnp

  from kdjax.export import unrolled as loops

  class Long:
    names, outputs = ("x",), ("y",)

    def __call__(self, x):
      step = lambda state, _: (jnp.tanh(state), None)
      return (jax.lax.scan(step, x, None, length=9)[0],)

    def shapes(self, batch):
      return [jax.ShapeDtypeStruct((batch, 3), np.float32)]

  monkeypatch.setattr(loops, "MOST", 8)
  with pytest.raises(UserError, match="has 9 steps"):
    formats.named("onnx").write(Long(), tmp_path)


def test_the_runner_knows_nothing_of_kdjax():
  source = pathlib.Path(runner.__file__).read_text()
  assert not re.search(r"^(from|import) kdjax", source, re.MULTILINE)


def test_the_signature_file_is_plain_json(exported):
  content = json.loads((exported.folder / folder.SIGNATURE).read_text())
  assert content["arguments"] == ["image"]
  assert content["outputs"] == ["probabilities"]
  assert [it["file"] for it in content["files"]] == [
    it.file for it in exported.files
  ]

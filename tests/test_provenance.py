"""What a stage was trained with is recorded, and compared when it is used."""

import importlib.machinery
import json
import shutil

import checkpoints
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.cache import imported
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.training import provenance, provenance_check, source_hashes

N, K = 60, 3
KNOBS = {"steps": 2, "batch_size": 8, "log_every": 1, "eval_every": 1}
LABELS = {"cross_entropy": config.term("cross_entropy")}


def examples(seed=0):
  rng = np.random.default_rng(seed)
  return {
    "image": rng.normal(size=(N, 4, 4, 1)).astype(np.float32),
    "label": np.arange(N) % K,
    "split": np.array(["train", "validation", "test"])[np.arange(N) // 4 % 3],
  }


def plan_of(root, *, loss="kd", steps=2, **data):
  network = config.network("mlp", widths=(4,), num_classes=K)
  knobs = {**KNOBS, "steps": steps}
  return config.experiment(
    "provenance",
    seeds=1,
    data=config.data("arrays", root=str(root), **data),
    stages={
      "teacher": config.stage(network, terms=LABELS, **KNOBS),
      "student": config.stage(
        network,
        teachers={"teacher": config.teacher("teacher")},
        terms={**LABELS, "soft": config.term(loss)},
        **knobs,
      ),
    },
  )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A folder with a file of examples, a loss and a finished run."""
  folder = tmp_path_factory.mktemp("trained")
  np.savez(folder / "data.npz", **examples())
  write_loss(folder)
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(folder))  # it has the loss's helper
    kdjax.run(
      plan_of(folder / "data.npz", loss=str(folder / "mine.py")),
      folder / "run",
      quiet=True,
    )
    yield folder


def write_loss(folder, power=2, comment=""):
  folder.joinpath("mine.py").write_text(
    f'"""Mine.{comment}"""\n\nimport helper{comment and "  # a comment"}\n\n\n'
    f'def mine(student, teacher):\n  """Mine.{comment}"""\n'
    f"  return helper.power(student - teacher)\n"
  )
  folder.joinpath("helper.py").write_text(
    f"def power(x):\n  return (x ** {power}).sum(-1)\n"
  )


@pytest.fixture
def folder(trained, tmp_path):
  """A copy of it: other paths, equal contents."""
  copied = shutil.copytree(trained, tmp_path / "copy")
  path = copied / "run" / "config.json"
  path.write_text(path.read_text().replace(str(trained), str(copied)))
  for name in ("teacher", "student"):
    path = copied / "run" / "stages" / name / "provenance.json"
    path.write_text(path.read_text().replace(str(trained), str(copied)))
  return copied


def continued(folder, steps=3, accept=(), **data):
  plan = plan_of(
    folder / "data.npz", loss=str(folder / "mine.py"), steps=steps, **data
  )
  return kdjax.run(plan, folder / "run", quiet=True, accept=accept)


def change_labels(folder):
  changed = examples()
  changed["label"] = (changed["label"] + 1) % K
  np.savez(folder / "data.npz", **changed)


CHANGES = {
  "labels": (change_labels, "data", r"other data: .*train was \w+, is \w+"),
  "test examples": (
    lambda folder: np.savez(
      folder / "data.npz",
      **{**examples(), "image": examples()["image"] * one_in_test()},
    ),
    "data",
    r"other data: test was \w+, is \w+",
  ),
  "a loss": (
    lambda folder: write_loss(folder, power=4),
    "sources",
    r"other sources: losses:.*mine.py was \w+, is \w+",
  ),
}


def one_in_test():
  return np.where(examples()["split"] == "test", 2, 1)[:, None, None, None]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 3], ids=["finished", "continued"])
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_refused_named_and_can_be_accepted(folder, what, steps):
  change, part, message = CHANGES[what]
  change(folder)
  before = (folder / "run" / "metrics.jsonl").read_text()
  with pytest.raises(UserError, match=message):
    continued(folder, steps)
  for use in (kdjax.evaluate, *([kdjax.restore] * (part == "sources"))):
    if what == "a loss" and use is kdjax.restore:
      continue  # a network is restored without its losses
    with pytest.raises(UserError, match=f"--accept={part}"):
      use(folder / "run", "student")
  assert (folder / "run" / "metrics.jsonl").read_text() == before
  continued(folder, steps, accept=(part,))
  assert json.loads((folder / "run/config.json").read_text())["accepted"] == [
    part
  ]
  environment = json.loads((folder / "run/environment.json").read_text())
  assert environment["accepted"] == [part]
  assert "--accept allowed" in (folder / "run" / "report.md").read_text()
  # It is accepted once: the record is the new one.
  continued(folder, steps)


@pytest.mark.slow
def test_equal_contents_elsewhere_and_comments_are_no_change(folder):
  write_loss(folder, comment=" Said otherwise.")
  shutil.move(folder / "data.npz", folder / "moved.npz")
  plan = plan_of(folder / "moved.npz", loss=str(folder / "mine.py"), steps=3)
  results = kdjax.run(plan, folder / "run", quiet=True)
  assert set(results["stages"]) == {"teacher", "student"}


@pytest.mark.slow
def test_a_teacher_is_known_by_its_variables(folder):
  stages = folder / "run" / "stages"
  shutil.rmtree(stages / "teacher")
  # The same teacher again: its variables are the same.
  continued(folder, 2)
  shutil.rmtree(stages / "teacher")
  plan = plan_of(folder / "data.npz", loss=str(folder / "mine.py"))
  plan.stages.teacher.optimizer.learning_rate = 0.5
  with pytest.raises(UserError, match=r"other teachers: teacher was \w+, is"):
    kdjax.run(plan, folder / "run", quiet=True)
  assert (stages / "student" / "result.json").exists()


def test_class_names_are_compared_with_words():
  old = {"train": ["ab"], "classes": ["ant", "bee"]}
  new = {"train": ["ab"], "classes": ["bee", "cat"]}
  (sentence,) = provenance_check.differences(old, new)
  assert sentence == 'classes were ["ant", "bee"], are ["bee", "cat"]'


def test_a_record_names_every_component_of_a_stage(trained):
  record = provenance.read(trained / "run", "student")
  kinds = {key.partition(":")[0] for key in record["sources"]}
  assert kinds == {"data", "losses", "metrics", "models"}
  assert record["data"].keys() == {
    "train", "validation", "test", "classes", "texts",
  }  # fmt: skip
  assert record["data"]["classes"] == ["0", "1", "2"]
  (teacher,) = record["teachers"].values()
  assert len(teacher) == 32


def test_a_hash_follows_imports_and_skips_docstrings(tmp_path):
  write_loss(tmp_path)
  name = str(tmp_path / "mine.py")
  first = source_hashes.of_component("losses", name)
  write_loss(tmp_path, comment=" Other words.")
  assert source_hashes.of_component("losses", name) == first
  write_loss(tmp_path, power=3)
  assert source_hashes.of_component("losses", name) != first


def test_a_hash_takes_the_bytes_of_what_is_compiled(tmp_path, monkeypatch):
  compiled = tmp_path / f"fast{importlib.machinery.EXTENSION_SUFFIXES[0]}"
  compiled.write_bytes(b"\x90\x00\xff")
  component = tmp_path / "mine" / "loss.py"
  component.parent.mkdir()
  component.write_text("import fast\n\n\ndef loss(x):\n  return fast.f(x)\n")
  monkeypatch.syspath_prepend(tmp_path)
  first = source_hashes.of_component("losses", str(component))
  compiled.write_bytes(b"\x90\x00\xfe")
  assert source_hashes.of_component("losses", str(component)) != first


def test_a_hash_knows_installed_packages_of_other_environments(
  tmp_path, monkeypatch
):
  packages = tmp_path / "lib" / "site-packages"
  packages.mkdir(parents=True)
  (packages / "installed.py").write_text("value = 1\n")
  component = tmp_path / "loss.py"
  component.write_text("import installed\n\n\ndef loss(x):\n  return x\n")
  monkeypatch.syspath_prepend(packages)
  first = source_hashes.of_component("losses", str(component))
  (packages / "installed.py").write_text("value = 2\n")
  assert source_hashes.of_component("losses", str(component)) == first


def test_transforms_count_as_code_and_are_not_imported(tmp_path):
  path = tmp_path / "grey.py"
  path.write_text("raise SystemExit\n\n\ndef grey(key, x):\n  return x\n")
  plan = plan_of(tmp_path).to_dict()
  pipeline = f'to_float|"{path}"|cutout(size=2)'
  plan["data"]["pipelines"] = {"train": {"image": pipeline}}
  found = source_hashes.components(plan, "student")
  names = {name for kind, name in found if kind == "transforms"}
  assert names == {"to_float", str(path), "cutout"}


def test_a_workdir_without_a_record_of_outside_code_is_not_run(folder):
  (folder / "run" / "stages" / "student" / "provenance.json").unlink()
  with pytest.raises(UserError, match="no record of that code"):
    kdjax.evaluate(folder / "run", "student")


def test_no_split_may_be_without_labels(tmp_path):
  for split in ("train", "validation", "test"):
    wrong = examples()
    wrong["label"] = np.where(wrong["split"] == split, -1, wrong["label"])
    arrays.hold("unlabelled", wrong)
    plan = plan_of("")
    plan.data.held = "unlabelled"
    with pytest.raises(UserError, match=f"no example of the split '{split}'"):
      kdjax.run(plan, tmp_path / split, quiet=True)
    assert not (tmp_path / split / "stages").exists()


def test_a_published_teacher_is_known_by_its_files(tmp_path):
  checkpoints.write(tmp_path / "a", "bert", checkpoints.BERT, words=False)
  first = provenance.published_hash(str(tmp_path / "a"))
  shutil.copytree(tmp_path / "a", tmp_path / "b")
  assert provenance.published_hash(str(tmp_path / "b")) == first
  weights = tmp_path / "b" / "model.safetensors"
  raw = bytearray(weights.read_bytes())
  raw[-1] ^= 1
  weights.write_bytes(raw)
  plan = {
    "stages": {
      name: {
        "teachers": {
          "t": {"frozen": {"name": "bert", "pretrained": str(tmp_path / name)}}
        },
        "networks": {},
        "terms": {},
      }
      for name in ("a", "b")
    }
  }
  (one,) = provenance.teachers_of(plan, tmp_path, "a").values()
  (other,) = provenance.teachers_of(plan, tmp_path, "b").values()
  assert one == first != other


def test_imported_outputs_are_known_by_their_values(tmp_path):
  for name, shift in (("a", 0), ("b", 0), ("c", 1)):
    logits = np.arange(12, dtype=np.float32).reshape(4, 3) + shift
    np.savez(tmp_path / f"{name}.npz", index=np.arange(4), logits=logits)
    imported.import_file(str(tmp_path / f"{name}.npz"), str(tmp_path / name))
  a, b, c = (imported.identity(str(tmp_path / name)) for name in "abc")
  assert a == b != c

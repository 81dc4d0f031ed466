"""Methods of several kinds, trained: stages, kept heads, memories, averages."""

import json
import shutil

import numpy as np
import pytest

import kdjax
from kdjax import config, registry
from kdjax.training import checkpoints
from kdjax.training.loop import Loop

pytestmark = pytest.mark.slow

KNOBS = {
  "steps": 6,
  "batch_size": 16,
  "log_every": 2,
  "eval_every": 3,
  "save_every": 3,
}


def experiment(**methods):
  """A teacher and stages of methods, a few steps each."""
  make = lambda *widths: config.network("conv", widths=widths, num_classes=10)
  labels = {"cross_entropy": config.term("cross_entropy")}
  # Where no method reads its maps, a student without any is traced faster.
  flat = config.network("mlp", widths=(8,), num_classes=10, modality="image")
  students = {"simkd": make(4, 6), "fsp": make(4, 6)}
  stages = {"teacher": config.stage(make(5, 8), terms=labels, **KNOBS)}
  for name, options in methods.items():
    kind = options.pop("method", name)
    knobs = options.pop("knobs", {})
    teachers = {"teacher": config.teacher("teacher")}
    student = students.get(kind, flat)
    base = config.stage(
      student, teachers=teachers, terms=labels, **(KNOBS | knobs)
    )
    made = config.method(kind, base, **options)
    stages |= {key.replace(kind, name): one for key, one in made.items()}
  return config.experiment(
    "methods",
    seeds=2,
    data=config.data("digits", labelled_fraction=0.25, views=("strong",)),
    stages=stages,
  )


def crd(memory, **knobs):
  options = {"memory": memory, "data_size": 1797, "negatives": 32}
  return {"method": "crd", "knobs": knobs, **options}


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
  """Where `ran` copies its workdir after step 3 of the stage `queue`."""
  return tmp_path_factory.mktemp("cut")


@pytest.fixture(scope="module")
def ran(cut, tmp_path_factory):
  """The workdir and results of a run of several methods with one teacher."""
  folder = tmp_path_factory.mktemp("methods")
  save = Loop._save

  def save_and_copy(self, step, *arguments):
    save(self, step, *arguments)
    if (self.stage.name, step) == ("queue", 3):
      self.checkpoints.wait()
      shutil.copytree(folder, cut, dirs_exist_ok=True)

  plan = experiment(
    queue=crd("queue"),
    simkd={},
    mean_teacher={},
    fsp={},
    dml={},
    bank=crd("bank"),
    batch=crd("batch", optimizer=config.optimizer("dot", learning_rate=0.01)),
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Loop, "_save", save_and_copy)
    return folder, kdjax.run(plan, folder, quiet=True)


def stored(folder, stage):
  """Everything in a stage's last checkpoint, by name."""
  path = folder / "stages" / stage / "checkpoints"
  with checkpoints.Checkpoints(path) as opened:
    return opened.read("")


def test_a_student_that_keeps_a_head_is_restored_with_it(ran):
  folder, _ = ran
  test = registry.find("data", "digits").load("test")
  kept = np.load(folder / "stages" / "simkd" / "predictions.npz")
  model, variables = kdjax.restore(folder, "simkd", seed=1)
  image = test.columns["image"][:32]
  outputs = model.apply(variables, {"image": image}, train=False)
  np.testing.assert_allclose(
    outputs["logits"], kept["logits"][1][:32], atol=1e-5
  )
  # Its own classifier was not trained: its outputs differ.
  bare = variables["stage"]["networks"]["student"]
  module = model.stage.objective.networks["student"]
  plain = module.apply(bare, {"image": image}, train=False)
  assert not np.allclose(plain["logits"], outputs["logits"], atol=1e-2)


def test_a_memory_is_saved_and_the_run_goes_on_with_it(ran, cut):
  whole, _ = ran
  before = stored(cut, "queue")
  assert len(list((cut / "stages" / "queue" / "checkpoints").glob("3"))) == 1
  plan = experiment(queue=crd("queue"))
  kdjax.run(plan, cut, stage="queue", quiet=True)
  found, expected = stored(cut, "queue"), stored(whole, "queue")
  memories = [key for key in expected if ".memory." in key]
  assert memories
  assert any(not np.array_equal(before[key], expected[key]) for key in memories)
  for key in expected:
    np.testing.assert_array_equal(found[key], expected[key], err_msg=key)


def test_an_averaged_teacher_is_reported_as_an_average(ran):
  folder, results = ran
  assert np.isfinite(results["stages"]["mean_teacher"]["accuracy"]["mean"])
  page = (folder / "report.md").read_text()
  assert "running average of its own `student`" in page


def test_the_stages_of_a_method_run_in_order_and_pass_on_what_they_learned(ran):
  folder, results = ran
  stages = [name for name in results["stages"] if name.startswith("fsp")]
  assert stages == ["fsp-1", "fsp"]
  result = json.loads((folder / "stages" / "fsp" / "result.json").read_text())
  assert result["teachers"] == {"teacher": 6, "fsp-1": 1}


def test_networks_trained_together_both_learn(ran):
  folder, results = ran
  stage = folder / "stages" / "dml"
  parameters = json.loads((stage / "result.json").read_text())["parameters"]
  assert parameters["student"] == parameters["peer"]
  first, second = (
    kdjax.restore(folder, "dml", network=name)[1]["params"]["head"]["kernel"]
    for name in ("student", "peer")
  )
  assert not np.allclose(first, second)
  assert np.isfinite(results["stages"]["dml"]["nll"]["mean"])


@pytest.mark.parametrize("memory", ["queue", "bank", "batch"])
def test_contrast_has_one_interface_for_each_memory(ran, memory):
  """The memory of the batch is also the run with the optimizer `dot`."""
  folder, results = ran
  assert np.isfinite(results["stages"][memory]["loss/crd"]["mean"])
  plan = json.loads((folder / "config.json").read_text())["stages"][memory]
  assert (plan["optimizer"]["name"] == "dot") == (memory == "batch")

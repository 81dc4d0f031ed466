"""Methods of several kinds, trained: stages, kept heads, memories, averages."""

import json
import shutil

import numpy as np
import pytest

import kdjax
from kdjax import config, registry
from kdjax.training import checkpoints

pytestmark = pytest.mark.slow

KNOBS = {
  "steps": 6,
  "batch_size": 16,
  "log_every": 2,
  "eval_every": 3,
  "save_every": 3,
}


def experiment(name=None, **options):
  """A teacher and perhaps a method, a few steps each."""
  make = lambda *widths: config.network("conv", widths=widths, num_classes=10)
  labels = {"cross_entropy": config.term("cross_entropy")}
  alone = config.stage(make(4, 6), terms=labels, **KNOBS)
  base = config.extended(
    alone, {}, teachers={"teacher": config.teacher("teacher")}
  )
  return config.experiment(
    "methods",
    seeds=2,
    data=config.data("digits", labelled_fraction=0.25, views=("strong",)),
    stages={
      "teacher": config.stage(make(5, 8), terms=labels, **KNOBS),
      **(config.method(name, base, **options) if name else {}),
    },
  )


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
  """A run with a trained teacher, to which methods are added as stages."""
  folder = tmp_path_factory.mktemp("taught")
  kdjax.run(experiment(), folder, quiet=True)
  return folder


@pytest.fixture
def folder(taught, tmp_path):
  """A copy of that run."""
  return shutil.copytree(taught, tmp_path / "run")


def run(name, folder, **options):
  return kdjax.run(experiment(name, **options), folder, quiet=True)


def stored(folder, stage):
  """Everything in a stage's last checkpoint, by name."""
  path = folder / "stages" / stage / "checkpoints"
  with checkpoints.Checkpoints(path) as opened:
    return opened.read("")


def test_a_student_that_keeps_a_head_is_restored_with_it(folder):
  run("simkd", folder)
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


def test_a_memory_is_saved_and_the_run_goes_on_with_it(taught, tmp_path):
  whole, cut = (
    shutil.copytree(taught, tmp_path / name) for name in ("whole", "cut")
  )
  options = {"memory": "queue", "data_size": 1797, "negatives": 32}
  run("crd", whole, **options)
  plan = experiment("crd", **options)
  with plan.unlocked():
    plan.stages.crd.steps = 3
    # Of a shorter run the learning rate is the same: it is constant.
  kdjax.run(plan, cut, quiet=True)
  before = stored(cut, "crd")
  run("crd", cut, **options)
  found, expected = stored(cut, "crd"), stored(whole, "crd")
  memories = [key for key in expected if ".memory." in key]
  assert memories
  assert any(not np.array_equal(before[key], expected[key]) for key in memories)
  for key in expected:
    np.testing.assert_array_equal(found[key], expected[key], err_msg=key)


def test_an_averaged_teacher_is_reported_as_an_average(folder):
  results = run("mean_teacher", folder)
  assert np.isfinite(results["stages"]["mean_teacher"]["accuracy"]["mean"])
  page = (folder / "report.md").read_text()
  assert "running average of its own `student`" in page


def test_the_stages_of_a_method_run_in_order_and_pass_on_what_they_learned(
  folder,
):
  results = run("fsp", folder)
  assert list(results["stages"]) == ["teacher", "fsp-1", "fsp"]
  result = json.loads((folder / "stages" / "fsp" / "result.json").read_text())
  assert result["teachers"] == {"teacher": 6, "fsp-1": 1}


def test_networks_trained_together_both_learn(folder):
  results = run("dml", folder)
  stage = folder / "stages" / "dml"
  parameters = json.loads((stage / "result.json").read_text())["parameters"]
  assert parameters["student"] == parameters["peer"]
  first, second = (
    kdjax.restore(folder, "dml", network=name)[1]["params"]["head"]["kernel"]
    for name in ("student", "peer")
  )
  assert not np.allclose(first, second)
  assert np.isfinite(results["stages"]["dml"]["nll"]["mean"])


def test_dot_trains_a_method(folder):
  plan = experiment("kd")
  with plan.unlocked():
    plan.stages.kd.optimizer = config.optimizer("dot", learning_rate=0.01)
  results = kdjax.run(plan, folder, quiet=True)
  assert np.isfinite(results["stages"]["kd"]["loss/kd"]["mean"])


# The queue is above.
@pytest.mark.parametrize("memory", ["bank", "batch"])
def test_contrast_has_one_interface_for_each_memory(folder, memory):
  options = {"data_size": 1797, "negatives": 32}
  results = run("crd", folder, memory=memory, **options)
  assert np.isfinite(results["stages"]["crd"]["loss/crd"]["mean"])

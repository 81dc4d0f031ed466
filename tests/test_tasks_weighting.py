"""Learned weights of tasks: their gradients, training and metrics."""

import json

import jax
import numpy as np
import pytest
from test_tasks_several import (
  B,
  data_sets,
  experiment,
  knobs,
  metrics,
  network,
  recorded,
  terms,
)

import kdjax
from kdjax import config
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.training import check, workdir
from kdjax.training.checkpoints import Checkpoints

pytestmark = pytest.mark.usefixtures(data_sets.__name__)


def stage_of(weighting="uncertainty", steps=60, made=None, **changes):
  return config.stage(
    network(),
    terms=made or terms(),
    metrics=metrics(),
    weighting=weighting,
    **knobs(steps=steps, **changes),
  )


def built_of(**options):
  plan = experiment(student=stage_of(**options))
  return build.build(workdir.resolve(plan), "student")


def batch_of(**changes):
  batch = arrays.load("train", held="two").take(np.arange(B))
  extra = {"view": np.zeros(B, np.int32), "valid": np.ones(B, bool)}
  return {**batch, **extra, **changes}


def stepped(built, batch, log_variances=None):
  """(state before, state, metrics) of one step."""
  fixed = built.fixed({})
  state = built.init(0, fixed)
  for name, value in (log_variances or {}).items():
    of_term = state.params["heads"][f"{name}:log_variance"]
    of_term["log_variance"] = np.float32(value)
  return state, *jax.jit(built.train_step)(state, fixed, batch)


def log_variance(state, name):
  return float(state.params["heads"][f"{name}:log_variance"]["log_variance"])


SGD = config.optimizer("sgd", learning_rate=0.1, momentum=0.0)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_step_follows_the_gradient_of_the_paper(parts):
  """In parts too, and a term's fixed weight scales all of it."""
  start = {"kind": 0.3, "colour": -0.7}
  made = {**terms(), "colour": terms(weight=2.0)["colour"]}
  built = built_of(optimizer=SGD, made=made, micro_batches=parts)
  _, state, metric = stepped(built, batch_of(), start)
  weight = {"kind": 1.0, "colour": 2.0}
  total = 0.0
  for name, s in start.items():
    loss = float(metric[f"loss/{name}"])
    total += weight[name] * (np.exp(-s) * loss + s / 2)
    slope = weight[name] * (0.5 - np.exp(-s) * loss)
    assert log_variance(state, name) == pytest.approx(s - 0.1 * slope, rel=1e-5)
    assert metric[f"log_variance/{name}"] == pytest.approx(s)
  assert metric["loss"] == pytest.approx(total, rel=1e-5)


def test_the_networks_gradient_is_that_of_the_weighted_sum():
  start = {"kind": 0.3, "colour": -0.7}
  fixed = {
    name: terms(weight=float(np.exp(-s)))[name] for name, s in start.items()
  }
  expected = stepped(
    built_of(weighting="fixed", optimizer=SGD, made=fixed), batch_of()
  )[1]
  state = stepped(built_of(optimizer=SGD), batch_of(), start)[1]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    state.params["networks"],
    expected.params["networks"],
  )


def test_a_task_without_labels_in_a_batch_keeps_its_weight():
  nothing = np.full(B, -1, np.int32)
  before, state, metric = stepped(
    built_of(optimizer=SGD), batch_of(**{"label/colour": nothing})
  )
  assert metric["count/colour"] == 0
  assert log_variance(state, "colour") == log_variance(before, "colour") == 0
  assert log_variance(state, "kind") != 0


def test_weight_decay_leaves_the_log_variances():
  start = {"kind": 5.0, "colour": 5.0}
  decayed = config.optimizer("adamw", learning_rate=0.1, weight_decay=0.5)
  plain = config.optimizer("adamw", learning_rate=0.1)
  found = [
    stepped(built_of(optimizer=rule), batch_of(), start)[1]
    for rule in (decayed, plain)
  ]
  assert log_variance(found[0], "kind") == log_variance(found[1], "kind")


def test_fixed_weights_have_no_variables_and_the_same_step():
  """The knob is not in the step unless it is set."""
  built = built_of(weighting="fixed")
  state, after, metric = stepped(built, batch_of())
  assert state.params["heads"] == {}
  assert not any("variance" in name for name in metric)
  assert jax.tree.structure(state) == jax.tree.structure(after)


@pytest.mark.slow
def test_both_tasks_are_learned_and_saved_on_every_placement(tmp_path):
  found, curves = {}, {}
  for seed_axis, placement in (
    ("loop", "pmap"),
    ("vmap", "pmap"),
    ("vmap", "mesh"),
  ):
    folder = tmp_path / f"{seed_axis}_{placement}"
    plan = experiment(student=stage_of()).unlock()
    plan.seed_axis, plan.placement = seed_axis, placement
    results = kdjax.run(plan, folder, quiet=True)["stages"]["student"]
    assert results["kind/accuracy"]["mean"] > 0.75
    assert results["colour/accuracy"]["mean"] > 0.75
    with Checkpoints(folder / "stages/student/checkpoints") as checkpoints:
      found[folder.name] = checkpoints.read("params.heads.")
    curves[folder.name] = recorded(folder, "student", "train/loss")
    for task in ("kind", "colour"):
      logged = recorded(folder, "student", f"train/log_variance/{task}")
      # Losses begin above 1/2, where log(2 loss) is positive.
      assert len(logged) == 6 and min(logged[:2]) > 0
  first = found["loop_pmap"]
  assert {*first} == {
    f"{task}:log_variance.log_variance" for task in ("kind", "colour")
  }
  # Three classes have a greater loss than two.
  assert np.all(
    first["kind:log_variance.log_variance"]
    > first["colour:log_variance.log_variance"] + 0.03
  )
  for name, other in found.items():
    for key, value in first.items():
      assert value.shape == (2,)
      np.testing.assert_allclose(other[key], value, rtol=1e-3, err_msg=name)
    np.testing.assert_allclose(curves[name], curves["loop_pmap"], rtol=1e-3)


@pytest.mark.slow
def test_the_loss_on_validation_has_the_learned_weights(tmp_path):
  plan = experiment(student=stage_of())
  kdjax.run(plan, tmp_path, quiet=True)
  with Checkpoints(tmp_path / "stages/student/checkpoints") as checkpoints:
    last = checkpoints.read("params.heads.")
  for seed in (0, 1):
    expected = 0.0
    for task in ("kind", "colour"):
      s = float(last[f"{task}:log_variance.log_variance"][seed])
      name = f"validation/loss/{task}"
      loss = recorded(tmp_path, "student", name)[seed - 2]
      expected += np.exp(-s) * loss + s / 2
    found = recorded(tmp_path, "student", "validation/loss")[seed - 2]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_a_stage_goes_on_with_the_learned_weights(tmp_path):
  """Steps of one run are those of a run that was continued."""
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  kdjax.run(experiment(student=stage_of()), whole, quiet=True)
  kdjax.run(experiment(student=stage_of(steps=20)), parts, quiet=True)
  kdjax.run(experiment(student=stage_of()), parts, quiet=True)
  read = lambda folder: (folder / "metrics.jsonl").read_bytes()
  assert read(parts) == read(whole)


def test_another_weighting_is_refused():
  plan = workdir.resolve(experiment(student=stage_of("uncertain")))
  with pytest.raises(UserError, match="Did you mean 'uncertainty'"):
    check.plan(plan, ["student"])


def test_a_workdir_from_before_a_knob_has_its_default(tmp_path):
  """A stage that was trained before a knob existed can be continued."""
  plan = workdir.resolve(experiment(student=stage_of("fixed")))
  old = json.loads(json.dumps(plan))
  del old["stages"]["student"]["weighting"]
  (tmp_path / "stages/student/checkpoints/20").mkdir(parents=True)
  (tmp_path / "config.json").write_text(json.dumps(old))
  workdir.check_config(tmp_path, plan)
  changed = workdir.resolve(experiment(student=stage_of()))
  with pytest.raises(UserError, match=r"weighting was .* is uncertainty"):
    workdir.check_config(tmp_path, changed)

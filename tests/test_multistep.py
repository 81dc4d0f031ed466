"""Several steps in one call: the same run, and calls end at what is due."""

import jax
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.devices import multistep
from kdjax.errors import UserError
from kdjax.training.checkpoints import Checkpoints

pytestmark = pytest.mark.slow

STEPS = 12


def made(**changes):
  knobs = {
    "steps": 6, "batch_size": 16, "log_every": 2, "eval_every": 4,
    "save_every": 2, **changes,
  }  # fmt: skip
  student = config.network("conv", widths=(4,), num_classes=10)
  terms = {"cross_entropy": config.term("cross_entropy")}
  return config.experiment(
    "calls",
    seeds=2,
    seed_axis=changes.pop("seed_axis", "loop"),
    data=config.data("digits", labelled_fraction=0.25),
    stages={"alone": config.stage(student, terms=terms, **knobs)},
  )


def run(folder, seed_axis="loop", **changes):
  """The parameters at the end, and the lines of the metrics log."""
  one = made(**changes)
  one.seed_axis = seed_axis
  kdjax.run(one, folder, quiet=True)
  with Checkpoints(folder / "stages" / "alone" / "checkpoints") as found:
    stored = found.read()
  parameters = {key: x for key, x in stored.items() if "params" in key}
  return parameters, (folder / "metrics.jsonl").read_text().splitlines()


@pytest.mark.parametrize("seed_axis", ["loop", "vmap"])
def test_a_run_does_not_depend_on_steps_per_call(tmp_path, seed_axis):
  one, log_of_one = run(tmp_path / "one", seed_axis, steps_per_call=1)
  four, log_of_four = run(tmp_path / "four", seed_axis, steps_per_call=9)
  assert one
  for key, value in one.items():
    np.testing.assert_allclose(value, four[key], rtol=1e-4, atol=1e-5)
  assert len(log_of_one) == len(log_of_four) > 0


@pytest.mark.parametrize(
  ("most", "due", "start", "expected"),
  [
    (9, {}, 0, 4),
    (3, {}, 0, 2),
    (9, {"log_every": 12, "eval_every": 0, "save_every": 0}, 0, 6),
    (9, {"log_every": 12, "eval_every": 0, "save_every": 0}, 3, 3),
    (9, {"log_every": 5}, 0, 1),
  ],
)
def test_a_call_ends_where_something_is_due(most, due, start, expected):
  knobs = {
    "steps": STEPS, "log_every": 4, "eval_every": 8, "save_every": 4,
    "steps_per_call": most, **due,
  }  # fmt: skip
  assert multistep.steps_per_call(knobs, start, "cpu") == expected


def test_a_cpu_runs_one_step_per_call_and_an_accelerator_several():
  knobs = {"steps": 64, "steps_per_call": 0}
  knobs |= {f"{what}_every": 32 for what in ("log", "eval", "save")}
  assert multistep.steps_per_call(knobs, 0, "cpu") == 1
  assert multistep.steps_per_call(knobs, 0, "gpu") == 16


def test_a_negative_number_of_steps_is_an_error():
  with pytest.raises(UserError, match="steps_per_call"):
    multistep.steps_per_call({"steps_per_call": -1}, 0, "cpu")


def test_arguments_that_are_the_same_in_every_step_are_not_stacked():
  step = lambda state, fixed, rows, at: (state + rows[at].sum(), rows[at])
  many = multistep.many(step, ("rows", "batch"))
  rows = np.arange(5.0)
  calls = tuple((rows, np.array([at, at + 1])) for at in range(3))
  state, seen = jax.jit(many)(0.0, None, calls)
  assert state == sum(at + at + 1 for at in range(3))
  np.testing.assert_array_equal(seen, [[0, 1], [1, 2], [2, 3]])

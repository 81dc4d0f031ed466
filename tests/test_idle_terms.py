"""A term whose examples never count is named; a stage of such is stopped."""

import types

import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.step.addresses import Address
from kdjax.training.idle_terms import IdleTerms

N, BATCH, STEPS = 48, 8, 4


def term(name, *reads):
  at = types.SimpleNamespace(
    name=name,
    reads={str(number): read for number, read in enumerate(reads)},
    addresses=lambda number: (Address.parse(reads[int(number)]),),
  )
  return at


def watched(weights, *, examples=80, steps=1000, grid=None, seeds=(0, 1)):
  stage = types.SimpleNamespace(
    name="student",
    config={
      "batch_size": 8,
      "steps": steps,
      "grid": grid or {},
      "terms": {name: {"weight": weight} for name, weight in weights.items()},
    },
    objective=types.SimpleNamespace(
      terms=[term(name, "student/logits", "batch/label") for name in weights]
    ),
  )
  return IdleTerms(stage, seeds, examples)


def counts(steps=10, **named):
  return {
    f"count/{name}": np.tile(np.asarray(value, float), (steps, 1))
    for name, value in named.items()
  }


def test_a_term_is_named_once_on_stderr(capsys):
  idle = watched({"ce": 1.0, "kd": 1.0})
  idle.add(10, counts(ce=(0, 0), kd=(8, 8)))
  text = capsys.readouterr().err
  assert "stage 'student': in 10 steps up to step 10" in text
  assert "'ce' (reads student/logits, batch/label)" in text
  assert "'kd'" not in text
  idle.add(20, counts(ce=(0, 0), kd=(8, 8)))
  assert not capsys.readouterr().err


def test_a_term_of_one_seed_is_named(capsys):
  watched({"ce": 1.0, "kd": 1.0}).add(10, counts(ce=(3, 0), kd=(8, 8)))
  assert "'ce'" in capsys.readouterr().err


def test_terms_that_count_and_terms_of_weight_0_are_not_named(capsys):
  idle = watched({"ce": 0.0, "kd": 1.0})
  idle.add(10, counts(ce=(0, 0), kd=(1, 1)))
  assert not capsys.readouterr().err
  varied = watched({"ce": 0.0, "kd": 1.0}, grid={"ce/weight": (0.0, 1.0)})
  varied.add(10, counts(ce=(0, 0), kd=(1, 1)))
  assert "'ce'" in capsys.readouterr().err


def test_a_batch_without_labels_is_no_mistake(capsys):
  # One labelled example: it is in one of the ten batches of an epoch.
  idle = watched({"ce": 1.0})
  for step in range(1, 10):
    idle.add(step, counts(1, ce=(0, 0)))
  idle.add(10, counts(1, ce=(1, 1)))
  assert not capsys.readouterr().err


def test_a_large_epoch_is_not_waited_for():
  idle = watched({"ce": 1.0}, examples=10**6)
  idle.add(50, counts(50, ce=(0, 0)))
  with pytest.raises(UserError, match="100 steps up to step 100 of seed 0"):
    idle.add(100, counts(50, ce=(0, 0)))


def test_a_stage_that_ends_before_an_epoch_is_warned(capsys):
  idle = watched({"ce": 1.0, "kd": 1.0}, examples=10**6, steps=2, seeds=(4, 5))
  idle.add(2, counts(2, ce=(0, 0), kd=(8, 0)))
  text = capsys.readouterr().err
  assert text.count("no example counted") == 1
  assert "'ce'" in text and "'kd'" in text


def run(folder, terms):
  rng = np.random.default_rng(0)
  held = {
    "image": rng.normal(size=(N, 4, 4, 1)).astype(np.float32),
    "empty": np.zeros((N, 2), bool),  # a mask in which no position counts
    "label": np.arange(N) // 3 % 3,
    "split": np.array(["train", "validation", "test"])[np.arange(N) % 3],
  }
  arrays.hold("idle", held)
  network = config.network("mlp", num_classes=3, widths=(4,))
  knobs = {"steps": STEPS, "batch_size": BATCH, "log_every": 2, "eval_every": 0}
  options = {"seeds": 1, "data": config.data("arrays", held="idle")}
  stages = {"student": config.stage(network, terms=terms, **knobs)}
  kdjax.run(
    config.experiment("idle", stages=stages, **options), folder, quiet=True
  )


@pytest.mark.slow
def test_a_run_says_so(tmp_path, capsys):
  reads = {"mask": "batch/empty"}
  terms = {"idle": config.term("focal", reads=reads)}
  supervised = {"ce": config.term("cross_entropy")}
  run(tmp_path / "both", terms | supervised)
  text = capsys.readouterr().err
  assert text.count("no example counted in 'idle' (reads") == 1
  assert "'ce'" not in text
  with pytest.raises(UserError, match="'student': no term counted an example"):
    run(tmp_path / "alone", terms)

"""configs/board.py: two runs of a pair, of which the second is chosen."""

import json
import pathlib

import pytest

import kdjax
from kdjax import config
from kdjax.errors import UserError
from kdjax.training import workdir

BOARD = pathlib.Path(__file__).parents[1] / "configs" / "board.py"


def short(argument):
  """The experiment with trainings of a few steps."""
  plan = kdjax.load(f"{BOARD}:{argument}")
  with plan.unlocked():
    plan.seeds = 2
    for stage in plan.stages.values():
      stage.steps, stage.eval_every, stage.log_every = 3, 3, 3
  return plan


@pytest.mark.slow
def test_the_second_run_of_a_pair_has_the_settings_that_the_first_one_chose(
  tmp_path,
):
  tuning = tmp_path / "tuning"
  kdjax.run(short("digits-fast"), tuning, quiet=True)
  fresh = short(f"digits-fast={tuning}")
  arms = ("alone", "self", "kd", "hard_label", "feature_l2")
  assert fresh.order == ("teacher", "other", *arms)
  values = {}
  for arm in arms:
    best = config.chosen(str(tuning), (f"{arm}-short", f"{arm}-long"))
    values[arm] = best.value
    for name, value in best.point.items():
      term, _, option = name.partition("/")
      assert fresh.stages[arm].terms[term][option] == value
    assert not fresh.stages[arm].grid
  chosen = max(arms[2:], key=lambda arm: values[arm])
  assert list(fresh.notes) == [chosen]
  first, second = (
    set(range(it.seed, it.seed + 10))
    for it in (kdjax.load(f"{BOARD}:digits"), fresh)
  )
  assert not first & second
  results = kdjax.run(fresh, tmp_path / "fresh", quiet=True)
  assert {f"{arm} - self" for arm in arms[2:]} <= results["gains"].keys()
  assert {f"{arm} - alone" for arm in arms[1:]} <= results["gains"].keys()
  assert 0 <= results["stages"]["alone"]["cka"]["mean"] <= 1


@pytest.mark.parametrize(
  "pair",
  ["sensors", "image", "audio", "emoji", "radical", "tone", "digits"],
)
def test_every_arm_of_a_pair_has_four_settings_at_two_lengths(pair):
  plan = workdir.resolve(kdjax.load(f"{BOARD}:{pair}"))
  grids = {
    name: {len(values) for values in stage["grid"].values()}
    for name, stage in plan["stages"].items()
    if stage["grid"]
  }
  arms = {name.rpartition("-")[0] for name in grids}
  assert len(arms) == 16 and {"alone", "self", "kd_pkt"} <= arms
  assert grids.keys() == {f"{it}-{end}" for it in arms for end in STEPS}
  assert all(sizes == {4} for sizes in grids.values())
  assert json.dumps(plan)


STEPS = ("short", "long")


def test_a_tuning_that_was_not_run_is_named():
  with pytest.raises(UserError, match="nowhere"):
    kdjax.load(f"{BOARD}:digits=nowhere")

"""Spaces: each holds its default, and its ends fit the method."""

import pathlib
import re

import pytest
import test_methods

from kdjax import config, registry
from kdjax.config import fields, recipes, spaces
from kdjax.errors import UserError
from kdjax.stage import ranges
from kdjax.sweep.candidates import Candidates, alone

ROOT = pathlib.Path(__file__).parents[1]
METHODS = registry.names("methods")
DIGITS = str(ROOT / "configs" / "digits.py")
FILES = sorted((ROOT / "configs" / "spaces").glob("*.py"))


def option_of(key):
  return key.rpartition(".")[2]


@pytest.mark.parametrize("name", METHODS)
def test_the_space_of_a_method_holds_its_default(name):
  space, defaults = spaces.of_method(name), spaces.defaults_of(name)
  assert space, (
    f"The space of `{name}` is empty: it has no weight and no temperature. Say"
    f" SPACE = {{option: (low, high)}} in kdjax/methods/{name}.py."
  )
  for key, values in space.items():
    assert key.startswith(f"method.{name}.")
    assert values.has(defaults[option_of(key)]), f"{key}: {values}"


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_the_ends_of_a_methods_space_are_in_the_ranges_of_its_terms(name):
  for key, values in spaces.of_method(name).items():
    for value in values.spread(2):
      stages = registry.find("methods", name)(
        test_methods.base(name), **{option_of(key): value}
      )
      for stage in stages:
        ranges.check(f"{key}={value}", stage.to_dict())


def test_a_weight_and_a_temperature_have_log_scales_around_their_defaults():
  space = spaces.of_method("rkd")
  distance = space["method.rkd.distance_weight"]
  assert distance == spaces.log_range(2.5, 250.0)
  temperature = spaces.of_method("dkd")["method.dkd.temperature"]
  assert temperature == spaces.log_range(1.0, 16.0)
  # Labels get 1 - weight.
  assert spaces.of_method("kd")["method.kd.weight"].high == 1.0


def test_a_methods_own_file_states_a_range():
  space = spaces.of_method("label_smoothing")
  assert space == {
    "method.label_smoothing.smoothing": spaces.linear_range(0.0, 0.5)
  }


def test_a_weight_that_depends_on_the_form_has_the_default_forms():
  assert spaces.defaults_of("at")["weight"] == 1000.0
  assert spaces.of_method("at")["method.at.weight"].has(1000.0)


def test_a_spread_keeps_to_its_ends():
  assert spaces.log_range(0.1, 10.0).spread(3) == pytest.approx([0.1, 1, 10])
  assert spaces.linear_range(1.0, 2.0).spread(3) == [1.0, 1.5, 2.0]
  assert spaces.whole_range(1, 3).spread(5) == [1, 2, 3]
  assert spaces.one_of("a", "b").spread(7) == ["a", "b"]


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: spaces.log_range(0.0, 1.0), "0 < low < high"),
    (lambda: spaces.linear_range(1.0, 1.0), "low < high"),
    (lambda: spaces.one_of("a"), "fewer than two"),
    (lambda: spaces.load("absent.py"), "does not exist"),
    (lambda: spaces.load("kdd"), "Did you mean 'kd'"),
  ],
)
def test_a_wrong_space_is_refused(make, message):
  with pytest.raises(UserError, match=message):
    make()


@pytest.mark.parametrize(
  "text", ["def get_space(argument=''):\n  return {'a': 1}\n", "x = 1\n"]
)
def test_a_file_without_a_space_is_refused(text, tmp_path):
  path = tmp_path / "mine.py"
  path.write_text(text)
  with pytest.raises(UserError, match="get_space"):
    spaces.load(str(path))


def candidates(argument="", space=None, **flags):
  path = f"{DIGITS}:{argument}" if argument else DIGITS
  given = fields.load(path)
  with given.unlocked():
    for key, value in flags.items():
      given[key] = value
  if space is None:
    space = spaces.load(str(ROOT / "configs" / "spaces" / "kd.py"))
  return Candidates(path, given, space)


def test_a_trial_has_the_values_of_its_space_and_the_flags_of_the_command():
  made = candidates(seeds=3)
  assert made.default == {
    "terms.kd.weight": 1.0,
    "terms.kd.temperature": 4.0,
    "terms.cross_entropy.weight": 0.1,
    "optimizer.learning_rate": 3e-3,
  }
  plan = made.config({"terms.kd.weight": 2.0, "optimizer.learning_rate": 2e-3})
  assert plan.seeds == 3
  stage = plan.stages.distilled
  assert stage.terms.kd.weight == 2.0 and stage.terms.kd.temperature == 4.0
  assert stage.optimizer.learning_rate.value == 2e-3
  assert plan.stages.alone.optimizer.learning_rate.value == 3e-3


def test_a_trial_of_a_method_is_what_the_method_makes_of_its_options():
  made = candidates("method=kd", spaces.of_method("kd"))
  plan = made.config({"method.kd.weight": 0.25, "method.kd.temperature": 2.0})
  terms = plan.stages.kd.terms
  assert terms.kd.weight == 0.25 and terms.kd.temperature == 2.0
  assert terms.cross_entropy.weight == 0.75
  # The options hold in the context of one trial alone.
  again = config.method("kd", plan.stages.alone)
  assert again["kd"].terms.kd.weight == 0.9


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_file_of_a_space_holds_the_digits_default(path):
  space = spaces.load(str(path))
  methods = [*spaces.options_of(dict.fromkeys(space))]
  made = candidates(f"method={methods[0]}" if methods else "", space)
  assert made.default.keys() == space.keys()


@pytest.mark.parametrize(
  ("argument", "space", "message"),
  [
    ("", {"terms.kd.temprature": spaces.log_range(1, 8)}, "'temperature'"),
    ("", {"terms.kd": spaces.log_range(1, 8)}, "several values"),
    ("", {"terms.kd.weight": spaces.log_range(2, 8)}, "holds the default"),
    ("", spaces.of_method("rkd"), "calls no method 'rkd'"),
    ("method=kd", {"method.kd.wait": spaces.log_range(1, 8)}, "no 'wait'"),
  ],
)
def test_a_space_that_does_not_fit_the_config_is_refused(
  argument, space, message
):
  with pytest.raises(UserError, match=message):
    candidates(argument, space)


def test_only_the_stages_that_a_stage_learns_from_are_kept():
  plan = alone(fields.load(DIGITS), "distilled", seed=7, seeds=2, test=False)
  assert plan.order == ("teacher", "distilled") and plan.gains == ()
  assert (plan.seed, plan.seeds, plan.test) == (7, 2, False)


def test_the_change_of_a_method_ends_with_its_context():
  with recipes.changed({"kd": {"weight": 0.5}}) as changes:
    assert not changes.called
  with recipes.changed({}) as changes:
    fields.load(f"{DIGITS}:method=kd")
  assert changes.called["kd"]["weight"] == 0.9


def test_the_space_of_the_readme_holds_the_digits_default(tmp_path):
  readme = (ROOT / "kdjax" / "sweep" / "README.md").read_text()
  (block,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
  path = tmp_path / "mine.py"
  path.write_text(block)
  space = spaces.load(str(path))
  assert candidates("", space).default.keys() == space.keys()

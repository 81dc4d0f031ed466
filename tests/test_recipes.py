"""A stage with further terms, and a method's stages by name."""

import pytest

import kdjax
from kdjax import config
from kdjax.errors import UserError


def base(**changes):
  return config.stage(
    config.network("conv", num_classes=10),
    terms={},
    teachers={"teacher": config.teacher("teacher")},
    **changes,
  )


def test_an_extended_stage_has_its_terms_and_a_weighted_cross_entropy():
  stage = base()
  before = stage.to_json()
  made = config.extended(stage, {"kd": config.term("kd")}, labels=0.25, steps=7)
  assert sorted(made.terms) == ["cross_entropy", "kd"]
  assert made.terms.cross_entropy.weight == 0.25
  assert made.steps == 7
  assert stage.to_json() == before


def test_the_weight_of_the_labels_may_follow_a_schedule():
  fading = config.schedule("linear", 1.0, end=0.0)
  made = config.extended(base(), {}, labels=fading)
  assert made.terms.cross_entropy.weight.kind == "linear"


def test_the_stages_own_cross_entropy_keeps_its_options():
  stage = base()
  stage.terms.cross_entropy = config.term("cross_entropy", label_smoothing=0.1)
  made = config.extended(stage, {}, labels=0.5)
  assert made.terms.cross_entropy.label_smoothing == 0.1


def test_a_name_that_exists_already_or_is_unknown_is_an_error():
  stage = config.extended(base(), {"kd": config.term("kd")})
  with pytest.raises(UserError, match="already has 'kd'"):
    config.extended(stage, {"kd": config.term("kd")})
  with pytest.raises(UserError, match="Did you mean 'steps'"):
    config.extended(stage, {}, stepps=3)


def test_the_stages_of_a_method_are_named_and_refer_to_each_other():
  first = base()
  second = config.extended(
    base(),
    {},
    teachers={"assistant": config.teacher(config.earlier(0))},
  )
  last = config.extended(
    base(),
    {
      "hint": config.term(
        "mse",
        heads={"student": config.head("linear", init_from=config.earlier(0))},
      )
    },
  )
  last.networks.student.init_from = config.earlier(1)
  made = config.named("takd", [first, second, last])
  assert list(made) == ["takd-1", "takd-2", "takd"]
  assert made["takd-2"].teachers.assistant.stage == "takd-1"
  assert made["takd"].networks.student.init_from == "takd-2"
  assert made["takd"].terms.hint.heads.student.init_from == "takd-1"
  assert last.networks.student.init_from == config.earlier(1)


def test_a_method_is_found_by_name_and_takes_the_taps_that_it_knows():
  made = config.method(
    "kd", base(), taps={"teacher_map": "teacher/image/stage1"}, temperature=2.0
  )
  assert list(made) == ["kd"]
  assert made["kd"].terms.kd.temperature == 2.0
  with pytest.raises(UserError, match="Did you mean 'temperature'"):
    config.method("kd", base(), temprature=2.0)
  with pytest.raises(UserError, match="Did you mean 'kd'"):
    config.method("kdd", base())


def test_a_method_may_come_from_a_file(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text(
    '"""Mine."""\n\n'
    "from kdjax.config import extended, term\n\n\n"
    "def mine(stage, *, weight: float = 2.0):\n"
    '  """Mine."""\n'
    '  return [extended(stage, {"kd": term("kd", weight=weight)})]\n'
  )
  made = config.method(str(path), base(), weight=3.0)
  assert made["mine"].terms.kd.weight == 3.0


def test_every_method_is_listed_with_its_options():
  assert {"temperature", "weight"} <= config.methods()["kd"]


def test_a_method_that_returns_no_list_of_stages_is_an_error():
  for made in (None, base()):

    def mine(stage, made=made):
      """Mine."""
      del stage
      return made

    kdjax.register("methods", "mine", mine)
    with pytest.raises(UserError, match="method 'mine' returned a"):
      config.method("mine", base())


def test_a_methods_last_stage_may_have_another_name():
  both = config.method("kd", base()) | config.method(
    "kd", base(), temperature=1.0, called="cold"
  )
  assert list(both) == ["kd", "cold"]

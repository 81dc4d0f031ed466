"""Every method makes stages that trace, by listing the room."""

import pytest

from kdjax import check, config, rooms, workdir


def base():
  student = config.network("conv", widths=(4,), num_classes=10)
  return student, config.stage(
    student,
    teachers={"teacher": config.teacher("teacher")},
    terms={},
    batch_size=8,
  )


def around(stages):
  """An experiment of a teacher and a method's stages."""
  student, _ = base()
  supervised = {"cross_entropy": config.term("cross_entropy")}
  named = {f"stage{place}": one for place, one in enumerate(stages)}
  return workdir.resolve(
    config.experiment(
      "method",
      data=config.data("digits"),
      stages={
        "teacher": config.stage(student, terms=supervised, batch_size=8),
        **named,
      },
    )
  )


@pytest.mark.parametrize("name", rooms.names("methods"))
def test_a_method_traces_and_leaves_the_stage_it_was_given(name):
  _, stage = base()
  before = stage.to_json()
  stages = rooms.find("methods", name)(stage)
  assert stage.to_json() == before
  assert stages
  plain = around(stages)
  check.plan(plain, list(plain["order"]))


def test_kd_shares_the_weight_between_teacher_and_labels():
  _, stage = base()
  (made,) = rooms.find("methods", "kd")(stage, temperature=2.0, weight=0.75)
  assert made.terms.kd.weight == 0.75
  assert made.terms.cross_entropy.weight == 0.25
  assert made.terms.kd.temperature == 2.0

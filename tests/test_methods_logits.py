"""Methods of logits make what they say, in every form."""

import pytest
from test_methods import around, base

from kdjax import check, config, rooms, workdir


def make(name, **options):
  return rooms.find("methods", name)(base(name), **options)


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("mlkd", {"mode": "code"}),
    ("mlkd", {"mode": "code", "temperatures": (2.0, 4.0)}),
    ("logit_standardization", {"base": "dkd"}),
    ("logit_standardization", {"base": "mlkd"}),
    ("ofa", {"student_maps": ()}),
    ("skd", {"mode": "code"}),
    ("born_again", {"generations": 1}),
    (
      "teacher_assistant",
      {"assistant": config.network("conv", widths=(3, 5), num_classes=10)},
    ),
  ],
)
def test_every_form_of_a_method_traces(name, options):
  plain = workdir.resolve(around(name, **options))
  check.plan(plain, list(plain["order"]))


def test_dkd_warms_up_for_a_twelfth_of_the_steps():
  (made,) = make("dkd")
  assert made.steps == 24
  assert made.terms.dkd.weight.warmup == 2


def test_the_weights_of_wsld_are_read_as_a_target():
  (made,) = make("wsld")
  assert made.terms.wsld.reads["student_target"] == "student/logits"
  assert "student_target" in made.terms.wsld.targets


@pytest.mark.parametrize("base_method", ["kd", "dkd", "mlkd"])
def test_both_sides_of_every_term_with_a_teacher_are_standardised(base_method):
  (made,) = make("logit_standardization", base=base_method)
  for name, one in made.terms.items():
    both = {side: head.name for side, head in one.heads.items()}
    expected = {"student": "standardize", "teacher": "standardize"}
    assert both == ({} if name.startswith("cross_entropy") else expected)


def test_labels_beside_standardised_logits_have_the_weight_of_the_base():
  weights = [
    make("logit_standardization", **options)[0].terms.cross_entropy.weight
    for options in ({}, {"base": "dkd"}, {"labels": 0.5})
  ]
  assert weights == [0.1, 1.0, 0.5]


def test_born_again_has_one_stage_more_than_generations():
  stages = make("born_again", generations=3)
  assert len(stages) == 4
  for place, one in enumerate(stages[1:]):
    assert one.teachers.previous.stage == config.earlier(place)


def test_an_assistant_is_trained_and_then_teaches():
  between = config.network("conv", widths=(3, 5), num_classes=10)
  first, second = make("teacher_assistant", assistant=between)
  assert first.networks.student.widths == (3, 5)
  assert second.networks.student.widths == (4, 6)
  assert second.teachers.assistant.stage == config.earlier(0)
  assert second.terms.kd.reads["teacher"] == "assistant/logits"


def test_label_smoothing_gives_the_rest_to_the_other_classes():
  (made,) = make("label_smoothing", smoothing=0.2)
  assert made.terms.cross_entropy.label_smoothing == 0.2
  assert made.terms.cross_entropy.smoothing == "others"

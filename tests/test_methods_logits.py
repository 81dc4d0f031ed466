"""The stages of methods that read logits, in every form."""

import pytest
from test_methods import around, base, plan

from kdjax import config, registry
from kdjax.training import workdir


def make(name, **options):
  return registry.find("methods", name)(base(name), **options)


@pytest.mark.slow
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
  plan(workdir.resolve(around(name, **options)))


def test_dkd_warms_up_for_a_twelfth_of_the_steps():
  (made,) = make("dkd")
  assert made.steps == 24
  assert made.terms.dkd.weight.warmup == 2


def test_the_weights_of_wsld_are_read_as_a_target():
  (made,) = make("wsld")
  assert made.terms.wsld.reads["student_target"] == "student/logits"
  assert "student_target" in made.terms.wsld.targets


STANDARD = {"student": "standardize", "teacher": "standardize"}


@pytest.mark.parametrize("base_method", ["kd", "dkd"])
def test_both_sides_of_every_term_with_a_teacher_are_standardised(base_method):
  (made,) = make("logit_standardization", base=base_method)
  for name, one in made.terms.items():
    both = {side: head.name for side, head in one.heads.items()}
    assert both == ({} if name == "cross_entropy" else STANDARD)


def test_mlkds_instance_terms_alone_are_standardised():
  (made,) = make("logit_standardization", base="mlkd", temperature=1.5)
  for name, one in made.terms.items():
    both = {side: head.name for side, head in one.heads.items()}
    assert both == (STANDARD if name.startswith("mlkd_instance") else {})
  one = made.terms.mlkd_instance
  assert one.reads.teacher_raw == "teacher/logits"
  assert "teacher_raw" in one.targets
  assert one.temperatures == (1.5, 3.0, 5.0, 2.0, 6.0)
  strong = made.terms.mlkd_instance_strong
  assert strong.reads.teacher_raw == "teacher@strong/logits"


@pytest.mark.parametrize(
  ("name", "options", "labels"),
  [
    ("logit_standardization", {}, 0.1),
    ("logit_standardization", {"base": "dkd"}, 1.0),
    ("logit_standardization", {"labels": 0.5}, 0.5),
    ("logit_standardization", {"base": "dkd", "labels": 0.5}, 0.5),
    ("logit_standardization", {"base": "mlkd"}, 0.1),
    ("logit_standardization", {"base": "mlkd", "labels": 0.5}, 0.5),
    ("mlkd", {}, 0.1),
    ("mlkd", {"labels": 0.5}, 0.5),
  ],
)
def test_labels_have_one_weight_in_all_views(name, options, labels):
  (made,) = make(name, **options)
  weights = {
    one.weight for one in made.terms.values() if one.loss == "cross_entropy"
  }
  assert weights == {labels}


def test_dot_gives_the_optimizer_of_the_stage_another_rule():
  stage = base("dot")
  stage.optimizer = config.optimizer(
    learning_rate=config.schedule("cosine", 4e-3, end=1e-3, warmup=3),
    weight_decay=0.1,
    clip_norm=1.0,
  )
  (made,) = registry.find("methods", "dot")(stage, delta=0.09)
  rule = made.optimizer
  assert (rule.name, rule.delta, rule.momentum) == ("dot", 0.09, 0.9)
  assert (rule.weight_decay, rule.clip_norm) == (5e-4, 0.0)
  rate = rule.learning_rate
  assert (rate.kind, rate.value, rate.warmup) == ("cosine", 0.05, 3)
  assert rate.end == pytest.approx(0.0125)
  assert stage.optimizer.name == "adamw"
  assert stage.optimizer.learning_rate.value == 4e-3
  groups = {name: one.group for name, one in made.terms.items()}
  assert groups == {"cross_entropy": "task", "kd": "kd"}


def test_dot_may_keep_what_the_stage_has():
  stage = base("dot")
  stage.optimizer = config.optimizer("sgd", learning_rate=0.2, weight_decay=0.1)
  find = registry.find("methods", "dot")
  (kept,) = find(stage, learning_rate=None, weight_decay=None)
  assert kept.optimizer.learning_rate == 0.2
  assert kept.optimizer.weight_decay == 0.1
  assert find(stage)[0].optimizer.learning_rate == 0.05


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

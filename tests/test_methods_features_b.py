"""The terms of feature methods, from OFD to adversarial ones."""

import pytest

from kdjax import config, registry
from kdjax.errors import UserError


def stage(**changes):
  student = config.network("conv", widths=(4, 6), num_classes=10)
  return config.stage(
    student,
    teachers={"teacher": config.teacher("teacher")},
    terms={},
    **changes,
  )


def made(name, argument=None, **options):
  (one,) = registry.find("methods", name)(argument or stage(), **options)
  return one


def test_ofd_halves_the_weight_of_each_shallower_map():
  terms = made("ofd", weight=8.0).terms
  assert (terms.ofd0.weight, terms.ofd1.weight) == (4.0, 8.0)
  assert terms.ofd0.reads.margin == (
    "teacher/params/norm0|middle/scale",
    "teacher/params/norm0|middle/bias",
  )


def test_ofd_needs_a_norm_for_every_map():
  with pytest.raises(UserError, match="2 student maps, 2 teacher maps and 1"):
    made("ofd", teacher_norms=("teacher/params/norm0",))


def test_reviewkd_rises_over_the_first_twelfth_of_the_steps():
  weight = made("reviewkd", stage(steps=240)).terms.reviewkd.weight
  assert (weight.value, weight.warmup) == (5.0, 20)


def test_reviewkd_without_embeddings_reads_maps_alone():
  reads = made("reviewkd", student_embedding=None).terms.reviewkd.reads
  assert reads.student == ("student/stage0|middle", "student/stage1|last")
  assert reads.teacher == ("teacher/stage0|middle", "teacher/stage1|last")


def test_simkd_uses_no_label_and_evaluates_the_teachers_classifier():
  one = made("simkd", factor=4)
  assert one.terms.cross_entropy.weight == 0.0
  assert one.terms.simkd.heads.student.factor == 4
  measured = one.metrics.classification
  assert measured.reads.student[0] == "heads/simkd/student"
  assert measured.reads.label == "batch/label"
  assert measured.heads.student.name == "classifier"


def test_simkd_does_not_change_metrics_of_other_outputs():
  metrics = {
    "classification": config.metric("classification"),
    "teachers": config.metric(
      "classification", reads={"student": "teacher/logits"}
    ),
  }
  one = made("simkd", stage(metrics=metrics))
  assert one.metrics.teachers == metrics["teachers"]
  assert one.metrics.classification != metrics["classification"]


def test_semckd_divides_by_the_layers_of_the_student():
  maps = tuple(f"student/stage{i}" for i in range(3))
  terms = made("semckd", stage(batch_size=16), student_maps=maps).terms
  assert terms.semckd.layers == 3
  assert terms.semckd.heads.weights.students == 3
  assert terms.semckd.heads.weights.batch_size == 16


def test_adversarial_terms_share_a_discriminator_that_one_of_them_trains():
  terms = made("adversarial").terms
  assert terms.discriminator.heads.student.outputs == 11
  assert terms.discriminator.targets == ("student", "teacher")
  assert terms.generator.heads.student.of == "discriminator/student"
  assert terms.generator.heads.student.still
  assert terms.generator.reads.student == "heads/features/student"


def test_adversaries_may_come_before_the_labels():
  find = registry.find("methods", "adversarial")
  first, last = find(stage(steps=30), phases=True)
  assert set(first.terms) == {"features", "discriminator", "generator"}
  assert (first.steps, last.steps) == (30, 30) and first.eval_every == 0
  assert set(last.terms) == {"cross_entropy"}
  assert last.networks.student.init_from == config.earlier(0)


def test_a_reversed_gradient_needs_no_generator():
  terms = made("adversarial", reversal=True, weight=0.5).terms
  assert "generator" not in terms
  assert terms.discriminator.heads.student.reversal == 0.5
  assert terms.discriminator.targets == ("teacher",)


def test_a_score_needs_no_labels():
  terms = made("adversarial", form="gan").terms
  assert terms.discriminator.heads.student.outputs == 1
  assert "label" not in terms.discriminator.reads
  assert "label" not in terms.generator.reads

"""Methods with several networks, teachers or stages, and across modalities."""

import pytest
from test_methods import plan

from kdjax import config, registry
from kdjax.errors import UserError
from kdjax.training import workdir


def network(*widths):
  return config.network("conv", widths=widths, num_classes=10)


def stage():
  return config.stage(
    network(4, 6),
    teachers={"teacher": config.teacher("teacher")},
    terms={},
    batch_size=8,
    steps=240,
    optimizer=config.optimizer("sgd", learning_rate=0.1),
  )


def made(method, **options):
  return registry.find("methods", method)(stage(), **options)


def resolved(method, **options):
  """A method's experiment, as plain values."""
  supervised = {"cross_entropy": config.term("cross_entropy")}
  return workdir.resolve(
    config.experiment(
      "method",
      data=config.data("digits"),
      stages={
        "teacher": config.stage(network(5, 8), terms=supervised, batch_size=8),
        **config.named(method, made(method, **options)),
      },
    )
  )


TRAINED = {"teacher_network": network(5, 8)}
TWICE = {"teachers": ("teacher/logits", "teacher/logits")}


@pytest.mark.slow
@pytest.mark.parametrize(
  ("method", "options"),
  [
    ("adaptive_temperature", {"form": "cwsm"}),
    ("adversarial", {"phases": True}),
    ("c2kd", TRAINED),
    ("c2kd", {"target": "zero", "student_map": "student/embedding"}),
    ("ca_mkd", TWICE),
    ("cc", {"form": "gaussian"}),
    ("cc", {"form": "bilinear"}),
    ("ctkd", {"instance": True}),
    ("dml", {"peer_network": network(8, 8)}),
    ("ensemble", {**TWICE, "average": "logits"}),
    ("mean_teacher", {"form": "kl"}),
    ("modality_focusing", TRAINED),
    ("modality_focusing", {"which": "random", "fill": "zero"}),
    ("self_distillation", {"hint": 0.0}),
    ("soft_router", {**TWICE, "follow": True}),
    ("soft_router", {**TWICE, "guides": ()}),
  ],
)
def test_a_method_traces_with_options_that_change_its_form(method, options):
  plan(resolved(method, **options))


@pytest.mark.slow
@pytest.mark.parametrize(
  ("method", "option"),
  [
    ("adaptive_temperature", "form"),
    ("mean_teacher", "form"),
    ("c2kd", "target"),
    ("ensemble", "average"),
  ],
)
def test_a_form_that_does_not_exist_is_an_error(method, option):
  with pytest.raises(UserError, match="nonsense"):
    plan(resolved(method, **{option: "nonsense"}))


def test_generalized_distillation_never_softens_the_student():
  (one,) = made("generalized_distillation", temperature=5.0, weight=0.75)
  soft = one.terms.generalized_distillation
  assert (soft.temperature, soft.student_temperature) == (5.0, 1.0)
  assert one.terms.cross_entropy.weight == 0.25


def test_in_dml_each_network_is_a_target_for_the_other():
  (one,) = made("dml")
  for name, pair in (
    ("dml", {"student": "student/logits", "teacher": "peer/logits"}),
    ("dml_peer", {"student": "peer/logits", "teacher": "student/logits"}),
  ):
    assert one.terms[name].reads.to_dict() == pair
    assert one.terms[name].targets == ("teacher",)
  assert one.networks.peer.to_dict() == one.networks.student.to_dict()


def test_the_weight_of_a_mean_teacher_rises_in_a_quarter_of_the_steps():
  (one,) = made("mean_teacher")
  assert one.terms.mean_teacher.weight.warmup == 60
  assert one.ema_decay == 0.999


@pytest.mark.parametrize(
  ("method", "weights"),
  [
    ("cc", {"adjacent": 0.02, "gaussian": 0.003, "bilinear": 0.003}),
    ("mean_teacher", {"mse": 100.0, "kl": 1.0}),
  ],
)
def test_every_form_has_its_own_default_weight(method, weights):
  for form, weight in weights.items():
    default = made(method, form=form)[0].terms[method].weight
    assert getattr(default, "value", default) == weight
    changed = made(method, form=form, weight=3.0)[0].terms[method].weight
    assert getattr(changed, "value", changed) == 3.0


def test_a_mean_teachers_student_may_read_another_view():
  (one,) = made("mean_teacher", view="strong")
  reads = one.terms.mean_teacher.reads
  assert reads.student == "student@strong/logits"
  assert reads.teacher == "average/logits"


def test_the_curriculum_of_ctkd_rises_in_ten_epochs_of_240():
  (one,) = made("ctkd", reversal=2.0)
  rise = one.terms.ctkd.reversal
  assert (rise.value, rise.end, rise.steps) == (0.0, 2.0, 10)


def test_c2kd_without_a_config_of_its_teacher_leaves_it_frozen():
  (frozen,) = made("c2kd")
  assert "teacher" in frozen.teachers and "teacher" not in frozen.networks
  (trained,) = made("c2kd", **TRAINED)
  assert "teacher" in trained.networks and "teacher" not in trained.teachers
  assert {"c2kd_teacher_self", "cross_entropy_teacher"} == (
    set(trained.terms) - set(frozen.terms)
  )


def test_c2kd_is_the_same_for_both_sides():
  (one,) = made("c2kd", **TRAINED)
  swap = lambda text: {"student": "teacher", "teacher": "student"}[text]
  for side in ("student", "teacher"):
    reads = one.terms[f"c2kd_{side}"].reads
    assert reads.student == f"heads/c2kd_{side}_proxy/student"
    assert reads.teacher == f"heads/c2kd_{swap(side)}_proxy/student"


@pytest.mark.slow
def test_the_last_student_of_hallucination_starts_from_the_first():
  last = resolved("hallucination")["stages"]["hallucination"]
  assert last["networks"]["student"]["init_from"] == "hallucination-1"
  assert list(last["terms"]) == ["cross_entropy"]


def test_a_companion_learns_from_a_frozen_or_a_trained_teacher():
  frozen, trained = (
    made("modality_focusing"),
    made("modality_focusing", **TRAINED),
  )
  assert frozen[0].terms.companion.targets == ("teacher",)
  assert trained[0].terms.companion.targets == ()
  assert trained[0].networks.teacher.name == "conv"
  assert "teacher" not in trained[0].teachers


def test_the_focused_teacher_is_the_one_that_the_companion_was_trained_with():
  stages = resolved("modality_focusing", **TRAINED)["stages"]
  focused = stages["modality_focusing"]
  first = "modality_focusing-1"
  teacher, companion = (
    focused["teachers"][name] for name in ("teacher", "companion")
  )
  assert (teacher["stage"], teacher["network"]) == (first, "teacher")
  assert (companion["stage"], companion["network"]) == (first, "student")


def test_the_divergence_of_modality_focusing_is_a_mean_over_classes():
  for options, reduction in (({}, "mean"), ({"reduction": "sum"}, "sum")):
    terms = made("modality_focusing", **options)[1].terms
    assert terms.modality_focusing.reduction == reduction


def test_self_distillation_has_no_factor_for_its_temperature():
  terms = made("self_distillation")[0].terms
  assert not terms.self_distillation0.scale
  assert (terms.hint0.weight, terms.hint0.reduction) == (0.03, "norm")


def test_self_distillation_needs_two_maps():
  with pytest.raises(UserError, match="has 1 `student_maps`"):
    made("self_distillation", student_maps=("student/stage1",))

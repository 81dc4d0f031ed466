"""Adversarial feature distillation (ADMD), or gradient reversal."""

from kdjax.config import earlier, extended, head, same_head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError
from kdjax.methods import _maps


def adversarial(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  discriminator_weight: float = 1.0,
  features: float = 0.0,
  form: str = "classes",
  classes: int | None = None,
  reversal: bool = False,
  phases: bool = False,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """ADMD: features that a discriminator cannot distinguish from the teacher's.

    loss = CE(student, label) + discriminator_weight D(s', t) + weight G(s)
           + features MSE(s, t)

  with s the student's feature through a linear layer, s' the same without
  gradient. G does not train the discriminator. With `reversal` there is one
  term, D(s, t); its gradient for s is multiplied by
  -weight / discriminator_weight. With `phases` the labels are trained after
  the other terms, in a second stage.

  Garcia, Morerio and Murino, "Learning with Privileged Information via
  Adversarial Discriminative Modality Distillation", TPAMI 2020,
  arXiv:1810.08437; Ganin and Lempitsky, ICML 2015, arXiv:1409.7495 (reversal).
  Defaults: the forms of both losses are the authors'. They initialise the
  student from the teacher, train it against the discriminator, with one Adam
  for each side, and then fine-tune it on the task. Here it is one stage that
  includes the labels, a student with its own initialisation and one optimizer
  for both sides; the weights of 1 are not published. `phases=True` is closer to
  the authors': two stages, and if the student has the teacher's architecture,
  its `init_from` may be the teacher's stage.
  Needs: an embedding of each network; widths may differ; labels if the form is
  "classes" or "classes_last".
  Costs: a discriminator of three layers, a linear layer.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of G, the student's term.
    discriminator_weight: weight of D, the discriminator's term.
    features: weight of the squared distance of features.
    form: "classes", "classes_last", "gan" or "least_squares".
    classes: number of classes; None is the student's.
    reversal: whether one term with a reversed gradient replaces D and G.
    phases: whether the labels are trained in a second stage.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the terms `features` and `discriminator` and,
    without `reversal`, `generator`. With `phases` two: one with these terms
    alone, and one with labels that starts from it.
  """
  terms = {
    "features": term(
      "mse",
      weight=features,
      reads={"student": student_embedding, "teacher": teacher_embedding},
      heads={"student": head("linear")},
    )
  }
  outputs = 1
  if form in ("classes", "classes_last"):
    outputs = 1 + (classes or _classes(stage))
  projected = "heads/features/student"
  factor = weight / discriminator_weight if reversal else 0.0
  terms["discriminator"] = term(
    "discriminator",
    weight=discriminator_weight,
    form=form,
    reads={"student": projected, "teacher": teacher_embedding},
    heads={
      "student": head("discriminator", outputs=outputs, reversal=factor),
      "teacher": same_head("discriminator"),
    },
    targets=("teacher",) if reversal else ("student", "teacher"),
  )
  if not reversal:
    terms["generator"] = term(
      "generator",
      weight=weight,
      form=form,
      reads={"student": projected},
      heads={"student": same_head("discriminator", still=True)},
    )
  for new_term in terms.values():
    # With one output, real or fake, no label is read.
    if outputs == 1 and "label" in new_term.reads:
      del new_term.reads["label"]
  return _before_labels(stage, terms) if phases else [extended(stage, terms)]


def _before_labels(
  stage: ConfigDict, terms: dict[str, ConfigDict]
) -> list[ConfigDict]:
  last = extended(stage, {})
  last.networks.student.init_from = earlier(0)
  return [_maps.before(stage, terms, 1.0), last]


def _classes(stage: ConfigDict) -> int:
  classes = stage.networks.student.get("num_classes")
  if not classes:
    raise UserError(
      "The student of 'adversarial' has no `num_classes`.",
      "Set the method's option `classes`.",
    )
  return classes

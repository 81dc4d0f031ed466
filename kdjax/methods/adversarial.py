"""Adversarial feature distillation (ADMD), or by a reversed gradient."""

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
  """ADMD: features that a discriminator cannot tell from the teacher's.

    loss = CE(student, label) + discriminator_weight D(s', t) + weight G(s)
           + features MSE(s, t)

  with s the student's feature through a linear layer, s' the same without its
  gradient; the discriminator of G does not learn from it. With `reversal` one
  term: D(s, t), whose gradient for s is times -weight / discriminator_weight.
  With `phases` the labels come after all else, in a stage of their own.

  Garcia, Morerio and Murino, "Learning with Privileged Information via
  Adversarial Discriminative Modality Distillation", TPAMI 2020,
  arXiv:1810.08437; Ganin and Lempitsky, ICML 2015, arXiv:1409.7495 (reversal).
  Defaults: the forms of both losses are the authors'. They start the student
  from the teacher, train it against the discriminator, each side with an Adam
  of its own, and then fine-tune it on the task. Here it is one stage with
  labels beside, a student of its own start and one optimizer for both sides;
  the weights of 1 are nobody's. `phases=True` is closer to theirs: two stages,
  and where the student is a network like the teacher, its `init_from` may be
  the teacher's stage.
  Needs: an embedding of each network, of any widths, and labels where the form
  is of classes.
  Costs: a discriminator of three layers, a linear layer.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the student's side.
    discriminator_weight: of the discriminator's.
    features: the weight of the features' squared distance.
    form: "classes", "classes_last", "gan" or "least_squares".
    classes: how many there are; None is those of the student.
    reversal: whether one term with a reversed gradient does for both.
    phases: whether the labels have a stage of their own after the adversaries'.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the terms `features` and `discriminator` and,
    without `reversal`, `generator`; with `phases` one of these terms alone, and
    one of labels whose student starts from it.
  """
  made = {
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
  made["discriminator"] = term(
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
    made["generator"] = term(
      "generator",
      weight=weight,
      form=form,
      reads={"student": projected},
      heads={"student": same_head("discriminator", still=True)},
    )
  for one in made.values():
    # What is real or fake alone is so without a label.
    if outputs == 1 and "label" in one.reads:
      del one.reads["label"]
  return _before_labels(stage, made) if phases else [extended(stage, made)]


def _before_labels(
  stage: ConfigDict, terms: dict[str, ConfigDict]
) -> list[ConfigDict]:
  last = extended(stage, {})
  last.networks.student.init_from = earlier(0)
  return [_maps.before(stage, terms, 1.0), last]


def _classes(stage: ConfigDict) -> int:
  found = stage.networks.student.get("num_classes")
  if not found:
    raise UserError(
      "The student does not say how many classes it has.",
      "Set `classes`.",
    )
  return found

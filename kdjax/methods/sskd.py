"""SSKD: distillation with self-supervision on transformed examples."""

from kdjax.config import earlier, extended, head, same_head, term
from kdjax.config.fields import ConfigDict


def sskd(
  stage: ConfigDict,
  *,
  weight: float = 0.9,
  labels: float = 0.1,
  contrast: float = 10.0,
  transformed: float = 2.7,
  temperature: float = 4.0,
  contrast_temperature: float = 0.5,
  contrast_ratio: float = 0.75,
  transformed_ratio: float = 1.0,
  share: float = 0.25,
  views: tuple[str, ...] = ("rotate90", "rotate180", "rotate270"),
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """SSKD: KD on all views, and similarities between views and examples.

    loss = sskd_aux(teacher's views through a head),     first
    loss = labels CE(student, label) + weight T^2 KL(teacher || student)
           + contrast sskd + transformed sskd_transformed,   then

  Xu et al., "Knowledge Distillation Meets Self-Supervision", ECCV 2020,
  arXiv:2006.07114. Defaults: the authors' for CIFAR-100: weights 0.1, 0.9, 10
  and 2.7 in the order of the formula, and 60 epochs for the teacher's head
  before the student's 240.
  Needs: a data set with the option `views`; widths may differ.
  Costs: a forward pass of both networks for each view; a first stage, which
  trains the frozen teacher's head and leaves the student untrained.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of KD on the plain view.
    labels: weight of cross-entropy, in the last stage.
    contrast: weight of the term on similarities of views.
    transformed: weight of KD on the other views.
    temperature: T, for both KD terms.
    contrast_temperature: temperature of the similarities.
    contrast_ratio: fraction kept of the views that the teacher assigns to
      another example.
    transformed_ratio: fraction kept of the views that it classifies wrongly.
    share: steps of the first stage, as a fraction of the steps that `stage` has
      when the method is applied; a later flag for `steps` does not change it.
    views: the data's views in addition to the plain one.
    student_embedding: address of the student's features, in the plain view.
    teacher_embedding: address of the teacher's features, in the plain view.

  Returns:
    Two stages: the teacher's head, and the student.
  """
  teacher_views = _all_views(teacher_embedding, views)
  student_views = _all_views(student_embedding, views)
  terms = {
    # No gradient: its head is trained in the first stage and frozen here.
    "sskd_aux": _aux(teacher_views, init_from=earlier(0), still=True),
    "kd": term("kd", weight=weight, temperature=temperature, group="kd"),
    "sskd": term(
      "sskd",
      weight=contrast,
      reads={"student": student_views, "teacher": teacher_views},
      heads={
        "student": head("views"),
        "teacher": same_head("sskd_aux", still=True),
      },
      group="kd",
      temperature=contrast_temperature,
      ratio=contrast_ratio,
    ),
    "sskd_transformed": term(
      "sskd_transformed",
      weight=transformed,
      reads={
        side: _all_views(f"{side}/logits", views)[1:]
        for side in ("student", "teacher")
      },
      group="kd",
      temperature=temperature,
      ratio=transformed_ratio,
    ),
  }
  return [
    _before(stage, teacher_views, share),
    extended(stage, terms, labels=labels),
  ]


def _before(
  stage: ConfigDict, teacher_views: tuple[str, ...], share: float
) -> ConfigDict:
  """The stage that trains the teacher's head alone."""
  result = extended(
    stage,
    {"sskd_aux": _aux(teacher_views)},
    steps=max(int(stage.steps * share), 1),
    # It does not train the accuracy, which cannot select a best step.
    eval_every=0,
  )
  result.terms = ConfigDict({"sskd_aux": result.terms.sskd_aux})
  return result


def _aux(teacher_views: tuple[str, ...], **options) -> ConfigDict:
  """The term that matches the teacher's views to the plain examples."""
  heads = {"student": head("views", **options)}
  return term(
    "sskd_aux", reads={"student": teacher_views}, heads=heads, targets=()
  )


def _all_views(address: str, views: tuple[str, ...]) -> tuple[str, ...]:
  """An address in the plain view and in the other views."""
  network, _, output = address.partition("/")
  return (address, *(f"{network}@{view}/{output}" for view in views))

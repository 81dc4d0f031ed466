"""SSKD: what a teacher knows of transformed examples."""

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
  """Softened classes of all views, and how views resemble plain examples.

    loss = sskd_aux(teacher's views through its head),   first
    loss = labels CE(student, label) + weight T^2 KL(teacher || student)
           + contrast sskd + transformed sskd_transformed,   then

  Xu et al., "Knowledge Distillation Meets Self-Supervision", ECCV 2020,
  arXiv:2006.07114. Defaults: the authors' for CIFAR-100: weights 0.1, 0.9, 10
  and 2.7 in the order of the formula, and 60 epochs of the teacher's head
  before the student's 240.
  Needs: the views, which the data set makes (`views`); any widths.
  Costs: a forward pass of both networks for every view; a first stage, which
  trains the head of the frozen teacher and leaves the student as it is.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the softened classes of the plain view.
    labels: the weight of the labels, in the last stage.
    contrast: the weight of the resemblance of views.
    transformed: the weight of the softened classes of the other views.
    temperature: T, of both kinds of classes.
    contrast_temperature: of the resemblance.
    contrast_ratio: the share kept of the views that the teacher takes for
      another example's.
    transformed_ratio: the share kept of the views that it classifies wrong.
    share: how long the first stage is, as a share of the given one's steps,
      which are taken when the method is applied; a later flag does not reach
      it.
    views: of the data, beside the plain one.
    student_embedding: address in the plain view.
    teacher_embedding: address in the plain view.

  Returns:
    Two stages: the head of the teacher, and the student.
  """
  seen = _all_views(teacher_embedding, views)
  terms = {
    # It moves nothing: its head is the teacher's, and is kept as it is.
    "sskd_aux": _aux(seen, init_from=earlier(0), still=True),
    "kd": term("kd", weight=weight, temperature=temperature, group="kd"),
    "sskd": term(
      "sskd",
      weight=contrast,
      reads={"student": _all_views(student_embedding, views), "teacher": seen},
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
    _before(stage, seen, share),
    extended(stage, terms, labels=labels),
  ]


def _before(
  stage: ConfigDict, seen: tuple[str, ...], share: float
) -> ConfigDict:
  """The stage that trains the head of the teacher alone."""
  made = extended(
    stage,
    {"sskd_aux": _aux(seen)},
    steps=max(int(stage.steps * share), 1),
    # By accuracy, which it does not train, its best step would be any.
    eval_every=0,
  )
  made.terms = ConfigDict({"sskd_aux": made.terms.sskd_aux})
  return made


def _aux(seen: tuple[str, ...], **start) -> ConfigDict:
  """Views of the teacher through its head, found among the plain ones."""
  heads = {"student": head("views", **start)}
  return term("sskd_aux", reads={"student": seen}, heads=heads, targets=())


def _all_views(address: str, views: tuple[str, ...]) -> tuple[str, ...]:
  """An address in the plain view and in the others."""
  network, _, output = address.partition("/")
  return (address, *(f"{network}@{view}/{output}" for view in views))

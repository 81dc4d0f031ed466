"""DistilBERT: softened classes, labels, and the direction of hidden states."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _layers


def distilbert(
  stage: ConfigDict,
  *,
  weight: float = 5.0,
  labels: float = 2.0,
  cosine: float = 1.0,
  temperature: float = 2.0,
  student_hidden: tuple = ("student/block00", "student/block01"),
  teacher_hidden: tuple = ("teacher/block01", "teacher/block03"),
  token_mask: str | None = None,
  project: bool = True,
) -> list[ConfigDict]:
  """The triple loss: distillation, the task, and a cosine.

    loss = labels CE + weight T^2 KL + cosine (1 - cos(student, teacher))

  with the cosine of the last layer's hidden states, at every token.

  Sanh et al., "DistilBERT, a distilled version of BERT: smaller, faster,
  cheaper and lighter", NeurIPS EMC2 Workshop 2019, arXiv:1910.01108, Section 3.
  Defaults: of the authors' training command. Their task is masked words; here
  it is whatever the stage's cross-entropy is of.
  Needs: two Transformers with as many tokens. The paper's are equally wide, the
  student every other layer of the teacher, which it starts from; that start is
  not part of this. Equally wide ones may do with `project=False`.
  Costs: a linear head.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the softened classes.
    labels: of cross-entropy with labels.
    cosine: of the hidden states.
    temperature: T; of both.
    student_hidden: hidden states, of which the last are matched.
    teacher_hidden: the same.
    token_mask: where tokens are no padding; None is everywhere.
    project: whether a linear head stands on the student's.

  Returns:
    One stage.
  """
  reads = {"student": student_hidden[-1], "teacher": teacher_hidden[-1]}
  terms = {
    "distilbert_kd": term(
      "kd", weight=weight, temperature=temperature, group="kd"
    ),
    "distilbert_cosine": term(
      "cosine",
      weight=cosine,
      reads=_layers.masked(reads, token_mask),
      heads=_layers.projected(project),
    ),
  }
  return [extended(stage, terms, labels=labels)]

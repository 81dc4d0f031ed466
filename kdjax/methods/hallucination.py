"""Modality hallucination: features of what will not be there."""

from kdjax.config import earlier, extended, head, term
from kdjax.config.fields import ConfigDict


def hallucination(
  stage: ConfigDict,
  *,
  weight: float = 0.005,
  soft: float = 0.25,
  labels: float = 0.25,
  temperature: float = 10.0,
  project: bool = True,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """A student imagines the teacher's features, then learns from labels alone.

    loss = labels CE(student, label) + soft SCE(teacher / T, student / T)
           + weight sum (sigmoid(f_student) - sigmoid(f_teacher))^2
    loss = CE(student, label), from there on           (the second stage)

  Garcia, Morerio and Murino, "Modality Distillation with Multiple Stream
  Networks for Action Recognition", ECCV 2018, arXiv:1806.07110; the features
  after Hoffman, Gupta and Darrell, CVPR 2016. Defaults: the authors', both of
  whose shares are 1/2, the features times 0.01. Theirs is a stream beside one
  that was trained on what is there, and the last stage trains both at once: for
  that, let the second stage's student be a network 'fusion'.
  Needs: a teacher of the modality that will be missing. The paper's two are
  alike; otherwise a linear layer stands on the student's features.
  Costs: two stages of the given length.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the features.
    soft: of the softened classes.
    labels: of the labels, in the first stage.
    temperature: T, of both.
    project: whether the student's features go through a linear layer.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    Two stages; the second one's student starts from the first one's.
  """
  terms = {
    "hallucination": term(
      "hallucination",
      weight=weight,
      reads={"student": student_embedding, "teacher": teacher_embedding},
      heads={"student": head("linear")} if project else {},
      group="kd",
    ),
    "soft_cross_entropy": term(
      "soft_cross_entropy",
      weight=soft,
      default_temperature=temperature,
      group="kd",
    ),
  }
  first = extended(stage, terms, labels=labels)
  last = extended(stage, {}, teachers={})
  last.networks.student.init_from = earlier(0)
  return [first, last]

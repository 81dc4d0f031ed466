"""Modality hallucination: predict features of a missing modality."""

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
  """Predict the teacher's features, then train on labels alone.

    loss = labels CE(student, label) + soft SCE(teacher / T, student / T)
           + weight sum (sigmoid(f_student) - sigmoid(f_teacher))^2
    loss = CE(student, label)                          (the second stage)

  Garcia, Morerio and Murino, "Modality Distillation with Multiple Stream
  Networks for Action Recognition", ECCV 2018, arXiv:1806.07110; the features
  after Hoffman, Gupta and Darrell, CVPR 2016. Defaults: the authors': both
  mixing weights are 1/2, the features' factor is 0.01. Their network is a
  second stream next to one trained on the available modality, and the last
  stage trains both: for that, make the second stage's student a 'fusion'.
  Needs: a teacher of the modality that will be missing. In the paper both
  networks are alike (`project=False`).
  Costs: two stages of the same number of steps; a linear layer.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the feature term.
    soft: weight of the soft cross-entropy.
    labels: weight of cross-entropy, in the first stage.
    temperature: T, for student and teacher.
    project: whether the student's features pass through a linear layer.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    Two stages; the second starts from the first.
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

"""Confidence-aware distillation from several teachers."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def ca_mkd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  temperature: float = 4.0,
  teachers: tuple[str, ...] = ("teacher/logits",),
) -> list[ConfigDict]:
  """Softened classes of several teachers, each as far as it is right.

    loss = CE(student, label) + weight T^2 sum_m w_m KL(teacher_m || student)

  with w_m less, the worse teacher m knows the label.

  Zhang, Chen and Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation",
  ICASSP 2022, arXiv:2201.00007. Defaults: the paper's, without its second term
  on features. An unlabelled example trusts all teachers alike.
  Needs: two or more teachers of the same classes.
  Costs: a forward pass of every teacher; nothing is learned.

  Args:
    stage: with a network `student` and all teachers.
    weight: of the teachers.
    temperature: T, of all.
    teachers: addresses of their logits.

  Returns:
    One stage: this one, with the term `ca_mkd`.
  """
  made = term(
    "ca_mkd",
    weight=weight,
    reads={"teacher": teachers, "truth": "batch/label"},
    temperature=temperature,
    group="kd",
  )
  return [extended(stage, {"ca_mkd": made})]

"""CA-MKD: confidence-aware distillation from several teachers."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def ca_mkd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  temperature: float = 4.0,
  teachers: tuple[str, ...] = ("teacher/logits",),
) -> list[ConfigDict]:
  """CA-MKD: KD from several teachers, weighted by their correctness.

    loss = CE(student, label) + weight T^2 sum_m w_m KL(teacher_m || student)

  with a smaller w_m the larger teacher m's cross-entropy with the label.

  Zhang, Chen and Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation",
  ICASSP 2022, arXiv:2201.00007. Defaults: the paper's, without its second term
  on features. Unlabelled examples weight all teachers equally.
  Needs: two or more teachers with the student's classes. An example that lacks
  the modality of some is taught by the others.
  Costs: a forward pass of each teacher; no parameters.

  Args:
    stage: with a network `student` and all teachers.
    weight: weight of the distillation term.
    temperature: T, for all networks.
    teachers: addresses of the teachers' logits.

  Returns:
    One stage: `stage` with the term `ca_mkd`.
  """
  new_term = term(
    "ca_mkd",
    weight=weight,
    reads={"teacher": teachers, "truth": "batch/label"},
    temperature=temperature,
    group="kd",
  )
  return [extended(stage, {"ca_mkd": new_term})]

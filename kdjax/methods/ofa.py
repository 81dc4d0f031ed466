"""OFA-KD: one-for-all distillation across architectures."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def ofa(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  exit_weight: float = 1.0,
  power: float = 1.0,
  temperature: float = 1.0,
  student_maps: tuple = ("student/stage0|middle", "student/stage1|last"),
) -> list[ConfigDict]:
  """OFA-KD: the student's logits and early exits learn from the teacher.

    loss = CE(student, label) + weight OFA(student, teacher, label)
           + exit_weight sum_i OFA(exit_i(map_i), teacher, label)

  For networks with different architectures and incomparable features.

  Hao et al., "One-for-All: Bridge the Gap Between Heterogeneous Architectures
  in Knowledge Distillation", NeurIPS 2023, arXiv:2310.19444, Section 3.
  Defaults: those of the authors' code, where the target class is not enhanced;
  its command for a CNN on ImageNet (ResNet-18, teacher DeiT-T) has power=1.5.
  Their exits are full network stages; here each is a convolution and a
  classifier on the mean of the map.
  Needs: labels.
  Costs: an exit for each map, dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term on the student's logits.
    exit_weight: weight of the term of each exit.
    power: exponent that enhances the target class; 1 is no change.
    temperature: T, for student and teacher.
    student_maps: addresses of the maps with exits; () is no exit.

  Returns:
    One stage: `stage` with the terms `ofa`, `ofa0`, `ofa1`, ...
  """
  shared = {"power": power, "temperature": temperature, "group": "kd"}
  terms = {"ofa": term("ofa", weight=weight, **shared)}
  for i, address in enumerate(student_maps):
    terms[f"ofa{i}"] = term(
      "ofa",
      weight=exit_weight,
      reads={"student": address},
      heads={"student": head("proxy")},
      **shared,
    )
  return [extended(stage, terms)]

"""One-for-all: the teacher's classes at every exit of the student."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def ofa(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  exit_weight: float = 1.0,
  power: float = 1.0,
  temperature: float = 1.0,
  student_maps: tuple = ("student/stage0", "student/stage1"),
) -> list[ConfigDict]:
  """Maps of the student become logits, and learn the teacher's.

    loss = CE(student, label) + weight OFA(student, teacher, label)
           + exit_weight sum_i OFA(exit_i(map_i), teacher, label)

  Between networks of unlike kinds, whose features have nothing in common.

  Hao et al., "One-for-All: Bridge the Gap Between Heterogeneous Architectures
  in Knowledge Distillation", NeurIPS 2023, arXiv:2310.19444, Section 3.
  Defaults: those of the authors' code, where the label's class is not enhanced;
  its command for a CNN of ImageNet (ResNet-18, taught by DeiT-T) has power=1.5.
  Their exits are stages of their own; here each is a convolution and a
  classifier on the mean of the map.
  Needs: labels.
  Costs: an exit for every map, dropped after training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the student's logits.
    exit_weight: of every exit.
    power: how much the label's class is enhanced; 1 is not at all.
    temperature: T, of both.
    student_maps: addresses of the maps that have exits; () is none.

  Returns:
    One stage.
  """
  shared = {"power": power, "temperature": temperature, "group": "kd"}
  terms = {"ofa": term("ofa", weight=weight, **shared)}
  for place, address in enumerate(student_maps):
    terms[f"ofa{place}"] = term(
      "ofa",
      weight=exit_weight,
      reads={"student": address},
      heads={"student": head("proxy")},
      **shared,
    )
  return [extended(stage, terms)]

"""Distillation from a stronger teacher."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def dist(
  stage: ConfigDict,
  *,
  weight: float = 2.0,
  temperature: float = 1.0,
  inter_weight: float = 1.0,
  intra_weight: float = 1.0,
) -> list[ConfigDict]:
  """The order of the classes in an example, and of the examples in a class.

    loss = CE(student, label) + weight T^2 (inter_weight mean_b (1 - r_b)
             + intra_weight mean_k (1 - r_k))

  with the correlations r of student and teacher.

  Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022,
  arXiv:2205.10536, Section 4. Defaults: of the paper, whose weight is that of
  both parts on ImageNet.
  Needs: batches of several examples.
  Costs: nothing beside the teacher's logits.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of both parts.
    temperature: T, of both.
    inter_weight: of the correlation over the classes.
    intra_weight: of the correlation over the examples.

  Returns:
    One stage.
  """
  made = term(
    "dist",
    weight=weight,
    temperature=temperature,
    inter_weight=inter_weight,
    intra_weight=intra_weight,
    group="kd",
  )
  return [extended(stage, {"dist": made})]

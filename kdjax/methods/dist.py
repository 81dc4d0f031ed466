"""DIST: distillation from a stronger teacher."""

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
  """DIST: correlations over classes per example, and over examples per class.

    loss = CE(student, label) + weight T^2 (inter_weight mean_b (1 - r_b)
             + intra_weight mean_k (1 - r_k))

  with r the correlation of student and teacher.

  Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022,
  arXiv:2205.10536, Section 4. Defaults: the paper's for ImageNet.
  Needs: batches of several examples.
  Costs: the teacher's forward pass; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of both parts.
    temperature: T, for student and teacher.
    inter_weight: weight of the correlations over classes.
    intra_weight: weight of the correlations over examples.

  Returns:
    One stage: `stage` with the term `dist`.
  """
  new_term = term(
    "dist",
    weight=weight,
    temperature=temperature,
    inter_weight=inter_weight,
    intra_weight=intra_weight,
    group="kd",
  )
  return [extended(stage, {"dist": new_term})]

"""Linear CKA: similarity of the student's and the teacher's features."""

import numpy as np
from jaxtyping import Bool, Float

from kdjax.metrics._masking import zero_masked
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ()


def rows(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape_teacher"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """The collected values of each example.

  All values of both features are kept in memory; pool large maps before.

  Args:
    student: features, for example `student/embedding`.
    teacher: features of any shape.
    mask: True for valid rows; the values of other rows are ignored.

  Returns:
    student, teacher: f32 [B D] and [B D_teacher], one row per example.
  """
  flat = lambda array: zero_masked(mask, array).reshape(mask.shape[0], -1)
  return {"student": flat(student), "teacher": flat(teacher)}


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """Linear centred kernel alignment over all rows.

    cka = |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F)

  with X and Y the features of student and teacher, centred over the rows. It is
  1 if one is a rotation, scaling and translation of the other.

  Kornblith et al., "Similarity of Neural Network Representations Revisited",
  ICML 2019, arXiv:1905.00414, Section 3. It is computed over all rows, not
  averaged over batches. As in the paper, it is biased upwards with fewer rows
  than features.

  Args:
    rows: `student` [N D] and `teacher` [N D_teacher] of all valid rows.

  Returns:
    cka: from 0 to 1; NaN if the features of a network are constant.
  """
  student, teacher = _centred(rows["student"]), _centred(rows["teacher"])
  if len(student) <= max(student.shape[1], teacher.shape[1]):
    # The same value from N x N products, which are smaller here.
    student, teacher = student @ student.T, teacher @ teacher.T
    cross = np.sum(student * teacher)
    norms = np.linalg.norm(student) * np.linalg.norm(teacher)
  else:
    cross = np.sum((teacher.T @ student) ** 2)
    norms = np.linalg.norm(student.T @ student)
    norms = norms * np.linalg.norm(teacher.T @ teacher)
  return {"cka": float(cross / norms) if norms != 0.0 else float("nan")}


def _centred(features: np.ndarray) -> np.ndarray:
  """Features minus their mean, in float64.

  Constant features become exactly 0: float64 represents the sum of equal
  float32 values exactly.
  """
  features = np.asarray(features, np.float64)
  if not len(features):
    return features
  return features - np.mean(features, axis=0)[None]

"""How alike the student's features are to the teacher's: linear CKA."""

import numpy as np
from jaxtyping import Bool, Float

from kdjax.metrics._labelled import shown
from kdjax.types import Array


def rows(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape_teacher"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """What is kept of each example: all numbers of both, so pool large maps.

  Args:
    student: features, as of `student/embedding`.
    teacher: features; as many numbers as they like.
    mask: rows with False count nowhere, whatever they hold.

  Returns:
    student, teacher: f32 [B D] and [B D_teacher], every example as one row.
  """
  flat = lambda array: shown(mask, array).reshape(mask.shape[0], -1)
  return {"student": flat(student), "teacher": flat(teacher)}


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The alignment over all rows.

    cka = |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F)

  with X and Y the features of student and teacher, less their means over the
  rows. It is 1 where one is the other rotated, scaled and moved.

  Kornblith et al., "Similarity of Neural Network Representations Revisited",
  ICML 2019, arXiv:1905.00414, Section 3. Of all rows at once, not the mean over
  batches; biased upwards where there are fewer rows than features, as there.

  Args:
    rows: `student` [N D] and `teacher` [N D_teacher], of the rows that count.

  Returns:
    cka: from 0 to 1; nan where one of the two is the same for all rows.
  """
  student, teacher = _centred(rows["student"]), _centred(rows["teacher"])
  if len(student) <= max(student.shape[1], teacher.shape[1]):
    # The same number from N x N products, which are the smaller ones here.
    student, teacher = student @ student.T, teacher @ teacher.T
    shared = np.sum(student * teacher)
    own = np.linalg.norm(student) * np.linalg.norm(teacher)
  else:
    shared = np.sum((teacher.T @ student) ** 2)
    own = np.linalg.norm(student.T @ student)
    own = own * np.linalg.norm(teacher.T @ teacher)
  return {"cka": float(shared / own) if own != 0.0 else float("nan")}


def _centred(features: np.ndarray) -> np.ndarray:
  """Features less their mean, in float64: exactly 0 where they are constant.

  For float64 holds the sum of equal float32 numbers.
  """
  features = np.asarray(features, np.float64)
  if not len(features):
    return features
  return features - np.mean(features, axis=0)[None]

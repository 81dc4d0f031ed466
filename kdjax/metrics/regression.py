"""Errors of predicted numbers: MSE, RMSE, MAE and R2."""

import numpy as np
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.metrics._labelled import shown
from kdjax.metrics._scores import ratio
from kdjax.types import Array


def rows(
  student: Float[Array, "B *shape"],
  target: Float[Array, "B *shape_target"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """What is kept of each example.

  Rows, not sums: of numbers whose mean is large beside their deviation, sums of
  squares in float32 leave no digit of R2.

  Args:
    student: what is predicted, [B] or [B D].
    target: what should be, of the same shape; [B] goes with [B 1] too.
    mask: rows with False count nowhere, whatever they hold.

  Returns:
    student, target: f32 [B D], every example's numbers as one row.
  """
  if student.shape not in (target.shape, (*target.shape, 1)):
    raise ShapeError(
      f"The student is {list(student.shape)}, the target {list(target.shape)}.",
      "The target must be the same, or lack a last axis of 1.",
    )
  flat = lambda array: shown(mask, array).reshape(mask.shape[0], -1)
  return {"student": flat(student), "target": flat(target)}


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics of all rows; nan where there is none.

  Equal to scikit-learn's with `multioutput="uniform_average"`: each of the D
  outputs has its own metric, and these are averaged.

  Args:
    rows: `student` and `target` [N D], of the rows that count.

  Returns:
    mse: mean squared error.
    rmse: root of the mean squared error.
    mae: mean absolute error.
    r2: the share of the target's variance that is explained. Where a target
      is the same for all rows, 1 if it is predicted, else 0; nan for one row.
  """
  student = np.asarray(rows["student"], np.float64)
  target = np.asarray(rows["target"], np.float64)
  if not student.size:
    return dict.fromkeys(("mse", "rmse", "mae", "r2"), float("nan"))
  error = student - target
  squares = np.mean(error**2, axis=0)
  # Exactly 0 of a constant: float64 holds the sum of equal float32 numbers.
  variance = np.mean((target - np.mean(target, axis=0)[None]) ** 2, axis=0)
  explained = 1.0 - ratio(squares, variance)
  explained = np.where((variance == 0.0) & (squares != 0.0), 0.0, explained)
  return {
    "mse": float(np.mean(squares)),
    "rmse": float(np.mean(np.sqrt(squares))),
    "mae": float(np.mean(np.abs(error))),
    "r2": float(np.mean(explained)) if len(target) > 1 else float("nan"),
  }

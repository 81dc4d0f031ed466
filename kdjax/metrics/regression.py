"""Regression: MSE, RMSE, MAE and R2."""

import numpy as np
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.metrics._class_scores import ratio
from kdjax.metrics._masking import zero_masked
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ("mse", "rmse", "mae")


def rows(
  student: Float[Array, "B *shape"],
  target: Float[Array, "B *shape_target"],
  mask: Bool[Array, "B"],
) -> dict[str, Array]:
  """The collected values of each example.

  They are rows, not sums, because sums of squares in float32 lose all digits of
  R2 where the mean is large compared with the deviation.

  Args:
    student: predictions, [B] or [B D].
    target: targets of the same shape, or [B] for predictions [B 1].
    mask: True for valid rows; the values of other rows are ignored.

  Returns:
    student, target: f32 [B D], one row per example.
  """
  if student.shape not in (target.shape, (*target.shape, 1)):
    raise ShapeError(
      f"The student is {list(student.shape)}, the target {list(target.shape)}.",
      "Expected equal shapes, or a target [B] for a student [B, 1].",
    )
  flat = lambda array: zero_masked(mask, array).reshape(mask.shape[0], -1)
  return {"student": flat(student), "target": flat(target)}


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics of all rows; NaN without any.

  Equal to scikit-learn's with `multioutput="uniform_average"`: the mean over
  the metrics of the D outputs.

  Args:
    rows: `student` and `target` [N D] of all valid rows.

  Returns:
    mse: mean squared error.
    rmse: root of the mean squared error.
    mae: mean absolute error.
    r2: the explained fraction of the target's variance. For a constant target
      it is 1 if all predictions are equal to it, else 0; NaN for one row.
  """
  student = np.asarray(rows["student"], np.float64)
  target = np.asarray(rows["target"], np.float64)
  if not student.size:
    return dict.fromkeys(("mse", "rmse", "mae", "r2"), float("nan"))
  error = student - target
  squares = np.mean(error**2, axis=0)
  # Exactly 0 for a constant: float64 represents the sum of equal float32 values
  # exactly.
  variance = np.mean((target - np.mean(target, axis=0)[None]) ** 2, axis=0)
  explained = 1.0 - ratio(squares, variance)
  explained = np.where((variance == 0.0) & (squares != 0.0), 0.0, explained)
  return {
    "mse": float(np.mean(squares)),
    "rmse": float(np.mean(np.sqrt(squares))),
    "mae": float(np.mean(np.abs(error))),
    "r2": float(np.mean(explained)) if len(target) > 1 else float("nan"),
  }

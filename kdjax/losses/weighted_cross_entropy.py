"""Cross-entropy weighted by inverse class frequency."""

import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import UserError
from kdjax.losses._class_weights import class_counts
from kdjax.losses.cross_entropy import cross_entropy
from kdjax.types import Array


def weighted_cross_entropy(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  counts: Float[Array, "K"],
  *,
  weighting: str = "inverse",
  beta: float = 0.999,
  label_smoothing: float = 0.0,
  smoothing: str = "uniform",
) -> Float[Array, "B"]:
  """Matches the student's softmax with the label, weighted by class rarity.

    loss_i = w[y_i] cross_entropy(student_i, y_i),  w = v / mean_k v_k
    v_k = 1 / n_k                        "inverse"
    v_k = 1 / sqrt(n_k)                  "sqrt"
    v_k = (1 - beta) / (1 - beta^n_k)    "effective"

  and 0 where y_i = -1. The mean is over classes with examples; a class without
  examples is weighted as one with 1 example.

  Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR
  2019, arXiv:1901.05555, Proposition 1 and Section 4 ("effective"; the other
  two are its baselines).
  Differs from the authors' code: the objective divides the sum by the number of
  labelled examples; torch divides it by the sum of their weights.

  Args:
    student: logits.
    label: the class; -1 if unlabelled, which gives no loss and no gradient.
    counts: n, the number of training examples of each class.
    weighting: "inverse", "sqrt" or "effective".
    beta: of "effective": 0 gives equal weights, towards 1 it becomes "inverse".
    label_smoothing: the probability that is spread over classes.
    smoothing: spread over all classes, "uniform", or the others, "others".
  """
  if weighting not in ("inverse", "sqrt", "effective"):
    raise UserError(
      f"No weighting '{weighting}'.", exists=("inverse", "sqrt", "effective")
    )
  if smoothing not in ("uniform", "others"):
    raise UserError(
      f"No smoothing '{smoothing}'.", exists=("uniform", "others")
    )
  n = class_counts(counts, student.shape[1])
  if weighting == "effective":
    # 1 / (1 - beta^n), accurate also for beta close to 1.
    weights = 1.0 / -jnp.expm1(n * jnp.log(beta))
  else:
    weights = n ** (-1.0 if weighting == "inverse" else -0.5)
  weights /= jnp.mean(weights, where=counts > 0.0)
  loss = cross_entropy(
    student, label, label_smoothing=label_smoothing, smoothing=smoothing
  )
  return weights[label] * loss

"""Cross-entropy in which a class counts by how rarely it occurs."""

import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.errors import UserError
from kdjax.losses._weights import counted
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
  """Matches the student's softmax with the label, rare classes above all.

    loss_i = w[y_i] cross_entropy(student_i, y_i),  w = v / mean_k v_k
    v_k = 1 / n_k                        "inverse"
    v_k = 1 / sqrt(n_k)                  "sqrt"
    v_k = (1 - beta) / (1 - beta^n_k)    "effective"

  and 0 where y_i = -1. The mean is over the classes that occur; one of which
  there is none has the weight of one that occurs once.

  Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR
  2019, arXiv:1901.05555, Proposition 1 and Section 4 ("effective"; the other
  two are what it is compared with).
  Differs from the authors' code: the objective divides the sum by the count of
  labelled examples; torch divides it by the sum of their weights.

  Args:
    student: logits.
    label: the class, -1 where unlabelled: no loss, and no gradient at all.
    counts: n, of the examples of each class in the training set.
    weighting: "inverse", "sqrt" or "effective".
    beta: of "effective": 0 weights all classes alike, towards 1 it becomes
      "inverse".
    label_smoothing: the share of the label that is spread.
    smoothing: over which classes, "uniform" or "others".
  """
  if weighting not in ("inverse", "sqrt", "effective"):
    raise UserError(
      f"No weighting '{weighting}'.", exists=("inverse", "sqrt", "effective")
    )
  if smoothing not in ("uniform", "others"):
    raise UserError(
      f"No smoothing '{smoothing}'.", exists=("uniform", "others")
    )
  n = counted(counts, student.shape[1])
  if weighting == "effective":
    # 1 - beta^n, with its digits where beta is almost 1.
    weights = 1.0 / -jnp.expm1(n * jnp.log(beta))
  else:
    weights = n ** (-1.0 if weighting == "inverse" else -0.5)
  weights /= jnp.mean(weights, where=counts > 0.0)
  loss = cross_entropy(
    student, label, label_smoothing=label_smoothing, smoothing=smoothing
  )
  return weights[label] * loss

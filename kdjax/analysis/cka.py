"""CKA between all layers of a teacher and a student, unbiased, in batches."""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from kdjax.analysis import _layers
from kdjax.analysis._subject import STUDENT, Subject
from kdjax.types import Array

EXACT = jax.lax.Precision.HIGHEST


def u_centred(
  features: Float[Array, "B ..."], mask: Bool[Array, "B"]
) -> Float[Array, "B B"]:
  """The U-centred Gram matrix of a layer's features.

    A_ij = K_ij - (K_i. + K_.j) / (n - 2) + K_.. / ((n - 1) (n - 2)),  i != j

  with K the linear kernel without its diagonal, K_i. the sum of a row, K_.. the
  sum of all, n the number of valid rows; A_ii = 0. Szekely and Rizzo, "Partial
  distance correlation with methods for dissimilarities", Annals of Statistics
  2014, Eq. (2.2).

  Args:
    features: of a layer.
    mask: True for valid rows; the others are 0 in the result. At least 4.
  """
  x = features.reshape(features.shape[0], -1).astype(jnp.float32)
  count = jnp.sum(mask).astype(jnp.float32)
  mean = jnp.sum(jnp.where(mask[:, None], x, 0.0), axis=0) / count
  # The result does not depend on the mean; without it, less is rounded.
  x = jnp.where(mask[:, None], x - mean[None], 0.0) / np.sqrt(x.shape[1])
  off = ~jnp.eye(len(x), dtype=bool)
  kernel = jnp.where(off, jnp.matmul(x, x.T, precision=EXACT), 0.0)
  rows = jnp.sum(kernel, axis=1)
  total = jnp.sum(rows) / ((count - 1) * (count - 2))
  centred = kernel - (rows[:, None] + rows[None, :]) / (count - 2) + total
  return jnp.where(off & mask[:, None] & mask[None, :], centred, 0.0)


def unbiased_hsic(
  left: Float[Array, "L B B"], right: Float[Array, "M B B"], count: Array
) -> Float[Array, "L M"]:
  """The unbiased estimator HSIC_1 of each pair of layers.

    HSIC_1(K, L) = sum_ij A_ij B_ij / (n (n - 3))

  with A, B from `u_centred`. It equals [tr(K L) + 1'K1 1'L1 / ((n-1)(n-2)) -
  2 / (n-2) 1'KL1] / (n (n-3)), with K and L without their diagonals: Song et
  al., "Feature Selection via Dependence Maximization", JMLR 2012, Eq. (5), and
  Nguyen et al., "Do Wide and Deep Networks Learn the Same Things?", ICLR 2021,
  arXiv:2010.15327, Eq. (3).

  Args:
    left: of layers.
    right: of other layers, on the same batch.
    count: n, the number of valid rows.
  """
  flat = lambda it: it.reshape(it.shape[0], -1)
  product = jnp.matmul(flat(left), flat(right).T, precision=EXACT)
  return product / (count * (count - 3))


def normalized(
  cross: Float[np.ndarray, "L M"],
  left: Float[np.ndarray, "L"],
  right: Float[np.ndarray, "M"],
) -> Float[np.ndarray, "L M"]:
  """CKA of sums of HSIC over batches; Nguyen et al. 2021, Eq. (2).

    CKA = sum_b HSIC(K_b, L_b) / sqrt(sum_b HSIC(K_b, K_b) sum_b HSIC(L_b, L_b))

  Args:
    cross: of pairs of layers.
    left: of each layer with itself.
    right: of each other layer with itself.

  Returns:
    CKA, about 0 to 1; it may be slightly below 0, as its numerator is unbiased.
    NaN for a layer that is constant.
  """
  scale = np.sqrt(np.clip(left, 0, None)[:, None] * np.clip(right, 0, None))
  return np.where(scale > 0, cross / np.where(scale > 0, scale, 1), np.nan)


def minibatch_cka(
  batches: Iterable[tuple[Sequence[Array], Sequence[Array]]],
) -> Float[np.ndarray, "L M"]:
  """CKA of all pairs of two networks' layers, of batches of their features.

  Args:
    batches: (features of L layers, features of M layers) [B ...], each; B is 4
      or more.
  """
  total = None
  for left, right in batches:
    mask = jnp.ones(len(left[0]), bool)
    sums = jax.device_get(_sums(left, right, mask))
    total = sums if total is None else jax.tree.map(np.add, total, sums)
  return normalized(*total)


@jax.jit
def _sums(left, right, mask):
  """The HSIC of a batch: cross [L M], of the left [L], of the right [M]."""
  count = jnp.sum(mask).astype(jnp.float32)
  left, right = (
    jnp.stack([u_centred(it, mask) for it in side]) for side in (left, right)
  )
  own = lambda it: jnp.sum(it**2, axis=(1, 2)) / (count * (count - 3))
  return unbiased_hsic(left, right, count), own(left), own(right)


def cka(subject: Subject) -> dict[str, np.ndarray]:
  """CKA of the student's layers with those of its first teacher.

  Without a teacher, with the student's own. The estimator differs from the
  metric `cka`, which is biased and over all rows at once: this one streams over
  batches, and does not grow with the number of features.

  Returns:
    cka: f64 [L M], student's by teacher's layers.
    student, other: their names, from input to output.
    network: the name of the other network.
  """
  other = subject.teachers[0] if subject.teachers else STUDENT
  layers = {
    name: _layers.of_outputs(subject.shapes(name)) for name in (STUDENT, other)
  }

  def read(flow, viewed):
    del viewed
    features, mask = {}, flow.batch["valid"]
    for name, outputs in layers.items():
      found = subject.run(flow, name)
      features[name] = [found[output] for output in outputs]
      for output in outputs:
        mask = mask & subject.present(flow, name, output)
    # Fewer rows have no estimate.
    enough = jnp.sum(mask) > 3
    sums = _sums(features[STUDENT], features[other], mask)
    return jax.tree.map(lambda it: jnp.where(enough, it, 0.0), sums)

  total = None
  for sums, _ in subject.stream(read):
    sums = [np.asarray(it, np.float64) for it in sums]
    total = sums if total is None else [*map(np.add, total, sums)]
  return {
    "cka": normalized(*total),
    "student": np.array(layers[STUDENT]),
    "other": np.array(layers[other]),
    "network": np.array(other),
  }


def summary(found: dict[str, np.ndarray]) -> str:
  """The most similar pair of layers, and the similarity of the last ones."""
  values = found["cka"]
  network, student, other = (
    found[it] for it in ("network", "student", "other")
  )
  if network == STUDENT:
    return (
      f"{len(student)} layers of the student; CKA of the first and the last is"
      f" {values[0, -1]:.2f}."
    )
  row, column = np.unravel_index(np.nanargmax(values), values.shape)
  return (
    f"The most similar layers are {student[row]} of the student and"
    f" {other[column]} of {network}: CKA {values[row, column]:.2f};"
    f" {student[-1]} and {other[-1]}: {values[-1, -1]:.2f}."
  )

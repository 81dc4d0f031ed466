"""How much each pair of layers counts, for each example."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.numerics import unit
from kdjax.types import Array


class Head(nn.Module):
  """Attention of the student's layers over the teacher's.

    weights_im = softmax_n(q_im . k_in)
    q_im = unit(mlp_m(S_im)),  S_ij = <layer_i, layer_j> of the student's m-th

  and k_in likewise of the teacher's n-th layer: what a layer is, is how alike
  it finds the examples of a batch. The perceptrons have an input for each row
  of a batch, therefore, that of all devices: rows that are not there are 0.

  Chen et al., "Cross-Layer Distillation with Semantic Calibration", AAAI 2021,
  arXiv:2012.03236, Eq. (3) to (5). It reads the student's layers, then the
  teacher's, and gives one weight a pair, in the order of the head 'semckd'.

  Attributes:
    students: how many of the layers are the student's, which come first.
    batch_size: the most rows that a batch has.
    factor: the size of a batch over the width of a query.
    dtype: of its activations; its parameters are float32.
  """

  gathered = True

  students: int = 1
  batch_size: int = 64
  factor: int = 4
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B ..."], ...],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
    mask: Bool[Array, "B"] | None = None,
  ) -> tuple[Float[Array, "B"], ...]:
    """Maps the layers to the weights of their pairs."""
    del like, train
    if not 0 < self.students < len(x):
      raise UserError(
        f"A head 'semckd_weights' has {self.students} of {len(x)} layers from"
        " the student.",
        "Both networks need one.",
      )
    if x[0].shape[0] > self.batch_size:
      raise UserError(
        f"A head 'semckd_weights' for batches of {self.batch_size} got"
        f" {x[0].shape[0]} examples.",
        "Set its option 'batch_size'.",
      )
    if len(x) - self.students == 1:
      # Nothing to choose from, and nothing to learn.
      return (jnp.ones(x[0].shape[0], jnp.float32),) * self.students
    points = [
      self._point(f"layer{place}", layer, mask) for place, layer in enumerate(x)
    ]
    queries = jnp.stack(points[: self.students], axis=1)
    keys = jnp.stack(points[self.students :], axis=1)
    exact = jax.lax.Precision.HIGHEST
    scores = jnp.einsum("bmd,bnd->bmn", queries, keys, precision=exact)
    weights = jax.nn.softmax(scores, axis=2)
    return tuple(
      weights[:, m, n]
      for m in range(weights.shape[1])
      for n in range(weights.shape[2])
    )

  def _point(self, name: str, layer, mask) -> Float[Array, "B D"]:
    """A layer as one direction for each example: a query or a key."""
    flat = layer.reshape(layer.shape[0], -1).astype(jnp.float32)
    if mask is not None:
      flat = jnp.where(mask[:, None], flat, 0.0)
    exact = jax.lax.Precision.HIGHEST
    alike = jnp.matmul(flat, flat.T, precision=exact).astype(self.dtype)
    alike = jnp.pad(alike, ((0, 0), (0, self.batch_size - alike.shape[1])))
    width = max(self.batch_size // self.factor, 1)
    hidden = nn.Dense(2 * width, dtype=self.dtype, name=f"{name}_0")(alike)
    point = nn.Dense(width, dtype=self.dtype, name=f"{name}_1")(nn.relu(hidden))
    return unit(point)

"""SemCKD's attention weights of all pairs of layers."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.numerics import l2_normalize
from kdjax.types import Array


class Head(nn.Module):
  """Attention weights of the student's layers over the teacher's.

    weights_im = softmax_n(q_im . k_in)
    q_im = mlp_m(S_im) / |mlp_m(S_im)|,  S_ij = <layer_i, layer_j>

  with S of the student's m-th layer, and k_in the same for the teacher's n-th
  layer. A layer is represented by its similarities between the examples of the
  batch on all devices, so the perceptrons have `batch_size` inputs; missing
  rows are 0.

  Chen et al., "Cross-Layer Distillation with Semantic Calibration", AAAI 2021,
  arXiv:2012.03236, Eq. (3) to (5). It reads the student's layers, then the
  teacher's, and outputs one weight per pair, in the order of the head 'semckd'.

  Attributes:
    students: the number of student layers, which come first.
    batch_size: the maximum number of rows in a batch.
    factor: the ratio of batch size to the width of a query.
    dtype: of the activations; parameters are float32.
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
        f"A head 'semckd_weights' has students={self.students} among"
        f" {len(x)} layers.",
        "Expected at least one layer of each network.",
      )
    if x[0].shape[0] > self.batch_size:
      raise UserError(
        f"A head 'semckd_weights' for batches of {self.batch_size} got"
        f" {x[0].shape[0]} examples.",
        "Set its option 'batch_size' to the batch size.",
      )
    if len(x) - self.students == 1:
      # With one teacher layer all weights are 1.
      return (jnp.ones(x[0].shape[0], jnp.float32),) * self.students
    vectors = [
      self._embed(f"layer{index}", layer, mask) for index, layer in enumerate(x)
    ]
    queries = jnp.stack(vectors[: self.students], axis=1)
    keys = jnp.stack(vectors[self.students :], axis=1)
    exact = jax.lax.Precision.HIGHEST
    scores = jnp.einsum("bmd,bnd->bmn", queries, keys, precision=exact)
    weights = jax.nn.softmax(scores, axis=2)
    return tuple(
      weights[:, m, n]
      for m in range(weights.shape[1])
      for n in range(weights.shape[2])
    )

  def _embed(self, name: str, layer, mask) -> Float[Array, "B D"]:
    """The query or key of each example in a layer."""
    flat = layer.reshape(layer.shape[0], -1).astype(jnp.float32)
    if mask is not None:
      flat = jnp.where(mask[:, None], flat, 0.0)
    exact = jax.lax.Precision.HIGHEST
    gram = jnp.matmul(flat, flat.T, precision=exact).astype(self.dtype)
    gram = jnp.pad(gram, ((0, 0), (0, self.batch_size - gram.shape[1])))
    width = max(self.batch_size // self.factor, 1)
    hidden = nn.Dense(2 * width, dtype=self.dtype, name=f"{name}_0")(gram)
    output = nn.Dense(width, dtype=self.dtype, name=f"{name}_1")
    return l2_normalize(output(nn.relu(hidden)))

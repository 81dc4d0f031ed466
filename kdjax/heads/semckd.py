"""SemCKD's projections of all pairs of student and teacher layers."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.numerics import pool_like
from kdjax.types import Array


class Head(nn.Module):
  """Projects student layers to the teacher layers' channels, pair by pair.

  A projection has 1x1, 3x3 and 1x1 convolutions with BatchNorm and ReLU, and
  twice the teacher's channels inside; the larger map is average-pooled first.
  Pairs are ordered by student layer, then teacher layer. The head
  'semckd_weights' outputs their weights.

  Chen et al., "Cross-Layer Distillation with Semantic Calibration", AAAI 2021,
  arXiv:2012.03236, Section 3.2.

  Attributes:
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
  """

  both = True

  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B _ _ _"], ...],
    like: tuple[Float[Array, "B _ _ _"], ...] | None = None,
    *,
    train: bool = False,
  ) -> tuple[
    tuple[Float[Array, "B _ _ _"], ...], tuple[Float[Array, "B _ _ _"], ...]
  ]:
    """Returns (projected student maps, pooled teacher maps) of all pairs."""
    if like is None:
      raise UserError(
        "A head 'semckd' has no maps on the other side of its term.",
        "Add the teacher's maps to the term's `reads`.",
      )
    projected, targets = [], []
    for i, student in enumerate(x):
      for j, teacher in enumerate(like):
        pooled = pool_like(student, teacher)
        projected.append(
          self._project(f"{i}to{j}", pooled, teacher.shape[-1], train)
        )
        targets.append(pool_like(teacher, student))
    return tuple(projected), tuple(targets)

  def _project(self, name: str, x, channels: int, train: bool):
    """The projection of one pair."""
    for layer in (0, 1):
      kernel = (1, 1) if layer == 0 else (3, 3)
      x = nn.Conv(
        2 * channels,
        kernel,
        use_bias=False,
        dtype=self.dtype,
        name=f"conv{name}_{layer}",
      )(x)
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        use_fast_variance=False,
        dtype=self.dtype,
        axis_name=self.axis_name,
        name=f"norm{name}_{layer}",
      )(x)
      x = nn.relu(x)
    return nn.Conv(
      channels, (1, 1), use_bias=False, dtype=self.dtype, name=f"conv{name}_2"
    )(x)

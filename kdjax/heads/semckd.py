"""Every layer of the student brought to every layer of the teacher."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.numerics import pooled
from kdjax.types import Array


class Head(nn.Module):
  """For each pair of layers a projection of the student's, both in one size.

  A bottleneck of convolutions 1, 3 and 1, with BatchNorm and ReLU between and
  twice the teacher's channels inside; the larger map is average-pooled first.
  The pairs are ordered by the student's layer, then the teacher's. What a pair
  counts is the head 'semckd_weights'.

  Chen et al., "Cross-Layer Distillation with Semantic Calibration", AAAI 2021,
  arXiv:2012.03236, Section 3.2.

  Attributes:
    dtype: of its activations; its parameters are float32.
    axis_name: of the devices whose batch statistics are averaged.
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
    """Maps the maps of both to (projected, pooled), one of each for a pair."""
    if like is None:
      raise UserError(
        "A head 'semckd' has nothing on its other side.",
        "The loss must read the teacher's maps.",
      )
    projected, targets = [], []
    for i, one in enumerate(x):
      for j, other in enumerate(like):
        one_pooled = pooled(one, other)
        projected.append(
          self._project(f"{i}to{j}", one_pooled, other.shape[-1], train)
        )
        targets.append(pooled(other, one))
    return tuple(projected), tuple(targets)

  def _project(self, name: str, x, channels: int, train: bool):
    """The bottleneck of one pair."""
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

"""A frozen classifier, applied to another network's feature."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """Logits of an existing linear layer; maps and tokens are pooled first.

    logits = mean_hw(feature) kernel + bias

  It has no parameters: a term reads kernel and bias, for example from
  `teacher/params/head/kernel`. SimKD predicts with the teacher's classifier on
  the student's projected feature (Chen et al., CVPR 2022, arXiv:2203.14001);
  SRRL matches these logits with the teacher's (Yang et al., ICLR 2021).

  Attributes:
    dtype: of the logits.
  """

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[
      Float[Array, "B *shape D"], Float[Array, "D K"], Float[Array, "K"]
    ],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B K"]:
    """Maps (feature, kernel, bias) to logits."""
    del like, train
    feature, kernel, bias = (part.astype(self.dtype) for part in x)
    feature = jnp.mean(feature, axis=tuple(range(1, feature.ndim - 1)))
    exact = jax.lax.Precision.HIGHEST
    return jnp.matmul(feature, kernel, precision=exact) + bias[None]

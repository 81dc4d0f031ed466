"""Fusion of the embeddings of two networks."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.numerics import l2_normalize
from kdjax.types import Array


class Head(nn.Module):
  """A linear layer over two concatenated embeddings, as wide as the first.

  Each is normalised to length 1 before. It is the fusion of augmented feature
  distillation: Yang et al., "CLIP-KD: An Empirical Study of CLIP Model
  Distillation", CVPR 2024, arXiv:2307.12732.

  Attributes:
    dtype: of the activations; parameters are float32.
  """

  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: tuple[Float[Array, "B D"], Float[Array, "B D_other"]],
    like: Float[Array, "B D_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B D"]:
    """Fuses the two embeddings in `x`; `like` is ignored."""
    del like, train
    joined = jnp.concatenate([l2_normalize(part) for part in x], axis=-1)
    return nn.Dense(x[0].shape[-1], dtype=self.dtype)(joined)

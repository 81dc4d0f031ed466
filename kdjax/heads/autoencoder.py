"""Features of one modality, decoded from another's through a code."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.heads._width import width_of
from kdjax.types import Array


class Head(nn.Module):
  """Encodes features to a code, and decodes those of the other side from it.

    code = ReLU(W_1 x),  decoded = W_3 ReLU(W_2 code)

  each with a bias. The exported student keeps this head: at test time its
  output stands for the features of a modality that is missing.

  Ngiam et al., "Multimodal Deep Learning", ICML 2011, Section 3.3, whose
  autoencoder decodes the features of both modalities from one of them; this
  decodes the other's.

  Attributes:
    width: of the output; None is that of `like`.
    code: width of the code; None is half of that of `x`, at least 1.
    hidden: width of the decoder's hidden layer; None is that of `x`.
    dtype: of the activations; parameters are float32.
  """

  keep = True

  width: int | None = None
  code: int | None = None
  hidden: int | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *T D"],
    like: Float[Array, "B *T D_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B *T D_out"]:
    """Decodes the features of `like` from `x`."""
    del train
    width = width_of("autoencoder", self.width, like)
    D = x.shape[-1]
    code = max(D // 2, 1) if self.code is None else self.code
    dense = lambda size, name: nn.Dense(size, dtype=self.dtype, name=name)
    x = nn.relu(dense(code, "encode")(x))
    hidden = D if self.hidden is None else self.hidden
    return dense(width, "decode")(nn.relu(dense(hidden, "hidden")(x)))

"""AFD's channel attention."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.types import Array


class Head(nn.Module):
  """Channel weights that sum to 1, from the channel means.

    weights = sigmoid(W_2 relu(W_1 mean_hw(x) + b_1) + b_2), divided by its sum

  Wang et al., "Pay Attention to Features, Transfer Learn Faster CNNs", ICLR
  2020, openreview ryxyCeHtPB, with the sigmoid of Knowledge-Distillation-Zoo,
  which found the paper's softmax unstable.

  Attributes:
    share: the hidden layer's width, as a fraction of the channels.
    dtype: of the activations; parameters are float32.
  """

  share: float = 0.5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B *shape C"],
    like: Float[Array, "..."] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B C"]:
    """Maps the teacher's map to the weights of its channels."""
    del like, train
    channels = x.shape[-1]
    mean = jnp.mean(x.astype(self.dtype), axis=tuple(range(1, x.ndim - 1)))
    hidden = max(int(channels * self.share), 1)
    hidden = nn.relu(nn.Dense(hidden, dtype=self.dtype)(mean))
    gate = nn.log_sigmoid(nn.Dense(channels, dtype=self.dtype)(hidden))
    # sigmoid / sum of sigmoids, finite even if all of them underflow.
    return nn.softmax(gate, axis=1)

"""Factor transfer's translator: factors of the student's maps."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import UserError
from kdjax.heads._factors import conv_layers
from kdjax.types import Array


class Head(nn.Module):
  """Three 3x3 convolutions, to a fraction of the channels of `like`.

  Each has BatchNorm and a leaky ReLU of slope 0.1. It is applied to the
  student, with a head 'paraphraser' of the same `share` on the teacher. Kim,
  Park and Kwak, "Paraphrasing Complex Network", NeurIPS 2018, arXiv:1802.04977,
  Section 3.2.

  Attributes:
    share: channels of the output, as a fraction of those of `like`.
    batch_norm: whether to add BatchNorm before each leaky ReLU.
    dtype: of the activations; parameters are float32.
    axis_name: the device axis to average batch statistics over.
  """

  share: float = 0.5
  batch_norm: bool = True
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B H W C"],
    like: Float[Array, "B H_like W_like C_like"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "B H W C_out"]:
    """Maps `x` to factors of the same height and width."""
    if like is None:
      raise UserError(
        "A head 'translator' has no map on the other side of its term.",
        "Add the teacher's map to the term's `reads`.",
      )
    norm = functools.partial(
      nn.BatchNorm,
      use_running_average=not train,
      momentum=0.9,
      use_fast_variance=False,
      dtype=self.dtype,
      axis_name=self.axis_name,
    )
    narrow = max(int(like.shape[-1] * self.share), 1)
    return conv_layers(
      x,
      (x.shape[-1], narrow, narrow),
      "layer",
      norm=norm if self.batch_norm else None,
      use_bias=not self.batch_norm,
      dtype=self.dtype,
    )

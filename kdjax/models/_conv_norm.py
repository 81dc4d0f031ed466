"""Convolution and batch norm as PyTorch has them, and what ends a network."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError
from kdjax.models import _batch_norm, _convolution, _init
from kdjax.types import Array, Outputs


@dataclasses.dataclass(frozen=True)
class Layers:
  """How a network makes its convolutions and batch norms.

  Its methods are called inside of an `nn.compact` method, whose parameters they
  make. Batch norm keeps 0.9 of its running statistics (PyTorch's momentum is
  the rest, 0.1) and adds 1e-5 to the variance. The running variance is that of
  the batch; PyTorch's is n/(n-1) times that, of n positions, which is nothing
  but in very small batches.

  Attributes:
    train: whether batch norm takes the batch's statistics and records them.
    axis_name: of the devices that share batch statistics.
    dtype: of activations.
    kernel_init: of convolutions.
    rows: which of the batch are there: of the others, batch statistics see
      nothing. None is all of them.
  """

  train: bool
  axis_name: str | None = None
  dtype: Any = jnp.float32
  kernel_init: Callable = _init.PYTORCH
  rows: Bool[Array, "B"] | None = None

  def image(self, x: Array) -> Float[Array, "B H W C"]:
    """What enters a network, in the dtype of activations."""
    if x.ndim != 4:
      raise ShapeError(
        f"An image of shape {list(x.shape)}.", "Images are [B H W C]."
      )
    return x.astype(self.dtype)

  def conv(
    self,
    x: Float[Array, "B H W C"],
    width: int,
    size: int,
    name: str,
    *,
    stride: int = 1,
    padding: int | None = None,
    groups: int = 1,
    bias_init: Callable | None = None,
  ) -> Float[Array, "B h w D"]:
    """A convolution, padded by zeros on all sides alike.

    Args:
      x: what comes in.
      width: D.
      size: height and width of the kernel, odd.
      name: of the parameters.
      stride: in both directions.
      padding: rows and columns on each side; None is size // 2.
      groups: of channels, which see themselves alone.
      bias_init: of the bias; None is no bias.
    """
    if x.shape[-1] % groups or width % groups:
      raise ShapeError(
        f"{x.shape[-1]} to {width} channels in {groups} groups.",
        "The groups must divide both.",
      )
    padding = size // 2 if padding is None else padding
    return nn.Conv(
      width,
      (size, size),
      strides=(stride, stride),
      # "SAME" would pad an even map on one side alone where it is halved.
      padding=((padding, padding), (padding, padding)),
      feature_group_count=groups,
      use_bias=bias_init is not None,
      dtype=self.dtype,
      kernel_init=self.kernel_init,
      bias_init=bias_init or nn.initializers.zeros,
      conv_general_dilated=_convolution.convolve if groups == 1 else None,
      name=name,
    )(x)

  def norm(
    self, x: Float[Array, "B H W C"], name: str
  ) -> Float[Array, "B H W C"]:
    """Batch norm, with a scale and a shift that start at 1 and 0."""
    return _batch_norm.over_rows(
      x,
      self.rows,
      train=self.train,
      axis_name=self.axis_name,
      dtype=self.dtype,
      name=name,
    )

  def conv_norm(
    self,
    x: Float[Array, "B H W C"],
    width: int,
    size: int,
    name: str | int,
    **options,
  ) -> Float[Array, "B h w D"]:
    """`conv` and `norm`, with parameters conv<name> and norm<name>."""
    x = self.conv(x, width, size, f"conv{name}", **options)
    return self.norm(x, f"norm{name}")


def shuffle(x: Float[Array, "B H W C"], groups: int) -> Float[Array, "B H W C"]:
  """Channels dealt out: one of each group, then the next of each."""
  if x.shape[-1] % groups:
    raise ShapeError(
      f"{x.shape[-1]} channels in {groups} groups.",
      "The groups must divide the channels.",
    )
  dealt = x.reshape(*x.shape[:3], groups, -1).swapaxes(3, 4)
  return dealt.reshape(x.shape)


def record(
  outputs: Outputs, stage: int, preact: Float[Array, "B *shape D"]
) -> Float[Array, "B *shape D"]:
  """Records what a stage ends in, before and after ReLU; returns the latter."""
  outputs[f"preact{stage}"] = preact
  x = outputs[f"stage{stage}"] = nn.relu(preact)
  return x


def finish(
  outputs: Outputs,
  x: Float[Array, "B H W D"],
  num_classes: int | None,
  drop: Callable[[Array], Array],
  **head,
) -> Outputs:
  """Adds tokens, embedding and logits, as a network ends.

  Called inside of its `nn.compact` method, for the parameters of the head.

  Args:
    outputs: of the stages.
    x: the last map: its positions are the tokens, their mean the embedding.
    num_classes: None leaves out the logits.
    drop: dropout, before the logits.
    head: how the head starts, where not as PyTorch's linear layers.
  """
  tokens = outputs["tokens"] = x.reshape(x.shape[0], -1, x.shape[-1])
  embedding = jnp.mean(tokens.astype(jnp.float32), axis=1)
  outputs["embedding"] = embedding
  if num_classes is not None:
    outputs["logits"] = _init.dense(
      drop(embedding), num_classes, "head", **head
    )
  return outputs

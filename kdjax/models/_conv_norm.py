"""Convolution and batch norm as in PyTorch, and a network's last layers."""

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
  """A network's convolutions and batch norms.

  Call the methods inside an `nn.compact` method; they create its parameters.
  Batch norm has a momentum of 0.9 (PyTorch calls this 0.1) and an epsilon of
  1e-5. Its running variance is the biased one; PyTorch's is larger by n/(n-1)
  for n positions, which matters only in very small batches.

  Attributes:
    train: whether batch norm uses and records the batch's statistics.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
    kernel_init: of the convolutions.
    rows: True at the rows that count in batch statistics; None is all rows.
  """

  train: bool
  axis_name: str | None = None
  dtype: Any = jnp.float32
  kernel_init: Callable = _init.PYTORCH
  rows: Bool[Array, "B"] | None = None

  def image(self, x: Array) -> Float[Array, "B H W C"]:
    """The image in the dtype of the activations."""
    if x.ndim != 4:
      raise ShapeError(
        f"The image has the shape {list(x.shape)}.", "Images are [B H W C]."
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
    """A convolution with equal zero padding on all sides.

    Args:
      x: the input.
      width: D, output channels.
      size: height and width of the kernel, odd.
      name: of the parameters.
      stride: in both directions.
      padding: rows and columns on each side; None is size // 2.
      groups: of channels, as in a grouped convolution.
      bias_init: initializer of the bias; None omits the bias.
    """
    if x.shape[-1] % groups or width % groups:
      raise ShapeError(
        f"A convolution has {x.shape[-1]} input and {width} output channels in"
        f" {groups} groups.",
        "The groups must divide both.",
      )
    padding = size // 2 if padding is None else padding
    return nn.Conv(
      width,
      (size, size),
      strides=(stride, stride),
      # With a stride of 2, "SAME" pads an even map on one side only.
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
    """Batch norm; its scale starts at 1, its bias at 0."""
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
    """`conv` and `norm`, with the parameters conv<name> and norm<name>."""
    x = self.conv(x, width, size, f"conv{name}", **options)
    return self.norm(x, f"norm{name}")


def shuffle(x: Float[Array, "B H W C"], groups: int) -> Float[Array, "B H W C"]:
  """Channel shuffle: interleaves the channels of the groups."""
  if x.shape[-1] % groups:
    raise ShapeError(
      f"A channel shuffle has {x.shape[-1]} channels in {groups} groups.",
      "The groups must divide the channels.",
    )
  interleaved = x.reshape(*x.shape[:3], groups, -1).swapaxes(3, 4)
  return interleaved.reshape(x.shape)


def record(
  outputs: Outputs, stage: int, preact: Float[Array, "B *shape D"]
) -> Float[Array, "B *shape D"]:
  """Records a stage's output before and after ReLU; returns the latter."""
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
  """Adds tokens, embedding and logits to a network's outputs.

  Call it inside an `nn.compact` method; it creates the parameters of the head.

  Args:
    outputs: the outputs so far.
    x: the last map. Its positions are the tokens, their mean is the embedding.
    num_classes: K; None omits the logits.
    drop: dropout, before the logits.
    head: initializers of the head; the default is PyTorch's linear layer.
  """
  tokens = outputs["tokens"] = x.reshape(x.shape[0], -1, x.shape[-1])
  embedding = jnp.mean(tokens.astype(jnp.float32), axis=1)
  outputs["embedding"] = embedding
  if num_classes is not None:
    outputs["logits"] = _init.dense(
      drop(embedding), num_classes, "head", **head
    )
  return outputs

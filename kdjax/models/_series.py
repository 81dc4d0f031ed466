"""The input and the layers of networks for series of numbers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, same_shape
from kdjax.models import _pool
from kdjax.models._batch_norm import BatchNorm
from kdjax.types import Array, Outputs

# The defaults of Flax and of Keras.
LECUN = nn.initializers.lecun_normal()
GLOROT = nn.initializers.glorot_uniform()


def read(
  inputs: dict[str, Array],
  modality: str,
  expected: str = "Expected a series [B T F]: steps of F numbers.",
) -> tuple[Float[Array, "B T F"], Bool[Array, "B T"]]:
  """A series, 0 at padding, and the mask of its steps.

  Without `mask/<modality>`, all steps are valid. Rows without the modality, by
  `has/<modality>`, have no valid step.

  Args:
    inputs: of a network.
    modality: the series' key.
    expected: the error's second sentence.

  Raises:
    ShapeError: the shape is not [B T F], or the mask has another length.
  """
  x = inputs[modality]
  if x.ndim != 3:
    raise ShapeError(f"'{modality}' has the shape {list(x.shape)}.", expected)
  mask = inputs.get(f"mask/{modality}")
  mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
  same_shape(steps=x[..., 0], mask=mask)
  has = inputs.get(f"has/{modality}")
  mask = mask if has is None else mask & has[:, None]
  return jnp.where(mask[..., None], x, 0), mask


@dataclasses.dataclass(frozen=True)
class Layers:
  """Convolutions over time, each with a batch norm over valid steps.

  Call the methods inside an `nn.compact` method; they create its parameters.
  Batch norm has a momentum of 0.9 and an epsilon of 1e-5.

  Attributes:
    train: whether batch norm uses and records the batch's statistics.
    never_empty: whether a batch has a valid step for sure.
    axis_name: name of the device axis that shares batch statistics.
    dtype: of the activations.
    kernel_init: of the convolutions.
  """

  train: bool
  never_empty: bool = False
  axis_name: str | None = None
  dtype: Any = jnp.float32
  kernel_init: Callable = LECUN

  def conv(
    self,
    x: Float[Array, "B T C"],
    width: int,
    size: int,
    name: str,
    *,
    stride: int = 1,
  ) -> Float[Array, "B t D"]:
    """A convolution without a bias; the first window is about the first step.

    Args:
      x: the input, 0 at padding.
      width: D, output channels.
      size: steps of the kernel: (size - 1) // 2 before a step, size // 2 after.
      name: of the parameters.
      stride: in steps.
    """
    return nn.Conv(
      width,
      (size,),
      strides=(stride,),
      padding=[((size - 1) // 2, size // 2)],
      use_bias=False,
      dtype=self.dtype,
      kernel_init=self.kernel_init,
      name=name,
    )(x)

  def norm(
    self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"], name: str
  ) -> Float[Array, "B T D"]:
    """Batch norm; 0 at padding, which counts in no statistic."""
    norm = BatchNorm(axis_name=self.axis_name, dtype=self.dtype, name=name)
    return norm(x, mask, train=self.train, never_empty=self.never_empty)

  def conv_norm(
    self,
    x: Float[Array, "B T C"],
    mask: Bool[Array, "B T"],
    width: int,
    size: int,
    name: str | int,
  ) -> Float[Array, "B T D"]:
    """`conv` and `norm`, with the parameters conv<name> and norm<name>."""
    x = self.conv(x, width, size, f"conv{name}")
    return self.norm(x, mask, f"norm{name}")


def layers(
  network: nn.Module,
  inputs: dict[str, Array],
  train: bool,
  kernel_init: Callable = LECUN,
) -> Layers:
  """The convolutions of a network of one modality.

  Args:
    network: its modality, axis_name and dtype are used.
    inputs: of the network.
    train: whether batch norm uses and records the batch's statistics.
    kernel_init: of the convolutions.
  """
  never_empty = f"has/{network.modality}" not in inputs
  return Layers(
    train, never_empty, network.axis_name, network.dtype, kernel_init
  )


def stride_mask(mask: Bool[Array, "B T"], stride: int) -> Bool[Array, "B t"]:
  """True where one of `stride` consecutive steps is valid."""
  mask = jnp.pad(mask, ((0, 0), (0, -mask.shape[1] % stride)))
  return mask.reshape(mask.shape[0], -1, stride).any(axis=2)


def finish(
  outputs: Outputs,
  x: Float[Array, "B T D"],
  mask: Bool[Array, "B T"],
  num_classes: int | None,
  drop: Callable[[Array], Array],
  embedding: Float[Array, "B _"] | None = None,
) -> Outputs:
  """Adds tokens, mask/tokens, embedding and logits to a network's outputs.

  Call it inside an `nn.compact` method; it creates the parameters `head`.

  Args:
    outputs: the outputs so far.
    x: the last layer's output. Its positions are the tokens.
    mask: True at valid positions.
    num_classes: K; None omits the logits.
    drop: dropout, before the logits.
    embedding: None is the mean over valid positions.
  """
  outputs["tokens"] = x
  outputs["mask/tokens"] = mask
  embedding = _pool.mean(x, mask) if embedding is None else embedding
  outputs["embedding"] = embedding = embedding.astype(jnp.float32)
  if num_classes is not None:
    head = nn.Dense(num_classes, name="head")
    outputs["logits"] = head(drop(embedding))
  return outputs

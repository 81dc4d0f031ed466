"""The convolutional feature encoder of Wav2Vec2 and its positions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import ShapeError, UserError, same_shape
from kdjax.models import _encoder
from kdjax.types import Array

# Default of PyTorch's norms.
EPSILON = 1e-5


def read(
  inputs: dict[str, Array], modality: str
) -> tuple[Float[Array, "B N"], Bool[Array, "B N"]]:
  """A waveform, 0 at padding, and its sample mask.

  Without `mask/<modality>`, all samples are valid. Rows without the modality,
  by `has/<modality>`, have no valid sample.

  Raises:
    ShapeError: the shape is not [B N], or the mask has another length.
  """
  x = inputs[modality]
  if x.ndim != 2:
    raise ShapeError(
      f"'{modality}' has the shape {list(x.shape)}.",
      "Expected a waveform [B N].",
    )
  mask = inputs.get(f"mask/{modality}")
  mask = jnp.ones(x.shape, bool) if mask is None else mask
  same_shape(samples=x, mask=mask)
  has = inputs.get(f"has/{modality}")
  mask = mask if has is None else mask & has[:, None]
  return jnp.where(mask, x, 0), mask


def frames(
  network: nn.Module, x: Float[Array, "B N"], mask: Bool[Array, "B N"]
) -> tuple[Float[Array, "B T C"], Bool[Array, "B T"]]:
  """Convolutional frames of a waveform, and the mask of frames without padding.

  Call it inside an `nn.compact` method. It creates the parameters convNN and,
  for convolutions with a norm, convNN_norm.

  Args:
    network: its channels, kernels, strides, conv_norm, conv_bias,
      conv_activation and dtype are used.
    x: samples.
    mask: True at samples, False at padding, which follows the samples.

  Raises:
    ShapeError: the waveform is shorter than a frame, or channels, kernels and
      strides differ in length.
    UserError: the norm or the activation is unknown.
  """
  _check(network)
  x, lengths = x[..., None].astype(network.dtype), jnp.sum(mask, axis=1)
  for index, (channels, kernel, stride) in enumerate(
    zip(network.channels, network.kernels, network.strides, strict=True)
  ):
    if x.shape[1] < kernel:
      raise ShapeError(
        f"The waveform has {mask.shape[1]} samples, less than one frame.",
        f"The frame size follows from kernels={network.kernels} and"
        f" strides={network.strides}.",
      )
    x = nn.Conv(
      channels,
      (kernel,),
      (stride,),
      padding="VALID",
      use_bias=network.conv_bias,
      dtype=network.dtype,
      kernel_init=nn.initializers.he_normal(),
      name=f"conv{index:02d}",
    )(x)
    if network.conv_norm == "layer" or index == 0:
      x = _norm(network, f"conv{index:02d}_norm")(x)
    x = _encoder.ACTIVATIONS[network.conv_activation](x)
    lengths = (lengths - kernel) // stride + 1
  return x, jnp.arange(x.shape[1])[None] < lengths[:, None]


def _norm(network: nn.Module, name: str) -> nn.Module:
  """A convolution's norm: over channels, or per channel over time."""
  if network.conv_norm == "layer":
    return _encoder.norm(EPSILON, network.dtype, name)
  return nn.GroupNorm(
    num_groups=None,
    group_size=1,
    epsilon=EPSILON,
    use_fast_variance=False,
    dtype=network.dtype,
    name=name,
  )


def _check(network: nn.Module) -> None:
  sizes = {
    name: getattr(network, name) for name in ("channels", "kernels", "strides")
  }
  if len({*map(len, sizes.values())}) > 1:
    options = ", ".join(f"{name}={size}" for name, size in sizes.items())
    raise ShapeError(
      f"Options of different lengths: {options}.", "Expected equal lengths."
    )
  for name, choices in (
    ("conv_norm", ("group", "layer")),
    ("conv_activation", _encoder.ACTIVATIONS),
  ):
    value = getattr(network, name)
    if value not in choices:
      raise UserError(f"No {name} '{value}'.", exists=choices, near=value)


def positions(
  network: nn.Module, x: Float[Array, "B T D"]
) -> Float[Array, "B T D"]:
  """Convolutional position embeddings, with weight normalization.

  Call it inside an `nn.compact` method. It creates the parameters places_g,
  places_v and places_bias. Salimans and Kingma, "Weight Normalization", NeurIPS
  2016, arXiv:1602.07868, Eq. (2), for each position of the kernel separately.

  Args:
    network: its places, groups, conv_activation and dtype are used.
    x: frames, 0 at padding.

  Raises:
    ShapeError: the groups do not divide D.
  """
  width, size = x.shape[-1], network.places
  if width % network.groups:
    raise ShapeError(
      f"The width {width} is not a multiple of groups={network.groups}.",
      "The groups must divide the width.",
    )
  shape = (width, width // network.groups, size)
  spread = 2 * (size * width) ** -0.5
  v = network.param("places_v", nn.initializers.normal(spread), shape)
  # The initial kernel is then close to v.
  start = nn.initializers.constant(spread * (shape[0] * shape[1]) ** 0.5)
  g = network.param("places_g", start, (1, 1, size))
  bias = network.param("places_bias", nn.initializers.zeros, (width,))
  kernel = g * v / jnp.sqrt(jnp.sum(v**2, axis=(0, 1), keepdims=True))
  x = jax.lax.conv_general_dilated(
    x,
    kernel.astype(network.dtype),
    window_strides=(1,),
    # An even kernel covers one more past frame than future frames.
    padding=[(size // 2, (size - 1) // 2)],
    dimension_numbers=("NWC", "OIW", "NWC"),
    feature_group_count=network.groups,
  )
  x = x + bias[None, None].astype(network.dtype)
  return _encoder.ACTIVATIONS[network.conv_activation](x)

"""Frames of a waveform, by convolutions, as Wav2Vec2 makes them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError, UserError, same_shape
from kdjax.models import _encoder
from kdjax.types import Array

# Of PyTorch's own norms.
EPSILON = 1e-5


def read(
  inputs: dict[str, Array], modality: str
) -> tuple[Float[Array, "B N"], Bool[Array, "B N"]]:
  """A waveform, 0 at padding, and where its samples are.

  Without `mask/<modality>`, every sample is one, but in rows that
  `has/<modality>` says are not there.

  Raises:
    ShapeError: it is no [B N], or its mask is of another length.
  """
  x = inputs[modality]
  if x.ndim != 2:
    raise ShapeError(
      f"'{modality}' of shape {list(x.shape)}.", "A waveform is [B N]."
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
  """What convolutions make of a waveform, and which frames see no padding.

  Called inside of the network's `nn.compact` method, whose parameters it makes:
  convNN and, of those that have a norm, convNN_norm.

  Args:
    network: by its channels, kernels, strides, conv_norm, conv_bias,
      conv_activation and dtype.
    x: samples.
    mask: True at samples, False at padding, which follows them.

  Raises:
    ShapeError: the waveform is shorter than a frame; there are not as many
      channels as kernels and strides.
    UserError: there is no such norm or activation.
  """
  _check(network)
  x, lengths = x[..., None].astype(network.dtype), jnp.sum(mask, axis=1)
  for index, (channels, kernel, stride) in enumerate(
    zip(network.channels, network.kernels, network.strides, strict=True)
  ):
    if x.shape[1] < kernel:
      raise ShapeError(
        f"A waveform of {mask.shape[1]} samples.",
        f"A frame is of more: kernels={network.kernels},"
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
  return x, _first(lengths, x.shape[1])


def _first(lengths: Int[Array, "B"], count: int) -> Bool[Array, "B T"]:
  return jnp.arange(count)[None] < lengths[:, None]


def _norm(network: nn.Module, name: str) -> nn.Module:
  """The norm of a convolution: over channels, or of each one over time."""
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
    given = ", ".join(f"{name}={size}" for name, size in sizes.items())
    raise ShapeError(f"{given}.", "There must be as many of each.")
  for value, exists in (
    (network.conv_norm, ("group", "layer")),
    (network.conv_activation, _encoder.ACTIVATIONS),
  ):
    if value not in exists:
      raise UserError(f"No '{value}'.", exists=exists, near=value)


def placed(
  network: nn.Module, x: Float[Array, "B T D"]
) -> Float[Array, "B T D"]:
  """Where frames are, by a convolution whose kernel has weight norm.

  Called inside of the network's `nn.compact` method, whose parameters it makes:
  places_g, places_v and places_bias. Salimans and Kingma, "Weight
  Normalization", NeurIPS 2016, arXiv:1602.07868, Eq. (2), of every place of the
  kernel by itself.

  Args:
    network: by its places, groups, conv_activation and dtype.
    x: frames, 0 at padding.

  Raises:
    ShapeError: the groups do not divide D.
  """
  width, size = x.shape[-1], network.places
  if width % network.groups:
    raise ShapeError(
      f"{network.groups} groups and width {width}.",
      "The groups must divide the width.",
    )
  shape = (width, width // network.groups, size)
  spread = 2 * (size * width) ** -0.5
  v = network.param("places_v", nn.initializers.normal(spread), shape)
  # So that the kernel starts near v.
  start = nn.initializers.constant(spread * (shape[0] * shape[1]) ** 0.5)
  g = network.param("places_g", start, (1, 1, size))
  bias = network.param("places_bias", nn.initializers.zeros, (width,))
  kernel = g * v / jnp.sqrt(jnp.sum(v**2, axis=(0, 1), keepdims=True))
  x = jax.lax.conv_general_dilated(
    x,
    kernel.astype(network.dtype),
    window_strides=(1,),
    # An even kernel sees one frame more of the past than of the future.
    padding=[(size // 2, (size - 1) // 2)],
    dimension_numbers=("NWC", "OIW", "NWC"),
    feature_group_count=network.groups,
  )
  x = x + bias[None, None].astype(network.dtype)
  return _encoder.ACTIVATIONS[network.conv_activation](x)

"""Operations as others, which converters have and runtimes run.

Each takes an equation's parameters and values, and returns its outputs, or None
where it does not apply.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Rewrite = Callable[[dict[str, Any], Sequence[Any]], list[Any] | None]


def stacked(values: Sequence[Any], axis: int = 0) -> Any:
  """`jnp.stack`, without the operation of that name."""
  return jnp.concatenate([jnp.expand_dims(x, axis) for x in values], axis)


def _stack(params, values):
  return [stacked(values, params["axis"])]


def _unstack(params, values):
  """By slices; an operation of JAX 0.12 that converters lack."""
  (x,), axis = values, params["axis"]
  part = lambda at: jax.lax.index_in_dim(x, at, axis, keepdims=False)
  return [part(at) for at in range(x.shape[axis])]


def _convolution(params, values):
  """Over one axis as over two."""
  x, kernel = values
  if x.ndim != 3:
    return None
  numbers = params["dimension_numbers"]
  x = jnp.transpose(x, _places(numbers.lhs_spec, (0, 2, 1)))
  kernel = jnp.transpose(kernel, _places(numbers.rhs_spec, (2, 1, 0)))
  made = jax.lax.conv_general_dilated(
    x[:, None],
    kernel[None],
    window_strides=(1, *params["window_strides"]),
    padding=((0, 0), *params["padding"]),
    lhs_dilation=(1, *params["lhs_dilation"]),
    rhs_dilation=(1, *params["rhs_dilation"]),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=params["feature_group_count"],
    batch_group_count=params["batch_group_count"],
    precision=params["precision"],
    preferred_element_type=params["preferred_element_type"],
  )
  # From [B T D] to the layout of the output.
  back = np.argsort(_places(numbers.out_spec, (0, 2, 1)))
  return [jnp.transpose(made[:, 0], back)]


def _places(layout: Sequence[int], order: Sequence[int]) -> list[int]:
  """The axes of an array in an order.

  Args:
    layout: axes of batch, features and positions; of a kernel, of its outputs,
      inputs and positions.
    order: of these three.
  """
  return [layout[it] for it in order]


def _pad(params, values):
  """By concatenation, which leaves the size of the batch open."""
  x, value = values
  config = params["padding_config"]
  if any(inside or low < 0 or high < 0 for low, high, inside in config):
    return None
  for axis, (low, high, _) in enumerate(config):
    x = _longer(x, value, axis, low, high)
  return [x]


def _longer(x, value, axis, low, high):
  """An array with more entries of a value before and after, on an axis."""
  edge = lambda count: jnp.full(
    (*x.shape[:axis], count, *x.shape[axis + 1 :]), value, x.dtype
  )
  before = [edge(low)] if low else []
  after = [edge(high)] if high else []
  parts = [*before, x, *after]
  return jnp.concatenate(parts, axis) if len(parts) > 1 else x


def _max_pool(params, values):
  """Axis by axis: the maximum of shifted arrays."""
  (x,) = values
  dilated = {*params["base_dilation"], *params["window_dilation"]} != {1}
  if dilated or not jnp.issubdtype(x.dtype, jnp.floating):
    return None
  for axis, size in enumerate(params["window_dimensions"]):
    lowest = np.asarray(-np.inf, x.dtype)
    x = _longer(x, lowest, axis, *params["padding"][axis])
    x = _pooled(x, axis, size, params["window_strides"][axis])
  return [x]


def _pooled(x, axis, size, stride):
  """The maximum of each window on an axis."""
  if size == stride == 1:
    return x
  last = (x.shape[axis] - size) // stride * stride
  cut = lambda start: jax.lax.slice_in_dim(
    x, start, start + last + 1, stride, axis
  )
  made = cut(0)
  for start in range(1, size):
    made = jnp.maximum(made, cut(start))
  return made


def _remainder(params, values):
  """Of whole numbers, by the quotient, which leaves the batch's size open."""
  del params
  x, y = values
  if not jnp.issubdtype(x.dtype, jnp.integer):
    return None
  return [x - jax.lax.div(x, y) * y]


class Complex(NamedTuple):
  """Complex numbers as two arrays: runtimes have few operations of them."""

  real: Any
  imag: Any


def _fft(params, values):
  """The DFT of real numbers as two matrix products."""
  (x,) = values
  if len(params["fft_lengths"]) != 1 or jnp.iscomplexobj(x):
    return None
  (count,) = params["fft_lengths"]
  turns = np.outer(np.arange(count), np.arange(count // 2 + 1)) % count
  angles = 2 * np.pi * turns / count
  times = lambda matrix: jnp.matmul(
    x, matrix.astype(np.float32), precision="highest"
  )
  return [Complex(times(np.cos(angles)), times(-np.sin(angles)))]


def _part(name):
  """`real` or `imag`."""

  def part(params, values):
    del params
    (x,) = values
    return [getattr(x, name)] if isinstance(x, Complex) else None

  return part


def _size(params, values):
  """The absolute value."""
  del params
  (x,) = values
  if not isinstance(x, Complex):
    return None
  return [jnp.sqrt(x.real * x.real + x.imag * x.imag)]


def _of_both(call):
  """An operation that moves values, for both parts of complex numbers."""

  def moved(params, values):
    x, *rest = values
    if not isinstance(x, Complex) or rest:
      return None
    return [Complex(call(x.real, params), call(x.imag, params))]

  return moved


# Complex numbers as two arrays, by the primitive's name.
FOR_SPECTRA: dict[str, Rewrite] = {
  "fft": _fft,
  "real": _part("real"),
  "imag": _part("imag"),
  "abs": _size,
  "transpose": _of_both(lambda x, it: jnp.transpose(x, it["permutation"])),
  "reshape": _of_both(lambda x, it: jnp.reshape(x, it["new_sizes"])),
  "squeeze": _of_both(lambda x, it: jax.lax.squeeze(x, it["dimensions"])),
  "slice": _of_both(
    lambda x, it: jax.lax.slice(
      x, it["start_indices"], it["limit_indices"], it["strides"]
    )
  ),
}

# All that jax2onnx lacks.
FOR_ONNX: dict[str, Rewrite] = {
  **FOR_SPECTRA,
  "stack": _stack,
  "unstack": _unstack,
  "conv_general_dilated": _convolution,
  "pad": _pad,
  "reduce_window_max": _max_pool,
  "rem": _remainder,
}

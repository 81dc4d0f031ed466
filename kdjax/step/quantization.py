"""Training with fake quantization to int8: `quantize="int8"` of a stage.

Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, arXiv:1712.05877, Sections 2 and
3. Every `nn.Dense`, `nn.DenseGeneral` and `nn.Conv` of a network gets its input
and its kernel rounded to 256 and 255 levels; the gradient passes as if they
were not rounded (straight-through estimator). The levels are those of LiteRT's
int8 scheme and of ONNX Runtime's QDQ format:

- kernels: symmetric, -127 .. 127, a scale per output channel, from the kernel
  itself;
- inputs: asymmetric, -128 .. 127, a scale and zero point per layer, from the
  moving averages of the batches' minima and maxima; 0 is always a level.

The ranges of the inputs are in the collection `quantization`, next to the
parameters: quantization/<layer>/low and /high, f32 []. A step moves them where
the collection is mutable, that is in training; otherwise they are used as they
are. Without the collection, a network is the float network.

What stays float: biases (LiteRT holds them in int32), embeddings, norms,
products of two activations (attention scores), layers without a place for a
range (inside `nn.scan`: the cells of recurrent layers), and heads of terms.

A batch norm after a convolution needs no folding here (Section 3.2 of the
paper): it multiplies each output channel by a number, and a kernel multiplied
so has the same int8 values, up to sign, with scales multiplied by the numbers'
sizes. Folded before or after quantization, the weights are the same.

The package `qwix` (0.1.8) has this too. It is not used: it intercepts products
inside of a convolution too, and ours are several products on a CPU
(`models/_convolution.py`); its ranges are means over all steps, which devices
that share a batch do not agree on; and it has no place for them in `nn.scan`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float

from kdjax.types import Array, Variables

# Values of a stage's `quantize`.
NONE, INT8 = "", "int8"
CHOICES = (NONE, INT8)

# The collection of the learned ranges.
RANGES = "quantization"

# Of the ranges' moving averages, Section 3.1: about the last 100 steps.
DECAY = 0.99

# The levels of inputs and the largest of kernels.
LOWEST, HIGHEST, LARGEST = -128, 127, 127

# Layers, and their field that computes the product of input and kernel.
_PRODUCTS = (
  (nn.Conv, "conv_general_dilated", lax.conv_general_dilated),
  ((nn.Dense, nn.DenseGeneral), "dot_general", lax.dot_general),
)


def scale_and_zero_point(
  low: Float[Array, "*some"], high: Float[Array, "*some"]
) -> tuple[Float[Array, "*some"], Float[Array, "*some"]]:
  """Those of an input's range; the value of level q is scale (q - zero point).

  Section 2.1 and Equation (13). The range moves by less than half a level, so
  that 0 is a level.

  Args:
    low: at most 0.
    high: at least 0. Where it equals `low`, no range is known: the scale is 1.
  """
  scale = jnp.where(high > low, (high - low) / (HIGHEST - LOWEST), 1.0)
  zero_point = jnp.round(LOWEST - low / scale)
  return scale, jnp.clip(zero_point, LOWEST, HIGHEST)


def quantized_input(
  x: Float[Array, "*shape"], low: Float[Array, ""], high: Float[Array, ""]
) -> Float[Array, "*shape"]:
  """An input rounded to the levels of its range, in the input's dtype.

  The gradient is 1 within the levels and 0 outside. Where no range is known
  (`high` equals `low`), x passes as it is.
  """
  exact = x.astype(jnp.float32)
  scale, zero_point = scale_and_zero_point(low, high)
  level = jnp.round(exact / scale) + zero_point
  rounded = (jnp.clip(level, LOWEST, HIGHEST) - zero_point) * scale
  unknown = high <= low
  least, most = (scale * (end - zero_point) for end in (LOWEST, HIGHEST))
  passes = unknown | ((exact >= least) & (exact <= most))
  rounded = jnp.where(unknown, exact, rounded)
  return _straight_through(x, rounded.astype(x.dtype), passes)


def quantized_kernel(
  kernel: Float[Array, "*shape"], axes: tuple[int, ...]
) -> Float[Array, "*shape"]:
  """A kernel rounded to -127 .. 127 times a scale of each output channel.

  The gradient is 1: no value is outside of the levels.

  Args:
    kernel: of a dense layer or a convolution.
    axes: those that are summed over; the others are output channels.
  """
  exact = kernel.astype(jnp.float32)
  largest = jnp.max(jnp.abs(exact), axis=axes, keepdims=True)
  scale = jnp.where(largest > 0, largest / LARGEST, 1.0)
  rounded = (jnp.round(exact / scale) * scale).astype(kernel.dtype)
  return _straight_through(kernel, rounded, jnp.ones(kernel.shape, bool))


def moved_range(
  low: Float[Array, ""],
  high: Float[Array, ""],
  x: Float[Array, "*shape"],
  axis_name: str | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
  """A range after a batch: the moving average of minimum and maximum.

  The first batch sets it. A batch's minimum is at most 0, its maximum at least.

  Args:
    low: before the batch.
    high: before the batch; equal to `low` before the first.
    x: this device's part of the batch.
    axis_name: of the devices that share the batch.
  """
  x = lax.stop_gradient(x).astype(jnp.float32)
  least, most = jnp.minimum(jnp.min(x), 0), jnp.maximum(jnp.max(x), 0)
  if axis_name:
    least, most = lax.pmin(least, axis_name), lax.pmax(most, axis_name)
  first = high <= low
  move = lambda old, new: jnp.where(first, new, DECAY * old + (1 - DECAY) * new)
  return move(low, least), move(high, most)


def ranges(variables: Mapping[str, Any]) -> dict[str, tuple[Array, Array]]:
  """The learned ranges of a network's layers, as trained.

  Args:
    variables: of a network, as from `kdjax.restore`.

  Returns:
    {path of a layer, "encoders_image/conv0": (low, high)}, f32 [] each, of its
    input; `scale_and_zero_point` gives their int8 form. {} without any.
  """
  found = {}

  def collect(tree, path):
    if "low" in tree and not isinstance(tree["low"], Mapping):
      found[path] = (tree["low"], tree["high"])
    for key, value in tree.items():
      if isinstance(value, Mapping):
        collect(value, f"{path}/{key}".strip("/"))

  collect(variables.get(RANGES, {}), "")
  return found


def without_ranges(variables: Variables) -> Variables:
  """The variables of the float network."""
  return {key: tree for key, tree in variables.items() if key != RANGES}


@dataclasses.dataclass(frozen=True)
class QuantizedNetwork:
  """A network with fake quantization; used like its Flax module.

  Its variables are those of the module and the ranges.

  Attributes:
    network: the module.
    axis_name: of the devices that share a batch.
  """

  network: nn.Module
  axis_name: str | None = None

  def __getattr__(self, name: str) -> Any:
    if name == "network":  # not set yet, while it is copied
      raise AttributeError(name)
    return getattr(self.network, name)

  def init(self, *arguments, **options) -> Variables:
    """The module's variables and a range of each layer, not yet known."""
    with quantizing(self.axis_name):
      return self.network.init(*arguments, **options)

  def apply(self, *arguments, **options) -> Any:
    """The outputs, from rounded inputs and kernels."""
    with quantizing(self.axis_name):
      return self.network.apply(*arguments, **options)


def plain(module: Any) -> Any:
  """The Flax module of a network that may be quantized."""
  return module.network if isinstance(module, QuantizedNetwork) else module


def quantizing(axis_name: str | None = None):
  """A context in which layers have their input and kernel rounded."""

  def intercept(call, arguments, options, context):
    module = context.module
    if context.method_name != "__call__" or not _has_place(module):
      return call(*arguments, **options)
    for kinds, field, default in _PRODUCTS:
      if isinstance(module, kinds):
        with _product_set(module, field, default, axis_name):
          return call(*arguments, **options)
    return call(*arguments, **options)

  return nn.intercept_methods(intercept)


@contextlib.contextmanager
def _product_set(
  module: nn.Module, field: str, default: Any, axis_name: str | None
) -> Iterator[None]:
  """While it lasts, a layer multiplies rounded inputs and kernels.

  The layer's own field is set and not its kernel: that is a variable, which
  must keep its value.
  """
  own = getattr(module, field)
  product = own or default

  def quantized(x, kernel, *arguments, **options):
    axes = tuple(range(kernel.ndim - 1))  # of a convolution
    if field == "dot_general":
      axes = arguments[0][0][1]
    low, high = (
      module.variable(RANGES, end, jnp.zeros, (), jnp.float32)
      for end in ("low", "high")
    )
    if module.is_mutable_collection(RANGES) and not module.is_initializing():
      low.value, high.value = moved_range(low.value, high.value, x, axis_name)
    x = quantized_input(x, low.value, high.value)
    kernel = quantized_kernel(kernel, axes)
    return product(x, kernel, *arguments, **options)

  object.__setattr__(module, field, quantized)
  try:
    yield
  finally:
    object.__setattr__(module, field, own)


def _has_place(module: nn.Module) -> bool:
  """Whether a layer has a range, or may get one."""
  known = module.has_variable(RANGES, "low")
  return known or module.is_mutable_collection(RANGES)


@jax.custom_jvp
def _straight_through(
  x: Float[Array, "*shape"],
  rounded: Float[Array, "*shape"],
  passes: Bool[Array, "*shape"],
) -> Float[Array, "*shape"]:
  """`rounded`, with the derivative of x where it passes and 0 elsewhere."""
  del x, passes
  return rounded


@_straight_through.defjvp
def _straight_through_jvp(primals, tangents):
  _, rounded, passes = primals
  return rounded, jnp.where(passes, tangents[0], jnp.zeros_like(tangents[0]))

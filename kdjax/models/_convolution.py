"""Convolutions that are fast on CPUs.

XLA's CPU compiler computes a kernel's gradient as a convolution with a window
as large as the map, at a fifth to a half of the speed of other convolutions.
Matrix products that fit into the cache are faster than all of these. On a CPU,
this file computes convolutions by such products: the same sums in another
order. On accelerators it calls XLA's convolution.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from kdjax.types import Array

# Minimal input channels times output channels: below, products are not faster.
LEAST = 2**11

# Maximal numbers in the factors of one product: 4 MB, which fit into a cache.
AT_ONCE = 2**20

Pair = Sequence[int]

_plain = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
  """Traces XLA's convolution on a CPU too, as exported programs have it."""
  token = _plain.set(True)
  try:
    yield
  finally:
    _plain.reset(token)


def convolve(
  x: Float[Array, "B H W C"],
  kernel: Float[Array, "h w C D"],
  strides: Pair,
  padding: Sequence[Pair],
  **options,
) -> Float[Array, "B Y X D"]:
  """`jax.lax.conv_general_dilated` for one group without dilation.

  For the argument `conv_general_dilated` of `nn.Conv`. It has no forward-mode
  derivative on a CPU.

  Args:
    x: the input.
    kernel: of the convolution.
    strides: in height and width.
    padding: before and after, in height and width.
    **options: further arguments of `jax.lax.conv_general_dilated`.
  """
  plain = functools.partial(
    lax.conv_general_dilated, window_strides=strides, padding=padding, **options
  )
  small = kernel.shape[2] * kernel.shape[3] < LEAST
  if small or jax.default_backend() != "cpu" or _plain.get():
    return plain(x, kernel)
  dense = tuple(strides) == (1, 1)
  forward = functools.partial(dense_products, padding=padding)
  forward = forward if dense else plain

  @jax.custom_vjp
  def call(x, kernel):
    return forward(x, kernel)

  def call_forward(x, kernel):
    return forward(x, kernel), (x, kernel)

  def call_backward(residuals, gradient):
    x, kernel = residuals
    if dense:
      grad_x = gradient_of_input(gradient, kernel, padding)
    else:
      (grad_x,) = jax.vjp(lambda x: plain(x, kernel), x)[1](gradient)
    grad_kernel = gradient_of_kernel(
      x, gradient, kernel.shape, strides, padding
    )
    return grad_x, grad_kernel.astype(kernel.dtype)

  call.defvjp(call_forward, call_backward)
  return call(x, kernel)


def dense_products(
  x: Float[Array, "B H W C"],
  kernel: Float[Array, "h w C D"],
  padding: Sequence[Pair],
) -> Float[Array, "B Y X D"]:
  """A convolution with stride 1, by matrix products.

  Args:
    x: the input.
    kernel: of the convolution.
    padding: before and after, in height and width; negative values crop.
  """
  height, width, C, D = kernel.shape
  edges = [(0, 0, 0), *((*pair, 0) for pair in padding), (0, 0, 0)]
  x = lax.pad(x, jnp.zeros((), x.dtype), edges)
  Y = x.shape[1] - height + 1
  # The rows of the kernel side by side: each adds to another output row.
  flat = kernel.transpose(1, 2, 0, 3).reshape(width * C, height * D)

  def products(x):
    parts = jnp.matmul(
      _columns(x, width, 1), flat, preferred_element_type=jnp.float32
    )
    parts = parts.reshape(*parts.shape[:-1], height, D)
    rows = (parts[:, row : row + Y, :, row] for row in range(height))
    return sum(rows).astype(x.dtype)

  numbers = x.shape[1] * x.shape[2] * (width * C + height * D)
  size = _chunk_size(len(x), numbers)
  if size == len(x):
    return products(x)
  chunks = lax.map(products, _chunks(x, size))
  return chunks.reshape(-1, *chunks.shape[2:])


def gradient_of_input(
  gradient: Float[Array, "B Y X D"],
  kernel: Float[Array, "h w C D"],
  padding: Sequence[Pair],
) -> Float[Array, "B H W C"]:
  """The gradient of the input of a convolution with stride 1.

  Args:
    gradient: of the output.
    kernel: of the convolution.
    padding: before and after, in height and width.
  """
  flipped = kernel[::-1, ::-1].swapaxes(2, 3)
  new_padding = [
    (size - 1 - before, size - 1 - after)
    for size, (before, after) in zip(kernel.shape, padding, strict=False)
  ]
  return dense_products(gradient, flipped, new_padding)


def gradient_of_kernel(
  x: Float[Array, "B H W C"],
  gradient: Float[Array, "B Y X D"],
  shape: Sequence[int],
  strides: Pair,
  padding: Sequence[Pair],
) -> Float[Array, "h w C D"]:
  """The gradient of a convolution's kernel, by matrix products.

  Args:
    x: the input.
    gradient: of the output.
    shape: of the kernel.
    strides: of the convolution, in height and width.
    padding: before and after, in height and width.
  """
  B, Y, X, D = gradient.shape
  height, width, C, _ = shape
  size = _chunk_size(B, Y * X * (width * C + height * D))
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  product = functools.partial(_kernel_product, shape=shape, strides=strides)
  if size == B:
    return product(x, gradient)
  add = lambda total, pair: (total + product(*pair), None)
  start = jnp.zeros(shape, jnp.float32)
  return lax.scan(add, start, (_chunks(x, size), _chunks(gradient, size)))[0]


def _kernel_product(x, gradient, *, shape, strides) -> Float[Array, "h w C D"]:
  """The kernel's gradient from a padded input and an output gradient."""
  _, Y, X, D = gradient.shape
  height, width, C, _ = shape
  stride_y, stride_x = strides
  columns = _columns(x, width, stride_x, X)
  product = lambda left, right: lax.dot_general(
    left.reshape(-1, left.shape[-1]),
    right.reshape(-1, right.shape[-1]),
    (((0,), (0,)), ((), ())),
    preferred_element_type=jnp.float32,
  )
  if stride_y == 1:
    # Kernel row i reads input row y + i. Gradients are shifted instead, so that
    # all rows are one product.
    shifted = [
      jnp.pad(gradient, ((0, 0), (row, height - 1 - row), (0, 0), (0, 0)))
      for row in range(height)
    ]
    inputs = columns[:, : Y + height - 1]
    sums = product(inputs, jnp.concatenate(shifted, axis=-1))
    return sums.reshape(width, C, height, D).transpose(2, 0, 1, 3)
  ends = [row + stride_y * (Y - 1) + 1 for row in range(height)]
  rows = (
    lax.slice_in_dim(columns, row, end, stride_y, axis=1)
    for row, end in enumerate(ends)
  )
  return jnp.stack([product(row, gradient) for row in rows]).reshape(shape)


def _columns(x, width, stride, count=None) -> Float[Array, "B H X wC"]:
  """The inputs of all kernel columns, side by side, for every row (im2col)."""
  count = count or x.shape[2] - width + 1
  ends = [column + stride * (count - 1) + 1 for column in range(width)]
  cut = lambda column, end: lax.slice_in_dim(x, column, end, stride, axis=2)
  return jnp.concatenate([cut(*ends) for ends in enumerate(ends)], axis=-1)


def _chunk_size(batch: int, numbers: int) -> int:
  """Examples per product, if an example has this many numbers."""
  sizes = (size for size in range(batch, 0, -1) if batch % size == 0)
  return next((size for size in sizes if size * numbers <= AT_ONCE), 1)


def _chunks(x: Array, size: int) -> Float[Array, "N B ..."]:
  return x.reshape(-1, size, *x.shape[1:])

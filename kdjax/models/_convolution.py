"""A convolution that is fast on a CPU, too.

XLA's CPU compiler computes the gradient of a kernel as a convolution whose
window is the whole map, at a fifth to a half of the speed of others; and none
is as fast as products of matrices that stay in the cache. Here, on a CPU, it
is such products: the same sums in another order. Accelerators have XLA's.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from kdjax.types import Array

# Channels that come in times channels that go out: with fewer nothing is won.
LEAST = 2**11

# Numbers of both sides that are multiplied at once, 4 MB: what a cache holds.
AT_ONCE = 2**20

Pair = Sequence[int]


def convolve(
  x: Float[Array, "B H W C"],
  kernel: Float[Array, "h w C D"],
  strides: Pair,
  padding: Sequence[Pair],
  **options,
) -> Float[Array, "B Y X D"]:
  """`jax.lax.conv_general_dilated` of one group without dilation.

  To be given to `nn.Conv`. It has no forward-mode derivative on a CPU.

  Args:
    x: what comes in.
    kernel: of the convolution.
    strides: in height and width.
    padding: before and behind, in height and width.
    **options: others that `nn.Conv` calls it with.
  """
  plain = functools.partial(
    lax.conv_general_dilated, window_strides=strides, padding=padding, **options
  )
  small = kernel.shape[2] * kernel.shape[3] < LEAST
  if small or jax.default_backend() != "cpu":
    return plain(x, kernel)
  dense = tuple(strides) == (1, 1)
  forward = functools.partial(dense_products, padding=padding)
  forward = forward if dense else plain

  @jax.custom_vjp
  def call(x, kernel):
    return forward(x, kernel)

  def ahead(x, kernel):
    return forward(x, kernel), (x, kernel)

  def back(kept, gradient):
    x, kernel = kept
    if dense:
      of_x = gradient_of_input(gradient, kernel, padding)
    else:
      (of_x,) = jax.vjp(lambda x: plain(x, kernel), x)[1](gradient)
    of_kernel = gradient_of_kernel(x, gradient, kernel.shape, strides, padding)
    return of_x, of_kernel.astype(kernel.dtype)

  call.defvjp(ahead, back)
  return call(x, kernel)


def dense_products(
  x: Float[Array, "B H W C"],
  kernel: Float[Array, "h w C D"],
  padding: Sequence[Pair],
) -> Float[Array, "B Y X D"]:
  """A convolution of strides 1, by products of matrices.

  Args:
    x: what comes in.
    kernel: of the convolution.
    padding: before and behind, in height and width; cuts where it is negative.
  """
  height, width, C, D = kernel.shape
  edges = [(0, 0, 0), *((*pair, 0) for pair in padding), (0, 0, 0)]
  x = lax.pad(x, jnp.zeros((), x.dtype), edges)
  Y = x.shape[1] - height + 1
  # All rows of the kernel side by side: each gives its share of another row.
  flat = kernel.transpose(1, 2, 0, 3).reshape(width * C, height * D)

  def products(x):
    shares = jnp.matmul(
      _columns(x, width, 1), flat, preferred_element_type=jnp.float32
    )
    shares = shares.reshape(*shares.shape[:-1], height, D)
    rows = (shares[:, row : row + Y, :, row] for row in range(height))
    return sum(rows).astype(x.dtype)

  numbers = x.shape[1] * x.shape[2] * (width * C + height * D)
  size = _size(len(x), numbers)
  if size == len(x):
    return products(x)
  found = lax.map(products, _cut(x, size))
  return found.reshape(-1, *found.shape[2:])


def gradient_of_input(
  gradient: Float[Array, "B Y X D"],
  kernel: Float[Array, "h w C D"],
  padding: Sequence[Pair],
) -> Float[Array, "B H W C"]:
  """The gradient of what came into a convolution of strides 1.

  Args:
    gradient: of what went out.
    kernel: of the convolution.
    padding: before and behind, in height and width.
  """
  turned = kernel[::-1, ::-1].swapaxes(2, 3)
  behind = [
    (size - 1 - before, size - 1 - after)
    for size, (before, after) in zip(kernel.shape, padding, strict=False)
  ]
  return dense_products(gradient, turned, behind)


def gradient_of_kernel(
  x: Float[Array, "B H W C"],
  gradient: Float[Array, "B Y X D"],
  shape: Sequence[int],
  strides: Pair,
  padding: Sequence[Pair],
) -> Float[Array, "h w C D"]:
  """The gradient of a convolution's kernel, by products of matrices.

  Args:
    x: what came in.
    gradient: of what went out.
    shape: of the kernel.
    strides: of the convolution, in height and width.
    padding: before and behind, in height and width.
  """
  B, Y, X, D = gradient.shape
  height, width, C, _ = shape
  size = _size(B, Y * X * (width * C + height * D))
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  product = functools.partial(_kernel_product, shape=shape, strides=strides)
  if size == B:
    return product(x, gradient)
  add = lambda total, pair: (total + product(*pair), None)
  start = jnp.zeros(shape, jnp.float32)
  return lax.scan(add, start, (_cut(x, size), _cut(gradient, size)))[0]


def _kernel_product(x, gradient, *, shape, strides) -> Float[Array, "h w C D"]:
  """The sum over all positions of an input, which is padded, and a gradient."""
  _, Y, X, D = gradient.shape
  height, width, C, _ = shape
  down, right = strides
  columns = _columns(x, width, right, X)
  product = lambda one, other: lax.dot_general(
    one.reshape(-1, one.shape[-1]),
    other.reshape(-1, other.shape[-1]),
    (((0,), (0,)), ((), ())),
    preferred_element_type=jnp.float32,
  )
  if down == 1:
    # Row i of the kernel has met row y + i: gradients are moved instead, and
    # all rows are in one product.
    moved = [
      jnp.pad(gradient, ((0, 0), (row, height - 1 - row), (0, 0), (0, 0)))
      for row in range(height)
    ]
    met = columns[:, : Y + height - 1]
    found = product(met, jnp.concatenate(moved, axis=-1))
    return found.reshape(width, C, height, D).transpose(2, 0, 1, 3)
  rows = (
    lax.slice_in_dim(columns, row, row + down * (Y - 1) + 1, down, axis=1)
    for row in range(height)
  )
  return jnp.stack([product(row, gradient) for row in rows]).reshape(shape)


def _columns(x, width, stride, count=None) -> Float[Array, "B H X wC"]:
  """Beside each other what the columns of a kernel meet, in every row."""
  count = count or x.shape[2] - width + 1
  ends = [column + stride * (count - 1) + 1 for column in range(width)]
  cut = lambda column, end: lax.slice_in_dim(x, column, end, stride, axis=2)
  return jnp.concatenate([cut(*ends) for ends in enumerate(ends)], axis=-1)


def _size(batch: int, numbers: int) -> int:
  """How many examples are multiplied at once, of so many numbers each."""
  sizes = (size for size in range(batch, 0, -1) if batch % size == 0)
  return next((size for size in sizes if size * numbers <= AT_ONCE), 1)


def _cut(x: Array, size: int) -> Float[Array, "N B ..."]:
  return x.reshape(-1, size, *x.shape[1:])

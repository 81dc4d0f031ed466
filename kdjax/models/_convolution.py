"""A convolution whose gradient XLA's CPU compiler computes well.

There the gradient of a kernel is a convolution whose window is the whole map,
at a fifth to a half of the speed of others. On a CPU it is computed here, by
products of matrices: the same sums in another order. Accelerators have XLA's.
"""

import functools
import math
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

  To be given to `nn.Conv`. It has no forward-mode derivative.

  Args:
    x: what comes in.
    kernel: of the convolution.
    strides: in height and width.
    padding: before and behind, in height and width.
    **options: others that `nn.Conv` calls it with.
  """
  forward = functools.partial(
    lax.conv_general_dilated, window_strides=strides, padding=padding, **options
  )
  small = kernel.shape[2] * kernel.shape[3] < LEAST
  if small or jax.default_backend() != "cpu":
    return forward(x, kernel)

  @jax.custom_vjp
  def call(x, kernel):
    return forward(x, kernel)

  def ahead(x, kernel):
    return forward(x, kernel), (x, kernel)

  def back(kept, gradient):
    x, kernel = kept
    (of_x,) = jax.vjp(lambda x: forward(x, kernel), x)[1](gradient)
    of_kernel = gradient_of_kernel(x, gradient, kernel.shape, strides, padding)
    return of_x, of_kernel.astype(kernel.dtype)

  call.defvjp(ahead, back)
  return call(x, kernel)


def gradient_of_kernel(
  x: Float[Array, "B H W C"],
  gradient: Float[Array, "B Y X D"],
  shape: Sequence[int],
  strides: Pair,
  padding: Sequence[Pair],
) -> Float[Array, "h w C D"]:
  """The gradient of a convolution's kernel, by products of matrices.

  Some examples at a time, so that what is multiplied stays in the cache.

  Args:
    x: what came in.
    gradient: of what went out.
    shape: of the kernel.
    strides: of the convolution, in height and width.
    padding: before and behind, in height and width.
  """
  B, Y, X, D = gradient.shape
  height, width, C, _ = shape
  numbers = Y * X * (width * C + height * D)
  sizes = (size for size in range(B, 0, -1) if B % size == 0)
  size = next((size for size in sizes if size * numbers <= AT_ONCE), 1)
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  product = functools.partial(_product, shape=shape, strides=strides)
  if size == B:
    return product(x, gradient)
  cut = lambda array: array.reshape(B // size, size, *array.shape[1:])
  add = lambda total, pair: (total + product(*pair), None)
  start = jnp.zeros(shape, jnp.float32)
  return lax.scan(add, start, (cut(x), cut(gradient)))[0]


def _product(x, gradient, *, shape, strides) -> Float[Array, "h w C D"]:
  """The sum over all positions of an input, which is padded, and a gradient."""
  _, Y, X, D = gradient.shape
  height, width, C, _ = shape
  down, right = strides

  def rows(array, start):
    """Every row of what comes in that a row of the kernel meets."""
    last = start + down * (Y - 1) + 1
    return lax.slice_in_dim(array, start, last, down, axis=1)

  ends = [column + right * (X - 1) + 1 for column in range(width)]
  columns = jnp.concatenate(
    [
      lax.slice_in_dim(x, column, end, right, axis=2)
      for column, end in enumerate(ends)
    ],
    axis=-1,
  )
  if down == 1:
    # Row i of the kernel has met row y + i: gradients are moved instead, and
    # all rows are in one product.
    columns = columns[:, : Y + height - 1]
    moved = [
      jnp.pad(gradient, ((0, 0), (row, height - 1 - row), (0, 0), (0, 0)))
      for row in range(height)
    ]
    found = _dot(columns, jnp.concatenate(moved, axis=-1))
    return found.reshape(width, C, height, D).transpose(2, 0, 1, 3)
  found = [_dot(rows(columns, row), gradient) for row in range(height)]
  return jnp.stack(found).reshape(shape)


def _dot(one, other) -> Float[Array, "M N"]:
  """[... M] and [... N]: their product, summed over all that is before."""
  flat = lambda array: array.reshape(math.prod(array.shape[:-1]), -1)
  return lax.dot_general(
    flat(one),
    flat(other),
    (((0,), (0,)), ((), ())),
    preferred_element_type=jnp.float32,
  )

"""Convolutions on CPUs and their gradients equal XLA's."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from kdjax.models import _conv_norm, _convolution

pytestmark = pytest.mark.slow

LAYOUT = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

# Input, kernel, strides, padding.
CASES = {
  "3x3": ((4, 8, 8, 5), (3, 3, 5, 7), (1, 1), ((1, 1), (1, 1))),
  "strided": ((4, 8, 8, 5), (3, 3, 5, 7), (2, 2), ((1, 1), (1, 1))),
  "odd map": ((3, 9, 7, 2), (3, 3, 2, 3), (2, 2), ((1, 1), (1, 1))),
  "point": ((4, 6, 6, 5), (1, 1, 5, 7), (1, 1), ((0, 0), (0, 0))),
  "strided point": ((4, 7, 7, 5), (1, 1, 5, 7), (2, 2), ((0, 0), (0, 0))),
  "no padding": ((2, 8, 9, 3), (3, 5, 3, 4), (1, 1), ((0, 0), (0, 0))),
  "lopsided": ((2, 8, 9, 3), (5, 3, 3, 4), (1, 2), ((2, 1), (0, 3))),
  "wide padding": ((2, 5, 5, 3), (2, 2, 3, 4), (1, 1), ((2, 2), (1, 3))),
  "stem": ((2, 14, 14, 3), (7, 7, 3, 4), (2, 2), ((3, 3), (3, 3))),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
  shape, kernel, strides, padding = CASES[request.param]
  random = np.random.default_rng(0)
  draw = lambda shape: jnp.asarray(random.normal(size=shape), jnp.float32)
  forward = functools.partial(
    lax.conv_general_dilated,
    window_strides=strides,
    padding=padding,
    **LAYOUT,
  )
  x, kernel = draw(shape), draw(kernel)
  out, pull = jax.vjp(forward, x, kernel)
  gradient = draw(out.shape)
  return x, kernel, strides, padding, gradient, pull(gradient)


def close(actual, expected):
  scale = np.abs(expected).max()
  np.testing.assert_allclose(actual, expected, atol=2e-6 * scale, rtol=0)


@pytest.mark.parametrize("at_once", [1, 2000, 2**20])
def test_a_convolution_and_its_gradients_equal_xla(case, at_once, monkeypatch):
  monkeypatch.setattr(_convolution, "LEAST", 0)
  monkeypatch.setattr(_convolution, "AT_ONCE", at_once)
  x, kernel, strides, padding, gradient, (grad_x, grad_kernel) = case
  call = lambda x, kernel: _convolution.convolve(
    x, kernel, strides, padding, **LAYOUT
  )
  out, pull = jax.vjp(call, x, kernel)
  close(out, lax.conv_general_dilated(x, kernel, strides, padding, **LAYOUT))
  actual = pull(gradient)
  close(actual[0], grad_x)
  close(actual[1], grad_kernel)


class Net(nn.Module):
  """One convolution, made as in the networks."""

  groups: int = 1

  @nn.compact
  def __call__(self, x):
    layers = _conv_norm.Layers(True)
    return layers.conv(x, 64, 3, "conv", stride=2, groups=self.groups)


def products(groups, backend, monkeypatch):
  """Number of matrix products in a layer's gradient."""
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  model, x = Net(groups), jnp.ones((2, 8, 8, 32))
  variables = jax.eval_shape(model.init, jax.random.key(0), x)
  loss = lambda variables: jnp.sum(model.apply(variables, x) ** 2)
  return str(jax.make_jaxpr(jax.grad(loss))(variables)).count("dot_general")


def test_layers_use_products_only_on_a_cpu_and_without_groups(monkeypatch):
  # With strides of 2: XLA's convolution, and one product per kernel row.
  assert products(1, "cpu", monkeypatch) == 3
  assert products(1, "gpu", monkeypatch) == 0
  assert products(4, "cpu", monkeypatch) == 0


def test_convolutions_work_under_vmap(case, monkeypatch):
  monkeypatch.setattr(_convolution, "LEAST", 0)
  monkeypatch.setattr(_convolution, "AT_ONCE", 2000)
  x, kernel, strides, padding, gradient, _ = case

  def pull(kernel):
    call = lambda kernel: _convolution.convolve(
      x, kernel, strides, padding, **LAYOUT
    )
    return jax.vjp(call, kernel)[1](gradient)[0]

  both = jax.vmap(pull)(jnp.stack([kernel, 2 * kernel]))
  close(both[0], pull(kernel))
  close(both[1], pull(2 * kernel))

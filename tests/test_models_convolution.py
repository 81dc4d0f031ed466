"""The CPU's gradient of a convolution's kernel is XLA's."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from kdjax.models import _conv_norm, _convolution

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
  drawn = lambda shape: jnp.asarray(random.normal(size=shape), jnp.float32)
  forward = functools.partial(
    lax.conv_general_dilated,
    window_strides=strides,
    padding=padding,
    **LAYOUT,
  )
  x, kernel = drawn(shape), drawn(kernel)
  out, pull = jax.vjp(forward, x, kernel)
  gradient = drawn(out.shape)
  return x, kernel, strides, padding, gradient, pull(gradient)


def close(found, expected):
  scale = np.abs(expected).max()
  np.testing.assert_allclose(found, expected, atol=2e-6 * scale, rtol=0)


@pytest.mark.parametrize("at_once", [1, 2000, 2**20])
def test_a_convolution_and_its_gradients_are_xla_s(case, at_once, monkeypatch):
  monkeypatch.setattr(_convolution, "LEAST", 0)
  monkeypatch.setattr(_convolution, "AT_ONCE", at_once)
  x, kernel, strides, padding, gradient, (of_x, of_kernel) = case
  call = lambda x, kernel: _convolution.convolve(
    x, kernel, strides, padding, **LAYOUT
  )
  out, pull = jax.vjp(call, x, kernel)
  close(out, lax.conv_general_dilated(x, kernel, strides, padding, **LAYOUT))
  found = pull(gradient)
  close(found[0], of_x)
  close(found[1], of_kernel)


class Net(nn.Module):
  """One layer, as networks make it."""

  groups: int = 1

  @nn.compact
  def __call__(self, x):
    layers = _conv_norm.Layers(True)
    return layers.conv(x, 64, 3, "conv", stride=2, groups=self.groups)


def products(groups, backend, monkeypatch):
  """How often a layer's gradient multiplies matrices."""
  monkeypatch.setattr(jax, "default_backend", lambda: backend)
  model, x = Net(groups), jnp.ones((2, 8, 8, 32))
  variables = jax.eval_shape(model.init, jax.random.key(0), x)
  loss = lambda variables: jnp.sum(model.apply(variables, x) ** 2)
  return str(jax.make_jaxpr(jax.grad(loss))(variables)).count("dot_general")


def test_layers_use_it_on_a_cpu_alone_and_without_groups(monkeypatch):
  # Of strides 2: XLA's convolution, and a product a row of the kernel.
  assert products(1, "cpu", monkeypatch) == 3
  assert products(1, "gpu", monkeypatch) == 0
  assert products(4, "cpu", monkeypatch) == 0


def test_seeds_may_be_a_vmap(case, monkeypatch):
  monkeypatch.setattr(_convolution, "LEAST", 0)
  monkeypatch.setattr(_convolution, "AT_ONCE", 2000)
  x, kernel, strides, padding, gradient, _ = case

  def of(kernel):
    call = lambda kernel: _convolution.convolve(
      x, kernel, strides, padding, **LAYOUT
    )
    return jax.vjp(call, kernel)[1](gradient)[0]

  both = jax.vmap(of)(jnp.stack([kernel, 2 * kernel]))
  close(both[0], of(kernel))
  close(both[1], of(2 * kernel))

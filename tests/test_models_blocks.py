"""Transformer blocks with remat or fused attention compute the same."""

import ast
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import registry

pytestmark = pytest.mark.slow

# Every network with Transformer blocks: its options and its inputs.
INPUTS = {
  "text_transformer": (
    {"vocabulary": 9, "width": 8, "depth": 2, "num_classes": 3},
    lambda draw: {
      "text": jnp.asarray(draw.integers(9, size=(3, 5))),
      "mask/text": jnp.arange(5)[None] < jnp.array([[5], [3], [0]]),
    },
  ),
  "patch_transformer": (
    {"patch": 2, "width": 8, "depth": 2, "num_classes": 3},
    lambda draw: {"image": jnp.asarray(draw.random((3, 4, 4, 1)), jnp.float32)},
  ),
  "spectrogram_transformer": (
    {"patch": 4, "stride": 4, "width": 8, "depth": 2, "num_classes": 3},
    lambda draw: {
      "audio": jnp.asarray(draw.random((3, 12, 8)), jnp.float32),
      "mask/audio": jnp.arange(12)[None] < jnp.array([[12], [8], [4]]),
    },
  ),
}


def make(name, **changes):
  options, inputs = INPUTS[name]
  model = registry.find("models", name)(heads=2, **options, **changes)
  return model, inputs(np.random.default_rng(0))


def loss(model, inputs, read):
  def compute(variables):
    outputs = model.apply(
      variables, inputs, train=True, rngs={"dropout": jax.random.key(1)}
    )
    return jnp.sum(outputs[read] ** 2)

  return compute


@functools.partial(jax.jit, static_argnums=0)
def init(model, inputs):
  """Random variables."""
  return model.init(jax.random.key(0), inputs, train=False)


def test_every_network_with_blocks_is_tested():
  names = set()
  for name in registry.names("models"):
    tree = ast.parse(
      inspect.getsource(inspect.getmodule(registry.find("models", name)))
    )
    if any(getattr(node, "attr", "") == "stack" for node in ast.walk(tree)):
      names.add(name)
  assert {name for name in names if "transformer" in name} == set(INPUTS)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("change", ["remat", "fused"])
@pytest.mark.parametrize("read", ["logits", "attention01"])
def test_remat_and_fused_attention_give_equal_gradients(name, change, read):
  plain, inputs = make(name, dropout=0.1)
  other, _ = make(name, dropout=0.1, **{change: True})
  variables = init(plain, inputs)
  shapes = lambda model: jax.tree.map(
    jnp.shape, jax.eval_shape(functools.partial(init, model), inputs)
  )
  assert shapes(plain) == shapes(other)
  first, second = (
    jax.jit(jax.value_and_grad(loss(model, inputs, read)))(variables)
    for model in (plain, other)
  )
  for one, two in zip(
    jax.tree.leaves(first), jax.tree.leaves(second), strict=True
  ):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", INPUTS)
def test_remat_computes_products_again(name):
  plain, inputs = make(name)
  other, _ = make(name, remat=True)
  variables = init(plain, inputs)
  products = lambda model: str(
    jax.make_jaxpr(jax.grad(loss(model, inputs, "logits")))(variables)
  ).count("dot_general")
  assert products(other) > products(plain)


@pytest.mark.parametrize("name", INPUTS)
def test_unread_maps_are_not_computed_with_a_fused_kernel(name):
  model, inputs = make(name, fused=True)
  variables = init(model, inputs)
  products = lambda *reads: (
    jax.jit(
      lambda variables: [
        model.apply(variables, inputs, train=False)[read] for read in reads
      ]
    )
    .lower(variables)
    .compile()
    .as_text()
    .count(" dot(")
  )
  assert products("logits") < products("logits", "attention00", "attention01")

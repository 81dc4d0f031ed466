"""Networks of transformers with random weights, as references for ours.

Tests that import this file are skipped without PyTorch and transformers.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import pretrained

_WHY = 'compares with transformers: pip install -e ".[parity]"'

torch = pytest.importorskip("torch", reason=_WHY)
transformers = pytest.importorskip("transformers", reason=_WHY)

# Relative to the largest expected number.
TOLERANCE = 1e-5


def random(kind, config, seed=0):
  """A network of transformers with random parameters."""
  config._attn_implementation = "eager"
  torch.manual_seed(seed)
  model = getattr(transformers, kind)(config).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.2 * torch.randn(parameter.shape))
  return model


def load(model, folder, name, **options):
  """Our network with the model's saved weights, as inputs -> outputs."""
  model.save_pretrained(folder, safe_serialization=True)
  ours, variables = pretrained.load(str(folder), name, **options)
  infer = jax.jit(functools.partial(ours.apply, train=False))

  def call(inputs):
    outputs = infer(variables, {k: jnp.asarray(v) for k, v in inputs.items()})
    return {key: np.asarray(value) for key, value in outputs.items()}

  return call


def run(model, **inputs):
  """The model's outputs with all hidden states and attention maps."""
  inputs = {key: torch.tensor(value) for key, value in inputs.items()}
  with torch.no_grad():
    return model(**inputs, output_hidden_states=True, output_attentions=True)


def close(actual, expected, where=None):
  """Asserts equality where the mask is True, and 0 elsewhere."""
  expected = np.asarray(expected, np.float32)
  assert actual.shape == expected.shape
  if where is not None:
    where = np.broadcast_to(where, actual.shape)
    assert not actual[~where].any()
    actual, expected = actual[where], expected[where]
  worst = np.abs(actual - expected).max() / np.abs(expected).max()
  print(f"relative difference {worst:.1e}")
  assert worst <= TOLERANCE


def blocks(outputs, states, attentions, prefix="", mask=None):
  """Asserts equal inputs, outputs and attention maps of all blocks."""
  rows = None if mask is None else mask[..., None]
  maps = None if mask is None else mask[:, None, :, None]
  close(outputs[f"{prefix}embedded"], states[0], rows)
  for index, attention in enumerate(attentions):
    close(outputs[f"{prefix}block{index:02d}"], states[index + 1], rows)
    close(outputs[f"{prefix}attention{index:02d}"], attention, maps)

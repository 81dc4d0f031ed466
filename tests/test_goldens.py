"""Values and gradients that the public implementations gave.

The folder is $KDJAX_GOLDENS, by default ../shared/goldens beside the project.
Its README says what a case holds; `tests/goldens/` says which call of kdjax
answers a case.
"""

import functools
import importlib
import inspect
import json
import os
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from goldens._case import Case

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = pathlib.Path(
  os.environ.get("KDJAX_GOLDENS", ROOT.parent / "shared" / "goldens")
)

# What float64 leaves of a number that is zero by mathematics, and float32. The
# smallest gradient that is none is 1e-8, of `clip_kd_gd`.
ZERO, ROUNDING = 1e-10, 1e-6

# method -> why kdjax answers otherwise, on purpose: METHODS.md, section 9.
DELIBERATE: dict[str, str] = {}


def load():
  """The cases of the folder, and its arrays."""
  if not (FOLDER / "goldens.json").exists():
    return [], {}
  cases = json.loads((FOLDER / "goldens.json").read_text())["cases"]
  return cases, np.load(FOLDER / "goldens.npz")


CASES, ARRAYS = load()


@functools.cache
def adapters():
  """method -> its adapter, of every file of tests/goldens."""
  found = {}
  for path in sorted((ROOT / "tests" / "goldens").glob("[a-z]*.py")):
    module = importlib.import_module(f"goldens.{path.stem}")
    for name, thing in vars(module).items():
      if (
        inspect.isfunction(thing)
        and thing.__module__ == module.__name__
        and not name.startswith("_")
      ):
        assert name not in found, f"Two adapters are called '{name}'."
        found[name] = thing
  return found


def has_arbitrary_signs(case):
  """KDSVD without fixed signs: float32 and float64 of its own disagree."""
  return case["method"] == "kdsvd" and case["rtol"]["loss"] > 1e-3


def answered(case):
  """A case's outputs, total and gradients, by kdjax."""
  name = re.sub(r"\W", "_", case["method"])
  adapter = adapters().get(name)
  assert adapter, f"No file of tests/goldens defines '{name}'."
  inputs = {
    name: jnp.asarray(ARRAYS[one["key"]])
    for name, one in case["inputs"].items()
  }
  cotangents = {
    name: jnp.asarray(ARRAYS[one["cot"]], jnp.float32)
    for name, one in case["expect"].items()
    if "cot" in one
  }
  wanted = [name for name, key in case["grads"].items() if key]

  def total(chosen):
    outputs = adapter(
      Case(case["hyper"], {**inputs, **chosen}, tuple(case["expect"]))
    )
    parts = [
      jnp.sum(value * cotangents.get(name, jnp.ones_like(value)))
      for name, value in outputs.items()
    ]
    return sum(parts), outputs

  chosen = {name: inputs[name] for name in wanted}
  gradients, outputs = jax.jit(jax.grad(total, has_aux=True))(chosen)
  return outputs, gradients


@pytest.mark.skipif(not CASES, reason=f"no golden values in {FOLDER}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_kdjax_gives_the_value_and_gradient_of_the_public_code(case):
  if has_arbitrary_signs(case):
    pytest.skip("its signs are arbitrary: it checks nothing")
  if case["method"] in DELIBERATE:
    pytest.skip(DELIBERATE[case["method"]])
  outputs, gradients = answered(case)
  assert outputs.keys() == case["expect"].keys()
  tolerance = case["rtol"]["loss"]
  for name, one in case["expect"].items():
    expected = ARRAYS[one["f64"]] if "shape" in one else np.array(one["f64"])
    scale = max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    assert outputs[name].shape == expected.shape
    error = np.abs(np.asarray(outputs[name], np.float64) - expected).max()
    allowed = ROUNDING if scale < ZERO else tolerance * scale
    assert error <= allowed, (name, outputs[name], expected)
  expected = {name: ARRAYS[case["grads"][name]] for name in gradients}
  # Where a gradient is zero by mathematics (a bias before batch norm), what is
  # left on either side is rounding of the others.
  rounding = 1e-6 * max(
    (np.abs(one).max() for one in expected.values()), default=0
  )
  for name, one in expected.items():
    error = np.abs(np.asarray(gradients[name], np.float64) - one).max()
    allowed = case["rtol"]["grad_of_max"] * np.abs(one).max() + rounding
    if max(np.abs(one).max() for one in expected.values()) < ZERO:
      allowed = ROUNDING
    assert error <= allowed, (name, error, allowed)


@pytest.mark.skipif(not CASES, reason=f"no golden values in {FOLDER}")
def test_every_deliberate_difference_is_of_a_case():
  assert DELIBERATE.keys() <= {case["method"] for case in CASES}

"""Golden values and gradients, computed by public implementations.

They are in the folder $KDJAX_GOLDENS, by default ../shared/goldens; its README
describes a case. `tests/goldens/` has one adapter per method, which calls kdjax
on a case.
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

# Values below ZERO in float64, and below ROUNDING in float32, are rounding
# errors of an exact zero. The smallest true gradient is 1e-8, of `clip_kd_gd`.
ZERO, ROUNDING = 1e-10, 1e-6

# method -> why kdjax differs on purpose: METHODS.md, section 9.
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
  """method -> its adapter, from all files of tests/goldens."""
  functions = {}
  for path in sorted((ROOT / "tests" / "goldens").glob("[a-z]*.py")):
    module = importlib.import_module(f"goldens.{path.stem}")
    for name, thing in vars(module).items():
      if (
        inspect.isfunction(thing)
        and thing.__module__ == module.__name__
        and not name.startswith("_")
      ):
        assert name not in functions, (
          f"Two files of tests/goldens define '{name}': rename one of them."
        )
        functions[name] = thing
  return functions


def has_arbitrary_signs(case):
  """Whether it is KDSVD without fixed signs, which differs by precision."""
  return case["method"] == "kdsvd" and case["rtol"]["loss"] > 1e-3


def evaluate(case):
  """The outputs and gradients of kdjax on a case."""
  name = re.sub(r"\W", "_", case["method"])
  adapter = adapters().get(name)
  assert adapter, (
    f"A file of tests/goldens must define '{name}(case)', which computes the"
    " outputs of these golden values with kdjax."
  )
  inputs = {
    name: jnp.asarray(ARRAYS[entry["key"]])
    for name, entry in case["inputs"].items()
  }
  cotangents = {
    name: jnp.asarray(ARRAYS[entry["cot"]], jnp.float32)
    for name, entry in case["expect"].items()
    if "cot" in entry
  }
  differentiated = [name for name, key in case["grads"].items() if key]

  def total(arguments):
    outputs = adapter(
      Case(case["hyper"], {**inputs, **arguments}, tuple(case["expect"]))
    )
    parts = [
      jnp.sum(value * cotangents.get(name, jnp.ones_like(value)))
      for name, value in outputs.items()
    ]
    return sum(parts), outputs

  arguments = {name: inputs[name] for name in differentiated}
  gradients, outputs = jax.jit(jax.grad(total, has_aux=True))(arguments)
  return outputs, gradients


@pytest.mark.skipif(not CASES, reason=f"no golden values in {FOLDER}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_kdjax_gives_the_value_and_gradient_of_the_public_code(case):
  if has_arbitrary_signs(case):
    pytest.skip("its signs are arbitrary")
  if case["method"] in DELIBERATE:
    pytest.skip(DELIBERATE[case["method"]])
  outputs, gradients = evaluate(case)
  assert outputs.keys() == case["expect"].keys()
  tolerance = case["rtol"]["loss"]
  for name, entry in case["expect"].items():
    values = entry["f64"]
    expected = ARRAYS[values] if "shape" in entry else np.array(values)
    scale = max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    assert outputs[name].shape == expected.shape
    error = np.abs(np.asarray(outputs[name], np.float64) - expected).max()
    allowed = ROUNDING if scale < ZERO else tolerance * scale
    assert error <= allowed, (name, outputs[name], expected)
  expected = {name: ARRAYS[case["grads"][name]] for name in gradients}
  # A gradient that is exactly zero (of a bias before batch norm) has rounding
  # errors of the size of the other gradients.
  largest = max((np.abs(array).max() for array in expected.values()), default=0)
  for name, array in expected.items():
    error = np.abs(np.asarray(gradients[name], np.float64) - array).max()
    allowed = case["rtol"]["grad_of_max"] * np.abs(array).max() + 1e-6 * largest
    if largest < ZERO:
      allowed = ROUNDING
    assert error <= allowed, (name, error, allowed)


@pytest.mark.skipif(not CASES, reason=f"no golden values in {FOLDER}")
def test_every_deliberate_difference_has_a_case():
  assert DELIBERATE.keys() <= {case["method"] for case in CASES}

"""Runs adapters on cases, and compares them with what the cases expect.

A case is an entry of goldens.json; its arrays are in a mapping by key.
"""

import functools
import importlib
import inspect
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np

from goldens._case import Case

# Values below ZERO in float64, and below ROUNDING in float32, are rounding
# errors of an exact zero. The smallest true gradient is 1e-8, of `clip_kd_gd`.
ZERO, ROUNDING = 1e-10, 1e-6


@functools.cache
def adapters():
  """method -> its adapter, from all files of tests/goldens."""
  functions = {}
  for path in sorted(pathlib.Path(__file__).parent.glob("[a-z]*.py")):
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


def program(case, arrays):
  """A function for outputs and gradients of kdjax on a case, and its argument.

  Several of them may be one program, which compiles faster.
  """
  name = re.sub(r"\W", "_", case["method"])
  adapter = adapters().get(name)
  assert adapter, (
    f"A file of tests/goldens must define '{name}(case)', which computes the"
    " outputs of these golden values with kdjax."
  )
  inputs = {
    name: jnp.asarray(arrays[entry["key"]])
    for name, entry in case["inputs"].items()
  }
  cotangents = {
    name: jnp.asarray(arrays[entry["cot"]], jnp.float32)
    for name, entry in case["expect"].items()
    if "cot" in entry
  }
  differentiated = [name for name, key in case["grads"].items() if key]
  code = "/".join(case.get(key, "") for key in ("repo", "file"))

  def total(arguments):
    arrays = {**inputs, **arguments}
    outputs = adapter(Case(case["hyper"], arrays, tuple(case["expect"]), code))
    parts = [
      jnp.sum(value * cotangents.get(name, jnp.ones_like(value)))
      for name, value in outputs.items()
    ]
    return sum(parts), outputs

  arguments = {name: inputs[name] for name in differentiated}

  def run(arguments):
    gradients, outputs = jax.grad(total, has_aux=True)(arguments)
    return outputs, gradients

  return run, arguments


def evaluate(case, arrays):
  """The outputs and gradients of kdjax on a case."""
  run, arguments = program(case, arrays)
  return jax.jit(run)(arguments)


def compare(case, arrays, outputs, gradients):
  """Fails where outputs or gradients are not what the case expects."""
  assert outputs.keys() == case["expect"].keys()
  tolerance = case["rtol"]["loss"]
  for name, entry in case["expect"].items():
    values = entry["f64"]
    expected = arrays[values] if "shape" in entry else np.array(values)
    scale = max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    assert outputs[name].shape == expected.shape
    error = np.abs(np.asarray(outputs[name], np.float64) - expected).max()
    allowed = ROUNDING if scale < ZERO else tolerance * scale
    assert error <= allowed, (name, outputs[name], expected)
  expected = {name: arrays[case["grads"][name]] for name in gradients}
  # A gradient that is exactly zero (of a bias before batch norm) has rounding
  # errors of the size of the other gradients.
  largest = max((np.abs(array).max() for array in expected.values()), default=0)
  for name, array in expected.items():
    error = np.abs(np.asarray(gradients[name], np.float64) - array).max()
    allowed = case["rtol"]["grad_of_max"] * np.abs(array).max() + 1e-6 * largest
    if largest < ZERO:
      allowed = ROUNDING
    assert error <= allowed, (name, error, allowed)

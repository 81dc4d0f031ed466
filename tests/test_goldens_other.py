"""Adapters of golden cases on other cases, which no golden file has.

tests/public_forms.py says what public code computes; here it is compared with
the golden values first. tests/other_cases.py has the cases.
"""

import collections
import functools
import re

import jax
import numpy as np
import pytest
from goldens._check import adapters, compare, program
from test_goldens import ARRAYS, CASES, has_arbitrary_signs

_WHY = "other cases are computed with PyTorch: pip install kdjax[parity]"
pytest.importorskip("torch", reason=_WHY)

import other_cases  # noqa: E402
import public_forms  # noqa: E402

RECIPES = other_cases.recipes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_public_form_gives_the_golden_values(case):
  if has_arbitrary_signs(case):
    pytest.skip("its signs are arbitrary")
  read = lambda entries, key: {
    name: ARRAYS[entry[key]] for name, entry in entries.items() if key in entry
  }
  expect = case["expect"]
  learned = [name for name, key in case["grads"].items() if key]
  outputs, gradients = public_forms.evaluate(
    case["method"],
    case["hyper"],
    read(case["inputs"], "key"),
    learned,
    read(expect, "cot"),
    listed="loss0" in expect,
    code=case["repo"],
  )
  compare(case, ARRAYS, outputs, gradients)


def test_every_adapter_has_three_other_cases():
  counts = collections.Counter(
    re.sub(r"\W", "_", recipe.method) for recipe in RECIPES
  )
  assert counts.keys() == adapters().keys()
  assert min(counts.values()) >= 3


@functools.cache
def evaluated(method):
  """recipe -> (case, arrays, outputs, gradients), by one program a method."""
  recipes = [recipe for recipe in RECIPES if recipe.method == method]
  built = [recipe.build() for recipe in recipes]
  runs, arguments = zip(*(program(*one) for one in built), strict=True)
  together = jax.jit(
    lambda arguments: [
      run(own) for run, own in zip(runs, arguments, strict=True)
    ]
  )
  results = zip(recipes, built, together(arguments), strict=True)
  return {recipe.name: (*one, *result) for recipe, one, result in results}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_an_adapter_runs_on_another_case(recipe):
  case, arrays, outputs, gradients = evaluated(recipe.method)[recipe.name]
  assert all(np.isfinite(array).all() for array in arrays.values())
  compare(case, arrays, outputs, gradients)

"""Golden values and gradients, computed by public implementations.

They are in the folder $KDJAX_GOLDENS, by default ../shared/goldens; its README
describes a case. `tests/goldens/` has one adapter per method, which calls kdjax
on a case.
"""

import json
import os
import pathlib

import numpy as np
import pytest
from goldens._check import compare, evaluate

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = pathlib.Path(
  os.environ.get("KDJAX_GOLDENS", ROOT.parent / "shared" / "goldens")
)

# method -> why kdjax differs on purpose: METHODS.md, section 9.
DELIBERATE: dict[str, str] = {}


def load():
  """The cases of the folder, and its arrays."""
  if not (FOLDER / "goldens.json").exists():
    return [], {}
  cases = json.loads((FOLDER / "goldens.json").read_text())["cases"]
  return cases, np.load(FOLDER / "goldens.npz")


CASES, ARRAYS = load()


def has_arbitrary_signs(case):
  """Whether it is KDSVD without fixed signs, which differs by precision."""
  return case["method"] == "kdsvd" and case["rtol"]["loss"] > 1e-3


@pytest.mark.skipif(not CASES, reason=f"no golden values in {FOLDER}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_kdjax_gives_the_value_and_gradient_of_the_public_code(case):
  if has_arbitrary_signs(case):
    pytest.skip("its signs are arbitrary")
  if case["method"] in DELIBERATE:
    pytest.skip(DELIBERATE[case["method"]])
  compare(case, ARRAYS, *evaluate(case, ARRAYS))


@pytest.mark.skipif(not CASES, reason=f"no golden values in {FOLDER}")
def test_every_deliberate_difference_has_a_case():
  assert DELIBERATE.keys() <= {case["method"] for case in CASES}

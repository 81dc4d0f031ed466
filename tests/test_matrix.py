"""Every method runs between any two networks, or names two that do.

The cells are methods, teachers and students of `matrix.py`. The guide in
kdjax/methods/README.md has the table of all of them.
"""

import functools
import pathlib
import re
import sys

import matrix
import numpy as np
import pytest

from kdjax import registry
from kdjax.config import bridges
from kdjax.errors import UserError
from kdjax.training import workdir

GUIDE = pathlib.Path(registry.PACKAGE) / "methods" / "README.md"
METHODS = registry.names("methods")
LEAST = 60
# Every so many cells are run in the first tier, and in the second.
STEP, SLOW_STEP = 37, 5

# Real steps: of every way in which layers are brought together.
STEPPED = (
  ("fitnet", "text_transformer", "image_cnn"),
  ("at", "vit", "image_cnn"),
  ("hidden_states", "image_cnn", "vit"),
  ("reviewkd", "bert", "text_cnn"),
  ("semckd", "fusion", "audio_cnn"),
  ("self_distillation", "bilstm", "text_cnn"),
  ("ft", "vit", "image_cnn"),
  ("simkd", "fusion", "sensors"),
  ("ofd", "audio_cnn", "vit"),
  ("irg", "sensors", "text_cnn"),
)


@pytest.fixture(scope="module", autouse=True)
def held():
  matrix.hold()


def table():
  """method -> teacher -> letters of the students with which it runs."""
  text = GUIDE.read_text().partition(matrix.START)[2].partition(matrix.END)[0]
  rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.MULTILINE)
  return {
    name: dict(
      zip(matrix.TEACHERS, map(str.strip, cells.split("|")), strict=True)
    )
    for name, cells in rows
  }


def cells():
  """Every cell."""
  return [(method, *pair) for method in METHODS for pair in matrix.pairs()]


def check(cell, outcome, known):
  """Checks that a cell runs as the guide says, or is refused by a sentence.

  Args:
    cell: (method, teacher, student).
    outcome: a cell -> None or its refusal.
    known: from `table`.
  """
  method, teacher, student = cell
  letters = known.get(method, {}).get(teacher)
  runs = letters is None or matrix.LETTERS[student] in letters
  found = outcome(cell)
  assert (found is None) == runs, f"{cell}: the guide has {letters}; {found}"
  if found is not None:
    assert matrix.reason(found), f"{cell} is refused by: {found}"
    named = matrix.alternatives(found)
    assert len({*named} & {*METHODS} - {method}) == 2, (
      f"The refusal of {cell} must name two other methods: {found}"
    )
    for name in named:
      assert outcome((name, teacher, student)) is None, (
        f"The refusal of {cell} names '{name}', which is refused there too."
      )


def test_eighty_cells_are_as_the_guide_says():
  known = table()
  # A step that is prime to the number of pairs: every method, and every pair.
  chosen = cells()[::STEP]
  assert len(chosen) >= 80
  assert len({method for method, *_ in chosen}) == len(METHODS)
  outcome = functools.cache(lambda cell: matrix.outcome(*cell))
  for cell in chosen:
    check(cell, outcome, known)


@pytest.mark.slow
def test_one_cell_of_five_runs_or_names_two_methods_that_do_as_the_guide_says():
  # `python tests/test_matrix.py` runs all, and writes the table.
  known = table()
  outcome = functools.cache(lambda cell: matrix.outcome(*cell))
  for cell in cells()[::SLOW_STEP]:
    check(cell, outcome, known)


def test_every_pair_has_many_methods():
  known = table()
  for teacher, student in matrix.pairs():
    letter, by_method = matrix.LETTERS[student], {}
    for method in METHODS:
      letters = known.get(method, {}).get(teacher)
      by_method[method] = letters is None or letter in letters
    runs = [method for method, does in by_method.items() if does]
    assert len(runs) >= LEAST, f"{teacher}, {student}: {len(runs)} methods"


@pytest.mark.slow
@pytest.mark.parametrize("cell", STEPPED, ids="-".join)
def test_a_cell_trains(cell):
  losses = matrix.steps(*cell)
  assert losses and np.isfinite(list(losses.values())).all(), losses


def layers_of(plain, stage, term, argument):
  """The layers that an argument reads, as the config layer knows them."""
  config = bridges.layers
  found = {}
  for key in ("student", "teacher"):
    network = bridges._config_of(plain, stage, key)
    for layer in config.of(network) if network else ():
      found[f"{key}/{layer.output}"] = layer
  return [
    found[text]
    for text in bridges.places.texts(term["reads"].get(argument, ()))
    if text in found
  ]


@pytest.mark.slow
@pytest.mark.parametrize("pair", matrix.pairs(), ids="-".join)
def test_no_positions_are_compared_that_do_not_correspond_without_a_bridge(
  pair,
):
  """A term that reads both networks' layers is of one modality, or bridged."""
  seen = 0
  for method in METHODS:
    plan = matrix.experiment(method, *pair)
    try:
      plain = workdir.resolve(plan)
    except UserError:
      continue
    for name in plain["order"][1:]:
      for key, term in plain["stages"][name]["terms"].items():
        ours = layers_of(plain, name, term, "student")
        theirs = layers_of(plain, name, term, "teacher")
        if not ours or not theirs or term["loss"] in bridges.ways.OF_EXAMPLES:
          continue
        seen += 1
        one = {(it.kind, it.modality) for it in (*ours, *theirs)}
        if len({modality for _, modality in one}) > 1:
          ways = {it["by"] for it in term["bridges"].values()}
          assert ways == {"pool"}, (method, key, one)
        elif len({kind for kind, _ in one}) > 1:
          assert term["bridges"], (method, key, one)
  assert seen > 10


if __name__ == "__main__":
  matrix.hold()
  whole = {cell: matrix.outcome(*cell) for cell in cells()}
  text = GUIDE.read_text()
  before, _, rest = text.partition(matrix.START)
  after = rest.partition(matrix.END)[2]
  middle = "\n".join(["", *matrix.block(whole), ""])
  GUIDE.write_text(f"{before}{matrix.START}{middle}{matrix.END}{after}")
  sys.exit(0)

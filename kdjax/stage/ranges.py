"""Ranges of numbers in a stage's terms and heads, declared once by name.

The last words of an option's name give its range, in every loss and head, also
in schedules and grids; every number is finite.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kdjax.config import fields
from kdjax.errors import UserError


class Range(NamedTuple):
  """The numbers that an option may be."""

  text: str
  least: float = -math.inf
  most: float = math.inf
  above: bool = False  # whether the least itself is too small
  below: bool = False  # whether the most itself is too large

  def has(self, value: float) -> bool:
    """Whether a number is in the range."""
    low = value > self.least if self.above else value >= self.least
    high = value < self.most if self.below else value <= self.most
    return math.isfinite(value) and low and high


POSITIVE = Range("a finite number above 0", 0.0, above=True)
NOT_NEGATIVE = Range("a finite number of at least 0", 0.0)
SHARE = Range("a number from 0 to 1", 0.0, 1.0)
RATE = Range("a number from 0 to below 1", 0.0, 1.0, below=True)
FINITE = Range("a finite number")

# By the last words of an option's name.
RANGES = {
  "temperature": POSITIVE,
  "temperatures": POSITIVE,
  "label_smoothing": SHARE,
  "weight": NOT_NEGATIVE,
  "weights": NOT_NEGATIVE,
  "share": SHARE,
  "ratio": SHARE,
  "rare": SHARE,
  "correct": SHARE,
  "beta": RATE,
  "eps": NOT_NEGATIVE,
  "epsilon": NOT_NEGATIVE,
  "bandwidth": POSITIVE,
  "delta": POSITIVE,
  "width": POSITIVE,
  "lowest": POSITIVE,
  "variance": POSITIVE,
  "order": POSITIVE,
  "exponent": POSITIVE,
}

# Where it is a width, as a share of another one, it may be larger.
OF_HEADS = {"share": POSITIVE}

# Numbers of an optimizer.
OPTIMIZER = {
  "learning_rate": NOT_NEGATIVE,
  "weight_decay": NOT_NEGATIVE,
  "clip_norm": NOT_NEGATIVE,
  "momentum": SHARE,
  "b1": RATE,
  "b2": RATE,
  "eps": NOT_NEGATIVE,
}


def check(name: str, stage: Mapping[str, Any]) -> None:
  """Checks the numbers of a stage's terms, heads, grid and optimizer.

  Args:
    name: of the stage.
    stage: its config.

  Raises:
    UserError: a number is out of its range, or a schedule or grid has one.
  """
  path = f"stages.{name}"
  for term, spec in stage["terms"].items():
    at = f"{path}.terms.{term}"
    options = fields.without(spec, ("loss", "reads", "heads", "targets"))
    for key, value in options.items():
      _check(f"{at}.{key}", value, range_of(key))
    for argument, head in spec["heads"].items():
      for key, value in fields.without(head, ("name", "of")).items():
        allowed = OF_HEADS.get(key, range_of(key))
        _check(f"{at}.heads.{argument}.{key}", value, allowed)
  for key, values in stage["grid"].items():
    _check(f"{path}.grid['{key}']", values, range_of(key.split("/")[-1]))
  for key, allowed in OPTIMIZER.items():
    if key in stage["optimizer"]:
      _check(f"{path}.optimizer.{key}", stage["optimizer"][key], allowed)
  _check(f"{path}.ema_decay", stage["ema_decay"], RATE)


def range_of(option: str) -> Range:
  """The range of an option of a loss or head."""
  words = option.split("_")
  ends = ("_".join(words[start:]) for start in range(len(words)))
  return next((RANGES[end] for end in ends if end in RANGES), FINITE)


def _check(at: str, value: Any, allowed: Range) -> None:
  for where, number in _numbers(value):
    if not allowed.has(number):
      of_schedule = " A schedule has it at its start or end." if where else ""
      raise UserError(
        f"{at}{where} is {number:g}.", f"Expected {allowed.text}.{of_schedule}"
      )


def _numbers(value: Any) -> Iterator[tuple[str, float]]:
  """Every number in an option's value, with where it is in a schedule."""
  if isinstance(value, Mapping) and "kind" in value:
    for key, number in _ends(value).items():
      yield f".{key}", number
  elif isinstance(value, Sequence) and not isinstance(value, str):
    for one in value:
      yield from _numbers(one)
  elif isinstance(value, float | int) and not isinstance(value, bool):
    yield "", float(value)


def _ends(schedule: Mapping[str, Any]) -> dict[str, float]:
  """The first and last values of a schedule; between them it is monotonic."""
  kind, value = schedule["kind"], float(schedule["value"])
  ends = {"value": value}
  if schedule["warmup"]:
    ends["warmup (its first value)"] = 0.0
  if kind in ("linear", "cosine"):
    ends["end"] = float(schedule["end"])
  if kind == "step" and schedule["milestones"]:
    count = len(schedule["milestones"])
    ends["factor (its last value)"] = value * float(schedule["factor"]) ** count
  if kind == "decay":
    count = max(1, int(1 / max(float(schedule["every"]), 1e-3)))
    ends["factor (its last value)"] = value * float(schedule["factor"]) ** count
  return ends

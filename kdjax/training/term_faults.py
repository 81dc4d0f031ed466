"""Sentences about numbers that are not finite, in the arguments of a term."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from kdjax.step.terms import Term

# Probabilities below this are not given as a reason.
SMALL = 1e-12

# What to do about a class at -inf in a loss that is no loss over classes.
SELECT = (
  " This loss is not defined there: pick the other classes with a head 'select'"
  " on both sides."
)


class Examples:
  """How the examples and classes of a batch are called.

  Args:
    batch: on the host.
    classes: the names of the classes, or ().
  """

  def __init__(self, batch: Mapping[str, np.ndarray], classes: Sequence[str]):
    self.batch, self.classes = batch, classes

  def example(self, row: int) -> str:
    """The row of the batch, and the index of the example in its split."""
    index = self.batch.get("index")
    return f"example {row}" + (
      f" (index {index[row]})" if index is not None else ""
    )

  def label(self, number: int) -> str:
    """A class by its number, and its name where there is one."""
    known = 0 <= number < len(self.classes)
    name = self.classes[number] if known else ""
    named = f" ('{name}')" if name not in ("", str(number)) else ""
    return f"class {number}{named}"


def in_arguments(
  term: Term, arrays, counts, values, gradients, names: Examples
) -> Iterator[str]:
  """Why the value of a term is not finite."""
  del gradients
  found = first_place(values, counts) if np.ndim(values) else ()
  if (np.ndim(values) and not found) or np.all(np.isfinite(values)):
    return
  fault = f"the term '{term.name}' is {_word(values[tuple(found)])}"
  rows = np.zeros(len(names.batch["valid"]), bool)
  rows[found[0] if found else slice(None)] = True
  if np.ndim(values) == 0:
    rows &= counts
  if found:
    yield from _excluded(arrays, found, fault, names)
  for name in term.reads:
    parts = arrays.get(name)
    for array, address in zip(
      jax.tree.leaves(parts), term.addresses(name), strict=False
    ):
      bad = first_place(array, rows) if array.shape[:1] == rows.shape else None
      if bad:
        row, *place = map(int, bad)
        where = f" at {place}" if place else ""
        yield (
          f"'{address}', which the term reads as '{name}', of"
          f" {names.example(row)} is {array[bad]}{where}: {fault}."
          + (SELECT if np.isneginf(array[bad]) else "")
        )
  largest = max(
    (
      float(np.max(np.abs(leaf)))
      for leaf in jax.tree.leaves(arrays)
      if leaf.dtype.kind == "f" and leaf.size
    ),
    default=0.0,
  )
  of = f" for {names.example(int(found[0]))}" if found else ""
  yield (
    f"All that the term reads is finite, and {fault}{of}: the largest number"
    f" that it reads is {largest:.3g}. Scale what it reads, or change its"
    " options."
  )


def _excluded(arrays, found, fault: str, names: Examples) -> Iterator[str]:
  """Classes at -inf in the student that a label or a teacher has."""
  student, at = arrays.get("student"), tuple(map(int, found))
  if getattr(student, "ndim", 0) != len(at) + 1:
    return
  logits, which = student[at], names.example(at[0])
  label = arrays.get("label")
  if getattr(label, "shape", None) == student.shape[:-1]:
    number = int(label[at])
    if number >= len(logits):
      yield (
        f"The label of {which} is {number}, and the student has"
        f" {len(logits)} classes: {fault}. Expected a label below"
        f" {len(logits)}."
      )
    elif np.isneginf(logits[number]):
      yield (
        f"The student's logit of {names.label(number)}, the label of {which},"
        f" is -inf: {fault}. Give the student the class, or take the examples"
        " of the class out."
      )
  for name in ("teacher", "target"):
    other = arrays.get(name)
    if getattr(other, "shape", None) != student.shape:
      continue
    p = np.asarray(other[at], np.float64)
    if name == "teacher":
      p = np.exp(p - np.max(p))
      p /= np.sum(p)
    lost = np.isneginf(logits) & (p > SMALL)
    if np.any(lost):
      number = int(np.argmax(np.where(lost, p, 0.0)))
      yield (
        f"The student's logit of {names.label(number)} of {which} is -inf and"
        f" the {name} gives it {p[number]:.3g}: {fault}. Exclude the class on"
        " both sides, or on neither."
      )


def in_gradients(term: Term, values, gradients) -> Iterator[str]:
  """Terms that are finite, with a gradient that is not."""
  if not np.all(np.isfinite(values)):
    return
  for name, tree in gradients.items():
    if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(tree)):
      yield (
        f"The term '{term.name}' is finite, and its gradient with respect to"
        f" '{name}' is not. Please report it as a fault of the loss, with the"
        " options of the term."
      )


def _word(value: Any) -> str:
  """How a value that is not finite is called."""
  return "not a number" if np.isnan(value) else "infinite"


def first_place(array: Any, counts: np.ndarray) -> tuple[int, ...] | None:
  """The first place of a number that is not finite, in the rows that count."""
  array = np.asarray(array)
  if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
    return None
  bad = ~np.isfinite(array.astype(np.float32))
  counts = np.asarray(counts)
  bad &= counts.reshape(counts.shape + (1,) * (bad.ndim - counts.ndim))
  return tuple(np.argwhere(bad)[0]) if np.any(bad) else None

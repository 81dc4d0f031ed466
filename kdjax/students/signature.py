"""What a student takes and gives; as JSON it travels with an exported file."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.students.inputs import Input, names_of

# How a result is made of what metrics read: probabilities of one class, or of
# each class by itself; a value as it is; an embedding of length 1; ids of a
# text, which ends before the first 0.
SOFTMAX, SIGMOID, VALUE = "softmax", "sigmoid", "value"
EMBEDDING, WRITTEN = "embedding", "text"
# By the metrics that measure it: the output's name, and the kind.
RESULTS = {
  "classification": ("probabilities", SOFTMAX),
  "multilabel": ("probabilities", SIGMOID),
  "regression": ("value", VALUE),
  "retrieval": ("retrieval", EMBEDDING),
  "captions": ("written", WRITTEN),
}


@dataclasses.dataclass(frozen=True)
class Result:
  """One result of a student.

  Attributes:
    name: of the output.
    kind: "softmax" or "sigmoid", probabilities of classes; "value";
      "embedding", which is compared with others by cosine; or "text", token
      ids.
    classes: their names; () where they have none.
    label: the key of the batch that it predicts; "" where it is not one. Ids of
      a text are of this key's tokenizer.
  """

  name: str
  kind: str
  classes: tuple[str, ...] = ()
  label: str = ""


@dataclasses.dataclass(frozen=True)
class Signature:
  """Everything that a student takes and gives.

  Attributes:
    name: experiment and stage.
    inputs: its modalities.
    results: what it says.
    outputs: names of all arrays that it can give, results included.
  """

  name: str
  inputs: tuple[Input, ...]
  results: tuple[Result, ...]
  outputs: tuple[str, ...]

  def __getitem__(self, key: str) -> Input:
    for it in self.inputs:
      if it.key == key:
        return it
    raise UserError(
      f"The student '{self.name}' has no input '{key}'.",
      exists=[it.key for it in self.inputs],
      near=key,
    )

  @property
  def names(self) -> tuple[str, ...]:
    """The arrays of all inputs, in order: also "mask/text", "has/text"."""
    return tuple(name for it in self.inputs for name in names_of(it))

  def without(self, keys: Sequence[str]) -> "Signature":
    """The signature of a student that never gets some of its inputs.

    Raises:
      UserError: it needs one of them, or no input is left.
    """
    for key in keys:
      if not self[key].optional:
        raise UserError(
          f"The student '{self.name}' needs '{key}'.",
          "Only an input that may be missing can be left out.",
          exists=[it.key for it in self.inputs if it.optional],
        )
    left = tuple(it for it in self.inputs if it.key not in keys)
    if not left:
      raise UserError(
        f"Without {', '.join(keys)} the student '{self.name}' has no input."
      )
    return dataclasses.replace(self, inputs=left)

  def batch(self, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a batch, checked, with every mask and presence.

    Args:
      given: modality -> a batch or one example; also `mask/<modality>`, False
        at padding, and `has/<modality>`, False where an example lacks it. A
        modality that may be missing may be left out.

    Returns:
      {"image": .., "mask/text": .., "has/text": ..}: an entry for all.

    Raises:
      UserError: a key is unknown, one is missing, or an array does not fit.
    """
    for key in given:
      if key not in self.names:
        raise UserError(
          f"The student '{self.name}' has no input '{key}'.",
          exists=self.names,
          near=key,
        )
    arrays = {
      it.key: it.checked(given[it.key]) for it in self.inputs if it.key in given
    }
    rows = {key: len(array) for key, array in arrays.items()}
    if len({*rows.values()}) != 1:
      what = ", ".join(f"{count} of '{key}'" for key, count in rows.items())
      raise UserError(
        f"The student '{self.name}' got {what or 'no input'}.",
        "Expected one input or more, with equally many examples.",
        exists=[it.key for it in self.inputs],
      )
    (count,) = {*rows.values()}
    if not count:
      raise UserError(
        f"The student '{self.name}' got a batch without examples.",
        "Expected one or more.",
      )
    batch = {}
    for it in self.inputs:
      batch |= self._one(it, arrays.get(it.key), given, count)
    return batch

  def _one(self, it: Input, array, given, count) -> dict[str, np.ndarray]:
    """An input with its mask and presence."""
    made = {}
    if array is None and not it.optional:
      raise UserError(
        f"The student '{self.name}' needs '{it.key}'.", f"Expected {it}."
      )
    missing = array is None
    made[it.key] = np.zeros((count, *it.shape), it.dtype) if missing else array
    if it.mask is not None:
      mask = given.get(f"mask/{it.key}", not missing)
      made[f"mask/{it.key}"] = _booleans(
        f"mask/{it.key}", mask, (count, *it.mask)
      )
    if it.optional:
      has = given.get(f"has/{it.key}", not missing)
      made[f"has/{it.key}"] = _booleans(f"has/{it.key}", has, (count,))
    return made

  def to_json(self) -> dict[str, Any]:
    """Plain values, for a file."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> "Signature":
    """The signature that `to_json` wrote.

    Raises:
      UserError: it is not one.
    """
    try:
      inputs = [
        Input(
          **{
            **it,
            "shape": tuple(it["shape"]),
            "mask": None if it["mask"] is None else tuple(it["mask"]),
          }
        )
        for it in values["inputs"]
      ]
      results = [
        Result(it["name"], it["kind"], tuple(it["classes"]), it["label"])
        for it in values["results"]
      ]
      return cls(
        values["name"], tuple(inputs), tuple(results), tuple(values["outputs"])
      )
    except (KeyError, TypeError) as error:
      raise UserError(
        f"No signature of a student: {error}.", "Export the student again."
      ) from None


def _booleans(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
  array = np.asarray(value)
  if array.dtype != bool:
    raise UserError(f"'{name}' is {array.dtype}.", "Expected bool.")
  try:
    return np.ascontiguousarray(np.broadcast_to(array, shape))
  except ValueError:
    raise UserError(
      f"'{name}' has the shape {[*array.shape]}.", f"Expected {[*shape]}."
    ) from None

"""Which layers correspond, and how those that do not are brought together."""

from collections.abc import Mapping
from typing import Any

from kdjax.config.layers import TOKENS, Layer

# Losses of relations between examples: each side may have any form.
OF_EXAMPLES = ("sp", "irg_edge", "irg_transform")
# Losses that mean nothing with one position, by the option and its value with
# which they do: "" is always.
OF_POSITIONS = {
  "afd": "",
  "affinity": "",
  "at": "",
  "attention_cross_entropy": "",
  "attention_mse": "",
  "cwd": ("norm", "channel"),
  "ft": ("form", "map"),
  "kdsvd": "",
  "minilm": "",
  "mmd": "",
  "nst": "",
}
# Kinds of positions over time, and the groups of outputs of which every layer
# may have another number of frames.
OF_TIME = {"steps", "frames", "spectrum"}
OF_STAGES = {"stage", "preact"}
# Of the first token, which is [CLS] in Transformers alone.
OF_FIRST = ("pkd",)


def needs_positions(term: Mapping[str, Any]) -> bool:
  """Whether the loss of a term means nothing with one position."""
  if term["loss"] not in OF_POSITIONS:
    return False
  when = OF_POSITIONS[term["loss"]]
  return not when or term.get(when[0]) == when[1]


def between(
  ours: Layer, theirs: Layer, form: str, loss: str = ""
) -> str | None:
  """How two layers are brought together; None is as they are.

  Args:
    ours: the student's layer.
    theirs: the teacher's.
    form: "map", "tokens" or "attention".
    loss: of the term.
  """
  kinds = {ours.kind, theirs.kind}
  if ours.modality != theirs.modality or "vector" in kinds:
    return "pool"
  if form == "attention":
    return None if len(kinds) == 1 else "pool"
  grids = kinds <= {"map", "patches"} or kinds == {"spectrum"}
  natural = {"map", "spectrum"} if form == "map" else {*TOKENS}
  names = {layer.group.rpartition("/")[2] for layer in (ours, theirs)}
  if kinds == {"frames"} and names & OF_STAGES:
    natural = set()
  if len(kinds) == 1 and kinds <= natural:
    blocks = {ours.group, theirs.group} == {"block"}
    return "pool" if loss in OF_FIRST and not blocks else None
  if loss in OF_FIRST:
    return "pool"
  if grids:
    return "grid"
  lines = kinds == {"words"} or kinds <= OF_TIME
  return "line" if lines else "pool"

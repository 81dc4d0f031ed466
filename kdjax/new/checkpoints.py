"""A published checkpoint as the teacher's encoder of its modality."""

import dataclasses

from kdjax import pretrained
from kdjax.errors import UserError
from kdjax.new import columns as known
from kdjax.new.facts import Facts, Modality

# network -> the kind of what it reads, and its key beside the student's.
KINDS = {
  "bert": ("text", "pieces"),
  "vit": ("image", "pixels"),
  "dinov2": ("image", "pixels"),
  "resnet": ("image", "pixels"),
}
# Pieces of a word, and the most of a text.
PIECES, LENGTH = 2, 128
# The side of a picture where a checkpoint states none.
SIDE = 224


def adopted(
  facts: Facts, teacher: tuple[str, ...], path: str
) -> tuple[Facts, tuple[str, ...], str]:
  """Data with a column that a checkpoint reads, and the teacher's modalities.

  The column is read twice: as the student reads it, and with the checkpoint's
  own tokenizer or size.

  Args:
    facts: of the data.
    teacher: the modalities that the teacher reads.
    path: a folder, "package:name/folder" or "name@revision" of the hub.

  Returns:
    Facts, the teacher's modalities, and a sentence.

  Raises:
    UserError: the checkpoint is of another kind than the teacher's modalities,
      or the data are no table.
  """
  name = pretrained.network_of(path)
  if name not in KINDS:
    raise UserError(
      f"The checkpoint '{path}' is a '{name}', which `kdjax new` does not"
      " place.",
      "kdjax/pretrained/README.md says how a config names it. It places:",
      exists=KINDS,
    )
  kind, own = KINDS[name]
  key = next((it for it in teacher if facts.modalities[it].kind == kind), None)
  if key is None:
    raise UserError(
      f"The checkpoint '{path}' reads {kind}, and the teacher has"
      f" {', '.join(teacher)}.",
      "Name a modality of its kind in --teacher.",
    )
  columns = dict(facts.options.get("columns") or {})
  if key not in columns:
    raise UserError(
      f"--pretrained needs a table, and '{facts.title}' is read by"
      f" '{facts.name}'.",
      "Write the network into the config: kdjax/pretrained/README.md.",
    )
  names = ", ".join(known.parsed(key, columns[key]).names)
  options, shape = _read_as(facts, key, name, path)
  columns[own] = {"column": f"{kind}:{names}", **options}
  missing = facts.modalities[key].missing
  modality = Modality(own, kind, shape, missing, (name, path))
  changed = dataclasses.replace(
    facts,
    options={**facts.options, "columns": columns},
    modalities={**facts.modalities, own: modality},
  )
  keys = tuple(own if it == key else it for it in teacher)
  said = (
    f"Checkpoint: '{path}' is the teacher's encoder of '{key}', held still; it"
    " runs once for each training example."
  )
  return changed, keys, said


def _read_as(
  facts: Facts, key: str, name: str, path: str
) -> tuple[dict, tuple[int, ...]]:
  """Options of the column that a checkpoint reads, and an example's shape."""
  if KINDS[name][0] == "text":
    length = min(LENGTH, PIECES * facts.modalities[key].shape[-1])
    return {"tokenizer": path, "length": length}, (length,)
  side = pretrained.describe(path, name).get("image_size", SIDE)
  height, width = (side, side) if isinstance(side, int) else side
  options = {"image_size": (height, width), "channels": 3}
  return options, (height, width, 3)

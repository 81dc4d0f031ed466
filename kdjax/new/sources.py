"""A folder, a table, arrays or TFDS, as options of a data set."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from kdjax import registry
from kdjax.data import _layout, _options, manifest
from kdjax.data._manifest import records as records_of
from kdjax.data._splits import SPLITS
from kdjax.data._whole import Options
from kdjax.errors import UserError
from kdjax.new import columns as known
from kdjax.new import guessing, originals, sensors
from kdjax.preprocess import tables

# Shares that are drawn for validation, and for test; the first one that has
# enough labels counts.
SHARES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35)
# Labelled examples to measure on, if shares of up to ENOUGH have so many.
MEASURED, ENOUGH = 50, 0.2
# Up to so many people are divided into folds.
FEW_PEOPLE, FOLDS = 30, 5
# From this share on, texts are said to name their class.
NAMED = 0.3

# What `manifest` does with broken records while they are counted.
COUNTING = {"on_error": "skip", "most_broken": 1.0}


def find(
  path: str, columns: Mapping[str, Any] | None, large: bool
) -> tuple[str, dict[str, Any], str, list[str]]:
  """(data set, options, column of the label, remarks) of a path."""
  if not os.path.exists(path):
    return ("tfds", _catalogue(path, large), "", [])
  recordings = None if columns else sensors.find(path)
  if recordings:
    label = recordings.options["columns"]["label"]
    label = label if isinstance(label, str) else label["field"]
    return "manifest", recordings.options, label, [*recordings.remarks]
  name, options = _layout.discover(path)
  if name != "manifest":
    stated = {"columns": dict(columns)} if columns else {}
    return name, options | stated, "", []
  chosen = Options.of(_options.chosen(manifest.load, options))
  table = records_of(chosen)
  if not table.rows:
    raise UserError(f"The table '{chosen.path}' has no record.")
  guess = guessing.guess(table, columns)
  options["columns"] = guess.columns
  if guess.group:
    options["group_column"] = guess.group
  options = originals.rooted(options, table)
  sizes = originals.sizes(options, table, large)
  remarks = [*guess.remarks, *_leaks(guess, table)]
  return name, {**options, **sizes}, guess.label, remarks


def _catalogue(path: str, large: bool) -> dict[str, Any]:
  """Options of a set of TFDS."""
  if os.sep in path.partition("/")[2] or path.startswith((".", "/", "~")):
    raise UserError(
      f"No file or folder '{path}'.",
      "Expected a folder, a table, an .npz, or a name of the TFDS catalogue.",
    )
  options: dict[str, Any] = {"dataset": path}
  tfds = registry.find("data", "tfds")
  try:
    spec = tfds.spec(**options)
  except UserError as error:
    if "image_size" not in str(error):
      raise UserError(
        f"'{path}' is no file or folder, and no set of TFDS either. {error}"
      ) from None
    side = 128 if large else 64
    return options | {"image_size": (side, side)}
  side = max(
    (max(it.shape[:2]) for it in spec.values() if len(it.shape) == 3), default=0
  )
  return options | ({"image_size": (64, 64)} if side > 64 and not large else {})


def _leaks(guess: guessing.Guess, table: tables.Table) -> list[str]:
  """A sentence for each text that names its class."""
  sentences = []
  for key, text in guess.columns.items():
    column = known.parsed(key, text)
    if column.kind != "text" or "label" not in guess.columns:
      continue
    pairs = [
      (row.cells[column.names[0]], str(row.cells[guess.label]))
      for row in table.rows[: known.SAMPLE]
      if column.names[0] in row.cells and guess.label in row.cells
    ]
    share = known.named_in(pairs)
    if share >= NAMED:
      sentences.append(
        f"'{column.names[0]}' names the class in {100 * share:.0f} % of the"
        " records: a teacher that reads it knows the label, and its outputs"
        " tell a student little more than the label does."
      )
  return sentences


def divided(data: Any, name: str, options: dict[str, Any]) -> dict[str, Any]:
  """Options whose drawn splits have enough labels to measure on.

  Raises:
    UserError: a split stays empty, as of very few records or people.
  """
  if name == "tfds":
    return options
  folds = _folds(data, options) if options.get("group_column") else None
  if folds:
    return options | {"folds": folds}
  skipping = COUNTING if name == "manifest" else {}
  found, error = None, None
  for share in SHARES:
    shares = {} if share == SHARES[0] else {"validation": share, "test": share}
    try:
      sizes = [
        int(np.sum(answered(data.load(split, **options, **shares, **skipping))))
        for split in SPLITS
      ]
    except UserError as empty:  # a split without any record
      error = error or empty
      continue
    if min(sizes) > 0 and (found is None or share <= ENOUGH):
      found = options | shares
    if found is not None and min(sizes[1:]) >= MEASURED:
      break
  if found is None and error is not None:
    raise error
  return _effective(data, found or options, skipping)


def _folds(data: Any, options: dict[str, Any]) -> int:
  """The number of folds if people are few; 0 if they need none.

  Shares of few people, drawn by a hash, may be empty or much too large; folds
  have equally many. Each seed tests on other people.
  """
  people = len(data.group_names(**options))
  folds = min(FOLDS, people)
  if not 3 <= people <= FEW_PEOPLE:
    return 0
  try:
    labelled = [
      np.sum(answered(data.load(split, seed, **options, folds=folds)))
      for seed in range(folds)
      for split in SPLITS
    ]
  except UserError:  # a column states the splits, or a fault
    return 0
  return folds if min(labelled) else 0


def _effective(
  data: Any, options: dict[str, Any], skipping: Mapping[str, Any]
) -> dict[str, Any]:
  """Options without the share of a split that the data state."""
  for split in SPLITS[1:]:
    if split in options:
      rest = {key: it for key, it in options.items() if key != split}
      sizes = [
        len(data.load(split, **it, **skipping)) for it in (options, rest)
      ]
      if sizes[0] == sizes[1]:
        options = rest
  return options


def answered(source: Any) -> np.ndarray:
  """Which examples have a label or a target: bool [N]."""
  there = getattr(getattr(source, "_records", None), "values", {})
  if "has/target" in there:
    return there["has/target"]
  return source.labelled


def title(path: str) -> str:
  """A short name of the data."""
  base = os.path.basename(os.path.abspath(path))
  return known.key_of(base.partition(".")[0]).lower()

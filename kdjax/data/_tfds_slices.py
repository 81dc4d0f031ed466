"""The splits of a TFDS data set as slices of it."""

from collections.abc import Mapping

import numpy as np

from kdjax.data import _splits, _tfds
from kdjax.data._splits import SPLITS
from kdjax.errors import UserError


def slices(
  dataset: str, root: str, splits: Mapping[str, str] | None, share: float
) -> dict[str, tuple[str, np.ndarray]]:
  """Each split as a slice of TFDS, and its records' indices in the whole set.

  Args:
    dataset: its name.
    root: the folder of TFDS data sets.
    splits: split -> slice, as "train[:90%]"; None takes the data set's splits.
    share: of training, for a split that the data set lacks.

  Raises:
    UserError: a slice does not exist, or two slices share records.
  """
  import tensorflow_datasets as tfds

  stored = _tfds.prepared(dataset, root).info.splits
  if splits is None:
    splits = _default(
      dataset, {name: info.num_examples for name, info in stored.items()}, share
    )
  if {*splits} != {*SPLITS}:
    raise UserError(
      f"splits has the keys {', '.join(splits)}.",
      "Expected all three.",
      exists=SPLITS,
    )
  starts, start = {}, 0
  for name, info in stored.items():
    starts[name], start = start, start + info.num_examples
  divided = {}
  for split, spec in splits.items():
    try:
      parts = tfds.core.ReadInstruction.from_spec(spec).to_absolute(stored)
    except (ValueError, AssertionError, KeyError) as error:
      raise UserError(
        f"splits: {split}='{spec}' is no slice of '{dataset}'.",
        exists=stored,
        near=spec,
      ) from error
    rows = []
    for part in parts:
      end = stored[part.splitname].num_examples
      begin, end = part.from_ or 0, end if part.to is None else part.to
      rows.append(starts[part.splitname] + np.arange(begin, end))
    divided[split] = (spec, np.concatenate(rows).astype(np.int32))
  _check_disjoint(dataset, divided)
  return divided


def _check_disjoint(
  dataset: str, divided: Mapping[str, tuple[str, np.ndarray]]
) -> None:
  """Raises `UserError` if two of the three splits share records."""
  for first, second in (SPLITS[:2], SPLITS[1:], SPLITS[::2]):
    shared = np.intersect1d(divided[first][1], divided[second][1])
    if len(shared):
      raise UserError(
        f"splits: {first}='{divided[first][0]}' and"
        f" {second}='{divided[second][0]}' of '{dataset}' share"
        f" {len(shared)} records.",
        "Expected disjoint slices.",
      )


def _default(dataset: str, sizes: Mapping[str, int], share: float) -> dict:
  """Slices for a data set's own splits; records of its test never train."""
  own = {}
  for name in sizes:
    split = _splits.named(name)
    # "validation" before "dev", where a set has both.
    if split and (split not in own or name == split):
      own[split] = name
  if "train" not in own:
    raise UserError(
      f"'{dataset}' has no split 'train'.",
      "Set splits={'train': ..., 'validation': ..., 'test': ...}.",
      exists=sizes,
    )
  slices = {split: own[split] for split in SPLITS if split in own}
  if "test" not in slices and "validation" in slices:
    # As with ImageNet, where results are reported on the validation split.
    slices["test"] = slices.pop("validation")
  train = own["train"]
  end = sizes[train]
  for name in ("validation", "test"):
    if name not in slices:
      begin = end - max(1, round(share * sizes[train]))
      slices[name], end = f"{train}[{begin}:{end}]", begin
      slices["train"] = f"{train}[:{end}]"
  return slices

"""Texts of a step cut to one length: the smallest bucket that holds them all.

A text is as long as its column, and padding costs what words cost. Lengths are
known before anything is drawn, so a batch is cut to the smallest listed length
that holds its longest text. That is a matter of shapes: a step is compiled once
a bucket, and knows nothing of it.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from kdjax.errors import UserError
from kdjax.types import Source, Spec

# What is drawn for a step says how long its texts are by the shape of this.
SPAN = "span/"


def complete(
  given: Mapping[str, Sequence[int]], spec: Spec
) -> dict[str, tuple[int, ...]]:
  """The buckets of every modality, the length of its column the last.

  Args:
    given: modality -> lengths, increasing.
    spec: of an example.

  Raises:
    UserError: a modality that is no text of the data, or lengths that are none.
  """
  texts = [key for key in spec if _is_text(key, spec)]
  found = {}
  for modality, lengths in given.items():
    if modality not in texts:
      raise UserError(
        f"Buckets of '{modality}', which is no text of this data.",
        "A text is ids [T] with a mask/<modality> [T].",
        exists=texts,
        near=modality,
      )
    (full,) = spec[modality].shape
    told = f"The buckets of '{modality}' are {lengths}."
    if not isinstance(lengths, tuple | list) or not all(
      isinstance(one, int) and one > 0 for one in lengths
    ):
      raise UserError(told, "Expected lengths, such as (16, 32).")
    if any(one >= two for one, two in itertools.pairwise(lengths)):
      raise UserError(told, "Each must be more than the one before it.")
    if lengths and lengths[-1] > full:
      raise UserError(
        told, f"The texts of this data have {full} positions, and no more."
      )
    found[modality] = tuple(dict.fromkeys((*lengths, full)))
  return found


def _is_text(key: str, spec: Spec) -> bool:
  """Whether a key holds ids. Sounds are samples of fewer bits."""
  leaf, mask = spec[key], spec.get(f"mask/{key}")
  ids = leaf.dtype in (np.int32, np.int64) and len(leaf.shape) == 1
  return ids and mask is not None and mask.shape == leaf.shape


class Lengths:
  """How long the texts of a source are, and which bucket holds some of them.

  Args:
    source: examples.
    buckets: of `complete`.

  Raises:
    UserError: the source does not know its lengths.
  """

  def __init__(self, source: Source, buckets: Mapping[str, Sequence[int]]):
    self.buckets = dict(buckets)
    if buckets and not hasattr(source, "lengths"):
      raise UserError(
        f"Buckets of {', '.join(buckets)}, but a {type(source).__name__} gives"
        " no lengths.",
        "A source of texts in buckets has lengths(modality) -> int [N].",
      )
    self.of = {modality: source.lengths(modality) for modality in buckets}

  @property
  def total(self) -> Int[np.ndarray, "N"]:
    """Of each example, over all modalities that have buckets."""
    return np.sum([*self.of.values()], axis=0)

  def spans(
    self,
    position: Int[np.ndarray, "B"],
    partner: Int[np.ndarray, "B"] | None = None,
    mixed: Sequence[str] = (),
  ) -> dict[str, int]:
    """The bucket of every modality.

    Args:
      position: in the source, of a whole batch.
      partner: likewise, whom each is mixed with.
      mixed: the modalities that are.
    """
    found = {}
    for modality, buckets in self.buckets.items():
      lengths = self.of[modality]
      longest = lengths[position].max()
      if modality in mixed:
        longest = max(longest, lengths[partner].max())
      found[modality] = buckets[int(np.searchsorted(buckets, longest))]
    return found


def marked(spans: Mapping[str, int], size: int) -> dict[str, np.ndarray]:
  """Buckets as arrays of a batch, [size, bucket]: zeros, their shape counts."""
  return {
    f"{SPAN}{modality}": np.zeros((size, span), np.uint8)
    for modality, span in spans.items()
  }


def together(
  drawn: Sequence[dict[str, np.ndarray]],
) -> list[dict[str, np.ndarray]]:
  """What seeds drew for one step, the bucket of each that of the longest."""
  widest = {
    key: max((one[key] for one in drawn), key=lambda mark: mark.shape[1])
    for key in drawn[0]
    if key.startswith(SPAN)
  }
  return [one | widest for one in drawn]


def cut(batch: Mapping[str, Any]) -> dict[str, Any]:
  """A batch whose texts, their masks and their partners end with the bucket.

  Args:
    batch: of arrays of the host or of a device; buckets are marked in it, and
      in what is returned no more.
  """
  spans = {
    key.removeprefix(SPAN): mark.shape[1]
    for key, mark in batch.items()
    if key.startswith(SPAN)
  }
  found = {
    key: value for key, value in batch.items() if not key.startswith(SPAN)
  }
  for modality, span in spans.items():
    for text in (modality, f"mask/{modality}"):
      for key in {text, f"partner/{text}"} & found.keys():
        found[key] = found[key][:, :span]
  return found

"""Length buckets: the texts of a batch cut to one of a few lengths.

Texts are padded to the length of their column, and padding costs as much
compute as tokens. Here a batch is cut to the smallest listed length that holds
its longest text; the lengths of a source are known in advance. Only shapes
change: the step is compiled once per bucket.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from kdjax.errors import UserError
from kdjax.types import Source, Spec

# Prefix of batch keys of arrays with the length of a bucket as their shape.
SPAN = "span/"


def complete(
  buckets: Mapping[str, Sequence[int]], spec: Spec
) -> dict[str, tuple[int, ...]]:
  """The buckets of every modality, with the full length as the last.

  Args:
    buckets: modality -> increasing lengths.
    spec: of an example.

  Raises:
    UserError: a modality is not a text of the data, or its lengths are not
      increasing positive integers within the full length.
  """
  texts = [key for key in spec if _is_text(key, spec)]
  completed = {}
  for modality, lengths in buckets.items():
    if modality not in texts:
      raise UserError(
        f"data.buckets names '{modality}', which is not a text of this data.",
        "A text is ids [T] with a mask/<modality> [T].",
        exists=texts,
        near=modality,
      )
    (full,) = spec[modality].shape
    problem = f"data.buckets.{modality} is {lengths}."
    if not isinstance(lengths, tuple | list) or not all(
      isinstance(length, int) and length > 0 for length in lengths
    ):
      raise UserError(problem, "Expected lengths, such as (16, 32).")
    if any(first >= second for first, second in itertools.pairwise(lengths)):
      raise UserError(problem, "Expected increasing lengths.")
    if lengths and lengths[-1] > full:
      raise UserError(
        problem, f"Expected at most {full}, the length of the data's texts."
      )
    completed[modality] = tuple(dict.fromkeys((*lengths, full)))
  return completed


def _is_text(key: str, spec: Spec) -> bool:
  """Whether a key holds token ids; audio samples have fewer bits."""
  leaf, mask = spec[key], spec.get(f"mask/{key}")
  ids = leaf.dtype in (np.int32, np.int64) and len(leaf.shape) == 1
  return ids and mask is not None and mask.shape == leaf.shape


class Lengths:
  """The lengths of a source's texts, and the buckets that hold a batch.

  Args:
    source: the examples.
    buckets: the result of `complete`.

  Raises:
    UserError: the source has no method `lengths`.
  """

  def __init__(self, source: Source, buckets: Mapping[str, Sequence[int]]):
    self.buckets = dict(buckets)
    if buckets and not hasattr(source, "lengths"):
      raise UserError(
        f"data.buckets names {', '.join(buckets)}, but the source"
        f" {type(source).__name__} has no method `lengths`.",
        "Define lengths(modality) -> int [N], or remove the buckets.",
      )
    self.of = {modality: source.lengths(modality) for modality in buckets}

  @property
  def total(self) -> Int[np.ndarray, "N"]:
    """The length of each example, summed over modalities with buckets."""
    return np.sum([*self.of.values()], axis=0)

  def spans(
    self,
    position: Int[np.ndarray, "B"],
    partner: Int[np.ndarray, "B"] | None = None,
    mixed: Sequence[str] = (),
  ) -> dict[str, int]:
    """The bucket of every modality that holds a batch.

    Args:
      position: positions in the source, of the whole batch.
      partner: positions of the partners that examples are mixed with.
      mixed: the modalities that are mixed.
    """
    spans = {}
    for modality, buckets in self.buckets.items():
      lengths = self.of[modality]
      longest = lengths[position].max()
      if modality in mixed:
        longest = max(longest, lengths[partner].max())
      spans[modality] = buckets[int(np.searchsorted(buckets, longest))]
    return spans


def marked(spans: Mapping[str, int], size: int) -> dict[str, np.ndarray]:
  """Buckets as arrays of a batch: zeros [size bucket], read by shape."""
  return {
    f"{SPAN}{modality}": np.zeros((size, span), np.uint8)
    for modality, span in spans.items()
  }


def aligned(
  draws: Sequence[dict[str, np.ndarray]],
) -> list[dict[str, np.ndarray]]:
  """The draws of all seeds for one step, with the largest bucket for all."""
  widest = {
    key: max((draw[key] for draw in draws), key=lambda mark: mark.shape[1])
    for key in draws[0]
    if key.startswith(SPAN)
  }
  return [draw | widest for draw in draws]


def cut(batch: Mapping[str, Any]) -> dict[str, Any]:
  """A batch with its texts, masks and text partners cut to the bucket.

  Args:
    batch: arrays of the host or of a device, with those of `marked`.

  Returns:
    The cut arrays, without those of `marked`.
  """
  spans = {
    key.removeprefix(SPAN): mark.shape[1]
    for key, mark in batch.items()
    if key.startswith(SPAN)
  }
  arrays = {
    key: value for key, value in batch.items() if not key.startswith(SPAN)
  }
  for modality, span in spans.items():
    for text in (modality, f"mask/{modality}"):
      for key in {text, f"partner/{text}"} & arrays.keys():
        arrays[key] = arrays[key][:, :span]
  return arrays

"""The records of a TFDS data set, decoded when they are asked for."""

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.data import _tfds
from kdjax.data._tfds import Feature
from kdjax.feed.sources import Fault, digest
from kdjax.preprocess import audio, images, tokenizer

# Records at once, where all of a split are read.
_CHUNK = 4096


@functools.lru_cache(maxsize=4)
def reader(chosen: Any) -> tokenizer.Tokenizer:
  """The tokenizer of the texts, of one vocabulary."""
  names = [one.name for one in chosen.known if one.kind == "text"]
  texts: list[str] = []
  if chosen.tokenizer in tokenizer.BUILT:
    skipped = [one.name for one in chosen.known if one.kind == "image"]
    spec, _ = chosen.slices["train"]
    source = _tfds.source(chosen.dataset, chosen.root, spec, skipped)
    for record in _all(source):
      # One in another encoding is a fault of its own, when it is met.
      texts += [record[name].decode(errors="replace") for name in names]
  return tokenizer.make(chosen.tokenizer, texts, chosen.vocabulary_size)


def _all(source: Any) -> Iterator[Mapping[str, Any]]:
  """Every record of a source, read in chunks."""
  for start in range(0, len(source), _CHUNK):
    stop = min(start + _CHUNK, len(source))
    yield from source.__getitems__(list(range(start, stop)))


class Records:
  """The records of a split, as `sources.Records` wants them.

  Args:
    chosen: the options of `tfds.load`.
    split: which of its slices.
    shapes: of one example, `index` among them.
  """

  def __init__(self, chosen: Any, split: str, shapes: Mapping[str, Any]):
    self._chosen, self._known = chosen, chosen.known
    self._slice, self.index = chosen.slices[split]
    skipped = [one.name for one in self._known if one.kind == "image"]
    self._source = _tfds.source(
      chosen.dataset, chosen.root, self._slice, skipped
    )
    self.spec = {key: leaf for key, leaf in shapes.items() if key != "index"}
    self.faults: dict[int, list[Fault]] = {}
    self.values: dict[str, np.ndarray] = {}
    has_text = any(one.kind == "text" for one in self._known)
    self._reader = reader(chosen) if has_text else None

  @functools.cached_property
  def labels(self) -> np.ndarray:
    """The class of every record; they are all read for it."""
    found = np.full(len(self.index), -1, np.int32)
    names = [one.name for one in self._known if one.key == "label"]
    for name in names:
      found[:] = [record[name] for record in _all(self._source)]
    return found

  def fingerprint(self) -> str:
    """Of the set's name, version and files, of the slice and the options."""
    chosen = self._chosen
    texts = self._reader and (tokenizer.state(self._reader), chosen.length)
    return digest(
      *_tfds.stamps(chosen.dataset, chosen.root),
      self.index,
      self._known,
      (chosen.image_size, chosen.channels, chosen.fit, chosen.samples),
      sorted((key, leaf.shape) for key, leaf in self.spec.items()),
      texts,
    )

  def read(
    self, positions: Sequence[int]
  ) -> list[dict[str, np.ndarray] | list[Fault]]:
    """Of each record its values, or its faults."""
    records = self._source.__getitems__([*positions])
    texts = {
      one.name: self._reader.encode(
        # One in another encoding is a fault, which `_value` finds.
        [record[one.name].decode(errors="replace") for record in records],
        self._chosen.length,
      )
      for one in self._known
      if one.kind == "text"
    }
    return [
      self._one(
        position,
        record,
        {name: (ids[row], mask[row]) for name, (ids, mask) in texts.items()},
      )
      for row, (position, record) in enumerate(
        zip(positions, records, strict=True)
      )
    ]

  def _one(
    self, position, record, texts
  ) -> dict[str, np.ndarray] | list[Fault]:
    example: dict[str, np.ndarray] = {}
    faults = []
    for one in self._known:
      try:
        example |= self._value(one, record[one.name], texts)
      except ValueError as error:
        faults.append(
          Fault(
            index=int(self.index[position]),
            file=f"{self._chosen.dataset} {self._slice}",
            line=position + 1,
            column=one.name,
            reason=f"{error}",
          )
        )
    return faults or example

  def _value(self, one: Feature, value: Any, texts) -> dict[str, np.ndarray]:
    shape = self.spec[one.key].shape
    if one.kind == "image":
      return {one.key: self._image(value, shape)}
    if one.kind == "text":
      ids, mask = texts[one.name]
      if not (value.decode().strip() and mask.any()):
        raise ValueError("a text without a word")
      return {one.key: ids, f"mask/{one.key}": mask}
    value = np.asarray(value)
    if one.kind == "label" and one.classes and not -1 <= value < one.classes:
      raise ValueError(f"label {value} is outside of {one.classes} classes")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
      raise ValueError("a value that is not finite")
    if one.kind == "audio":
      value = audio.fitted(value, *shape)
    return {one.key: value}

  def _image(self, value: bytes, shape: tuple[int, ...]) -> np.ndarray:
    image = images.decode(
      io.BytesIO(value),
      self._chosen.image_size,
      channels=shape[-1],
      fit=self._chosen.fit,
    )
    if image.shape != shape:
      raise ValueError(f"an image of {image.shape}, where all are {shape}")
    return image

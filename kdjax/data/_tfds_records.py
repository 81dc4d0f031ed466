"""The records of a TFDS data set, decoded on access."""

import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.data import _tfds
from kdjax.data._tfds import Feature
from kdjax.feed.sources import Fault, digest
from kdjax.preprocess import audio, images, tokenizer

# Records read at once, in passes over a whole split.
_CHUNK = 4096


@functools.lru_cache(maxsize=4)
def reader(chosen: Any) -> tokenizer.Tokenizer:
  """The tokenizer of all texts, with one vocabulary."""
  names = [known.name for known in chosen.known if known.kind == "text"]
  texts: list[str] = []
  if chosen.tokenizer in tokenizer.BUILT:
    skipped = [known.name for known in chosen.known if known.kind == "image"]
    spec, _ = chosen.slices["train"]
    source = _tfds.source(chosen.dataset, chosen.root, spec, skipped)
    for record in _all(source):
      # `_value` reports text in another encoding.
      texts += [record[name].decode(errors="replace") for name in names]
  return tokenizer.make(chosen.tokenizer, texts, chosen.vocabulary_size)


def _all(source: Any) -> Iterator[Mapping[str, Any]]:
  """Every record of a source, read in chunks."""
  for start in range(0, len(source), _CHUNK):
    stop = min(start + _CHUNK, len(source))
    yield from source.__getitems__(list(range(start, stop)))


class Records:
  """The records of a split; implements `sources.Records`.

  Args:
    chosen: the options of `tfds.load`.
    split: "train", "validation" or "test".
    shapes: of one example, `index` included.
  """

  def __init__(self, chosen: Any, split: str, shapes: Mapping[str, Any]):
    self._chosen, self._known = chosen, chosen.known
    self._slice, self.index = chosen.slices[split]
    skipped = [known.name for known in self._known if known.kind == "image"]
    self._source = _tfds.source(
      chosen.dataset, chosen.root, self._slice, skipped
    )
    self.spec = {key: leaf for key, leaf in shapes.items() if key != "index"}
    self.faults: dict[int, list[Fault]] = {}
    self.values: dict[str, np.ndarray] = {}
    has_text = any(known.kind == "text" for known in self._known)
    self._reader = reader(chosen) if has_text else None

  @functools.cached_property
  def labels(self) -> np.ndarray:
    """The class of every record; needs a pass over all records."""
    labels = np.full(len(self.index), -1, np.int32)
    names = [known.name for known in self._known if known.key == "label"]
    for name in names:
      labels[:] = [record[name] for record in _all(self._source)]
    return labels

  def has_label(self) -> bool:
    """Whether any record has a label; reads up to the first that has one."""
    names = [known.name for known in self._known if known.key == "label"]
    return any(
      np.any(np.asarray(record[name]) >= 0)
      for record in (_all(self._source) if names else ())
      for name in names
    )

  def fingerprint(self) -> str:
    """Hash of the set's name, version and files, the slice and the options."""
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
    """For each record its values, or its faults."""
    records = self._source.__getitems__([*positions])
    texts = {
      known.name: self._reader.encode(
        # `_value` reports text in another encoding.
        [record[known.name].decode(errors="replace") for record in records],
        self._chosen.length,
      )
      for known in self._known
      if known.kind == "text"
    }
    return [
      self._record(
        position,
        record,
        {name: (ids[row], mask[row]) for name, (ids, mask) in texts.items()},
      )
      for row, (position, record) in enumerate(
        zip(positions, records, strict=True)
      )
    ]

  def _record(
    self, position, record, texts
  ) -> dict[str, np.ndarray] | list[Fault]:
    example: dict[str, np.ndarray] = {}
    faults = []
    for known in self._known:
      try:
        example |= self._value(known, record[known.name], texts)
      except ValueError as error:
        faults.append(
          Fault(
            index=int(self.index[position]),
            file=f"{self._chosen.dataset} {self._slice}",
            line=position + 1,
            column=known.name,
            reason=f"{error}",
          )
        )
    return faults or example

  def _value(self, known: Feature, value: Any, texts) -> dict[str, np.ndarray]:
    key, kind, classes = known.key, known.kind, known.classes
    shape = self.spec[key].shape
    if kind == "image":
      return {key: self._image(value, shape)}
    if kind == "text":
      ids, mask = texts[known.name]
      if not (value.decode().strip() and mask.any()):
        raise ValueError("a text without a word")
      return {key: ids, f"mask/{key}": mask}
    value = np.asarray(value)
    if kind == "label" and classes and not -1 <= value < classes:
      raise ValueError(f"label {value} is outside of {classes} classes")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
      raise ValueError("a value that is not finite")
    _check_range(value, self.spec[key].dtype)
    if kind == "audio":
      if value.dtype.kind == "f" and np.abs(value).max(initial=0) > 1:
        raise ValueError(
          f"a sample of {np.abs(value).max():g}, outside of -1 to 1"
        )
      value = audio.fitted(value, *shape)
    return {key: value}

  def _image(self, value: bytes, shape: tuple[int, ...]) -> np.ndarray:
    image = images.decode(
      io.BytesIO(value),
      self._chosen.image_size,
      channels=shape[-1],
      fit=self._chosen.fit,
    )
    if image.shape != shape:
      raise ValueError(f"an image of shape {image.shape}, expected {shape}")
    return image


def _check_range(value: np.ndarray, dtype: np.dtype) -> None:
  """Raises `ValueError` for a number that the batch's dtype cannot hold."""
  limits = np.finfo(dtype) if dtype.kind == "f" else None
  if dtype.kind in "iu":
    limits = np.iinfo(dtype)
  if limits is None or not value.size:
    return
  for number in (value.min(), value.max()):
    if not limits.min <= number <= limits.max:
      raise ValueError(
        f"{number} is outside of {dtype}, {limits.min} to {limits.max}"
      )

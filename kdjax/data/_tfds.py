"""TFDS without TensorFlow: builders, splits, and features as batch keys."""

import dataclasses
import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.preprocess import content

EXTRA = 'pip install -e ".[tfds]"'


@dataclasses.dataclass(frozen=True)
class Feature:
  """A key of the batch, and the feature that it is read from.

  Attributes:
    key: of the batch.
    name: of the feature.
    kind: image, audio, text, label or numbers.
    shape: as the data set states it; None where sizes differ.
    dtype: as the data set states it.
    classes: number of classes of a label.
  """

  key: str
  name: str
  kind: str
  shape: tuple[int | None, ...]
  dtype: np.dtype
  classes: int = 0


@functools.lru_cache(maxsize=8)
def builder(dataset: str, root: str) -> Any:
  """The builder of a catalogue name, or of a set prepared below `root`.

  Raises:
    UserError: the set does not exist, or its builder needs TensorFlow.
  """
  return _built(dataset, root)


@functools.lru_cache(maxsize=8)
def prepared(dataset: str, root: str) -> Any:
  """The builder with its files; missing ones are downloaded and prepared.

  Raises:
    UserError: the set cannot be prepared, or not without TensorFlow.
  """
  ready = builder(dataset, root)
  if not ready.is_prepared():
    ready = _built(dataset, root, file_format="array_record")
    try:
      ready.download_and_prepare()
    except Exception as error:
      # Builders are third-party code and raise any exception.
      raise _explained(dataset, error, "cannot be prepared") from error
  return ready


def source(
  dataset: str, root: str, split: str, names: Sequence[str] = ()
) -> Any:
  """Random access to a slice; the features `names` stay undecoded.

  Raises:
    UserError: its file format has no random access.
  """
  import tensorflow_datasets as tfds

  decoders = {name: tfds.decode.SkipDecoding() for name in names}
  try:
    return prepared(dataset, root).as_data_source(split, decoders=decoders)
  except NotImplementedError as error:
    raise UserError(
      f"'{dataset}' below '{root}' has a format that only TensorFlow reads.",
      "Set another `root`: it is prepared there as array_record.",
    ) from error


def stamps(dataset: str, root: str) -> list[tuple]:
  """Identity of a prepared set: its name, and its files' contents.

  Of files that are not on this host, sizes and times.
  """
  ready = prepared(dataset, root)
  files = sorted(ready.data_path.iterdir())
  stamps = []
  found = content.digests([str(file) for file in files])
  for file, digest in zip(files, found, strict=True):
    state = file.stat() if digest is None else None
    stamps.append((file.name, digest or (state.length, state.mtime)))
  return [(ready.info.full_name,), *stamps]


def features(
  dataset: str, root: str, chosen: Sequence[tuple[str, str]] | None
) -> tuple[Feature, ...]:
  """The features that become keys of the batch.

  Args:
    dataset: its name.
    root: the folder of TFDS data sets.
    chosen: (key, feature) pairs; None takes the input and target that the data
      set names.
  """
  info = builder(dataset, root).info
  known = dict(info.features)
  if chosen is not None:
    return tuple(_feature(dataset, *pair, known) for pair in chosen)
  keys = info.supervised_keys
  if not keys or not all(isinstance(key, str) for key in keys):
    raise UserError(
      f"Which features of '{dataset}'? It names no input and target.",
      "Set features={key: feature}, such as {'image': 'image'}.",
      exists=known,
    )
  pair = [_feature(dataset, "", name, known) for name in keys[:2]]
  return tuple(
    dataclasses.replace(
      feature, key="target" if feature.kind == "numbers" else feature.kind
    )
    for feature in pair
  )


def _built(dataset: str, root: str, **options) -> Any:
  import tensorflow_datasets as tfds

  try:
    return tfds.builder(dataset, data_dir=root or None, **options)
  except tfds.core.DatasetNotFoundError as error:
    known = re.findall(r"^\s*- ([\w:]+)$", f"{error}", re.MULTILINE)
    below = f" or below '{root}'" if root else ""
    raise UserError(
      f"No data set '{dataset}' in the TFDS catalogue{below}.",
      "tensorflow.org/datasets/catalog lists all.",
      exists=difflib.get_close_matches(dataset, known, n=5),
      near=dataset,
    ) from error
  except Exception as error:
    raise _explained(dataset, error, "cannot be built") from error


def _explained(dataset: str, error: Exception, what: str) -> UserError:
  """A builder's exception as a `UserError`."""
  chain, cause = [], error
  while cause is not None:
    chain.append(f"{cause}")
    cause = cause.__cause__ or cause.__context__
  if any("tensorflow" in text.lower() for text in chain) and any(
    isinstance(reason, ImportError) or "No module named" in f"{reason}"
    for reason in (error, *chain)
  ):
    return UserError(
      f"'{dataset}' {what} without TensorFlow.",
      f"Install it with {EXTRA}.",
    )
  line = f"{error}".strip().partition("\n")[0]
  return UserError(
    f"'{dataset}' {what}: {line}", "KDJAX_TRACEBACK=1 shows the traceback."
  )


def _feature(
  dataset: str, key: str, name: str, known: Mapping[str, Any]
) -> Feature:
  """A feature by its name; a nested one is called outer/inner."""
  import tensorflow_datasets as tfds

  if name not in known:
    raise UserError(
      f"'{dataset}' has no feature '{name}'.", exists=known, near=name
    )
  feature = known[name]
  kinds = tfds.features
  shape, dtype, classes = feature.shape, None, 0
  if isinstance(feature, kinds.Image):
    kind, dtype = "image", np.dtype(feature.np_dtype)
    kind = kind if dtype == np.uint8 else None
  elif isinstance(feature, kinds.ClassLabel):
    kind, classes = "label", feature.num_classes or 0
  elif isinstance(feature, kinds.Text):
    kind = "text"
  elif isinstance(feature, kinds.Tensor):
    dtype = np.dtype(feature.np_dtype)
    kind = "audio" if len(shape) == 1 and shape[0] is None else "numbers"
    if dtype.kind not in "biuf" or (kind == "numbers" and None in shape):
      kind = None
  else:
    kind = None
  if kind is None:
    raise UserError(
      f"The feature '{name}' of '{dataset}' is {feature!r}.".replace("\n", " "),
      "Expected an image of uint8, a text, a class label, numbers of one shape,"
      " or a waveform.",
    )
  counted = kind == "label" or (
    kind == "numbers" and dtype.kind in "biu" and len(shape) <= 1
  )
  if key == "label" and not counted:
    raise UserError(
      f"The label of '{dataset}', its feature '{name}', is of the kind"
      f" '{kind}'.",
      "Expected a class label, or whole numbers.",
      exists=[
        known_name
        for known_name, it in known.items()
        if isinstance(it, kinds.ClassLabel)
      ],
    )
  return Feature(key, name, kind, tuple(shape), dtype, classes)

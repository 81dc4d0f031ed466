"""Any data set of the TFDS catalogue, read without TensorFlow.

  data("tfds", dataset="cifar100", root="/data/tfds")
  data("tfds", dataset="imdb_reviews", length=200)
  data("tfds", dataset="oxford_iiit_pet", image_size=(64, 64),
       features={"image": "image", "label": "species"})

A data set below `root` is read by random access (array_record or Parquet).
Another one is downloaded and prepared there first. Some need TensorFlow for
that; the error message names them, and pip install -e ".[tfds]" installs it.

  Image        uint8 [H W C]; if sizes differ, `image_size` is required
  ClassLabel   int32 []
  Text         int32 [T] ids and mask/<key> bool [T]; see `tokenizer`
  numbers      of one shape: float32, int32 or bool
  waveform     [None] numbers: the first `samples`, padded with zeros

Text is tokenised on reading. A vocabulary of words or characters is built from
the training split alone, in one pass over it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.data import _options, _splits, _tfds, _tfds_slices
from kdjax.data._tfds import Feature
from kdjax.data._tfds_records import Records, reader
from kdjax.errors import UserError
from kdjax.feed.sources import RecordSource
from kdjax.preprocess import images
from kdjax.preprocess import tokenizer as text_tokenizer
from kdjax.types import Spec

# All seeds have the same examples.
SEED_DRAWS = False


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ..., as the data set states them.

  Args:
    **options: of `load`.
  """
  chosen = _chosen(options)
  for known in chosen.known:
    if known.key == "label" and known.kind == "label":
      features = _tfds.builder(chosen.dataset, chosen.root).info.features
      return tuple(features[known.name].names or ())
  return ()


def ids(**options) -> dict[str, int]:
  """Vocabulary size of each text; {} if the set is not prepared yet.

  Args:
    **options: of `load`. The training texts are read to build a vocabulary.
  """
  chosen = _chosen(options)
  texts = [known.key for known in chosen.known if known.kind == "text"]
  if not texts or not _tfds.builder(chosen.dataset, chosen.root).is_prepared():
    return {}
  return dict.fromkeys(texts, len(reader(chosen)))


def tokenizers(**options) -> dict[str, str]:
  """The tokenizer of each text.

  Args:
    **options: of `load`.
  """
  chosen = _chosen(options)
  texts = [known.key for known in chosen.known if known.kind == "text"]
  return dict.fromkeys(texts, chosen.tokenizer)


def text_state(**options) -> str:
  """All that the ids of a text depend on; "" without texts.

  Args:
    **options: of `load`.
  """
  chosen = _chosen(options)
  has_text = any(known.kind == "text" for known in chosen.known)
  return text_tokenizer.state(reader(chosen)) if has_text else ""


def readers(**options) -> dict[str, text_tokenizer.Tokenizer]:
  """The tokenizer of each text, as an object.

  Args:
    **options: of `load`. The training texts are read to build a vocabulary.
  """
  chosen = _chosen(options)
  texts = [known.key for known in chosen.known if known.kind == "text"]
  return {key: reader(chosen) for key in texts}


def decoding(**options) -> dict[str, dict]:
  """How files are read: the fit of images.

  Args:
    **options: of `load`.
  """
  chosen = _chosen(options)
  found = [known.key for known in chosen.known if known.kind == "image"]
  return {key: {"fit": chosen.fit} for key in found}


def spec(**options) -> Spec:
  """Shapes and dtypes of one example, from the data set's description.

  Args:
    **options: of `load`.
  """
  return _spec(_chosen(options))


def load(
  split: str,
  seed: int | None = None,
  *,
  dataset: str = "mnist",
  root: str = "",
  features: Mapping[str, str] | None = None,
  splits: Mapping[str, str] | None = None,
  validation: float = 0.1,
  image_size: tuple[int, int] | None = None,
  channels: int = 3,
  fit: str = "crop",
  samples: int = 16000,
  tokenizer: str = "words",
  vocabulary_size: int = 10000,
  length: int = 32,
  on_error: str = "raise",
  most_broken: float = 0.05,
) -> RecordSource:
  """The records of a split; `index` is a record's position in the whole set.

  Args:
    split: "train", "validation" or "test".
    seed: not used.
    dataset: a name of the catalogue, optionally with config and version:
      "name", "name/config", "name:1.0.0"; or one prepared below `root`.
    root: the folder of TFDS data sets (`data_dir`); "" is the default of TFDS.
    features: key of the batch -> feature; None takes the input and target that
      the data set names, with the keys image, text, audio, label or target.
    splits: train, validation and test -> slices of TFDS, as "train[:90%]". None
      takes the data set's splits of these names. Without a test split, its
      validation split is the test split. A split that is still missing is the
      end of train.
    validation: the share of train for a split that is missing.
    image_size: (height, width) of images; None keeps their size.
    channels: of images whose channels differ: 3 is colour, 1 is grey.
    fit: "crop" scales an image to cover `image_size` and crops the rest;
      "stretch" scales each side by its own factor.
    samples: of a waveform.
    tokenizer: "words" or "characters" of the training texts, a folder of a
      `transformers` tokenizer, or a name of the hub with @revision.
    vocabulary_size: the largest vocabulary of words or characters, with id 0
      for padding and 1 for unknown ones.
    length: ids of a text; longer ones are cut.
    on_error: "raise" stops at a broken record; "skip" makes it an invalid row,
      which no term or metric counts, and lists it in `records()`.
    most_broken: the largest share of a split that may be skipped.

  Raises:
    UserError: the data set, a feature or a slice does not exist, or the set
      cannot be prepared.
  """
  del seed
  _splits.check(split, validation)
  chosen = _chosen(
    {
      "dataset": dataset,
      "root": root,
      "features": features,
      "splits": splits,
      "validation": validation,
      "image_size": image_size,
      "channels": channels,
      "fit": fit,
      "samples": samples,
      "tokenizer": tokenizer,
      "vocabulary_size": vocabulary_size,
      "length": length,
    }
  )
  records = Records(chosen, split, _spec(chosen))
  return RecordSource(records, on_error=on_error, most_broken=most_broken)


@dataclasses.dataclass(frozen=True)
class _Options:
  """The options of `load`, described there."""

  dataset: str
  root: str
  features: tuple[tuple[str, str], ...] | None
  splits: tuple[tuple[str, str], ...] | None
  validation: float
  image_size: tuple[int, int] | None
  channels: int
  fit: str
  samples: int
  tokenizer: str
  vocabulary_size: int
  length: int

  @property
  def known(self) -> tuple[Feature, ...]:
    """The features that are read."""
    return _tfds.features(self.dataset, self.root, self.features)

  @property
  def slices(self) -> dict[str, tuple[str, np.ndarray]]:
    """Each split as a slice of TFDS, and its records' indices."""
    splits = None if self.splits is None else dict(self.splits)
    return _tfds_slices.slices(self.dataset, self.root, splits, self.validation)


def _chosen(options: Mapping[str, Any]) -> _Options:
  """The options of `load`, each with its default there."""
  values = _options.chosen(load, options)
  for key in ("features", "splits"):
    pairs = values[key]
    if pairs is not None:
      pairs = pairs.items() if isinstance(pairs, Mapping) else pairs
      values[key] = tuple((name, value) for name, value in pairs)
  if values["image_size"] is not None:
    values["image_size"] = tuple(values["image_size"])
  fields = [field.name for field in dataclasses.fields(_Options)]
  return _Options(**{key: values[key] for key in fields})


def _spec(chosen: _Options) -> Spec:
  images.check(chosen.image_size or (1, 1), chosen.channels, chosen.fit)
  leaves: Spec = {}
  for known in chosen.known:
    if known.kind == "image":
      shape, dtype = _image_shape(chosen, known), np.uint8
    elif known.kind == "text":
      shape, dtype = (chosen.length,), np.int32
      leaves[f"mask/{known.key}"] = jax.ShapeDtypeStruct(shape, np.bool_)
    elif known.kind == "label":
      shape, dtype = (), np.int32
    else:
      shape = (chosen.samples,) if known.kind == "audio" else known.shape
      wide = known.dtype.itemsize > 4 or known.dtype == np.uint32
      dtype = np.int32 if wide else known.dtype
      dtype = np.float32 if known.dtype.kind == "f" else dtype
    leaves[known.key] = jax.ShapeDtypeStruct(shape, dtype)
  return {**leaves, "index": jax.ShapeDtypeStruct((), np.int32)}


def _image_shape(chosen: _Options, known: Feature) -> tuple[int, ...]:
  *size, channels = known.shape
  channels = channels if channels in (1, 3) else chosen.channels
  if chosen.image_size is None and None in size:
    raise UserError(
      f"The images of '{chosen.dataset}' differ in size.",
      "Set image_size=(height, width).",
    )
  return (*(chosen.image_size or size), channels)

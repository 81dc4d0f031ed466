"""Any data set of the TFDS catalogue by its name, read without TensorFlow.

  data("tfds", dataset="cifar100", root="/data/tfds")
  data("tfds", dataset="imdb_reviews", length=200)
  data("tfds", dataset="oxford_iiit_pet", image_size=(64, 64),
       features={"image": "image", "label": "species"})

What is below `root` is read (array_record or Parquet, by random access). What
is not is downloaded and prepared there first, which some data sets can only do
with TensorFlow: they say so, and pip install -e ".[tfds]" installs it.

  Image        uint8 [H W C]; where sizes differ, `image_size` is needed
  ClassLabel   int32 []
  Text         int32 [T] ids and mask/<key> bool [T]; see `tokenizer`
  numbers      of one shape: float32, int32 or bool
  a waveform   [None] numbers: the first `samples`, zeros after a shorter one

Text is tokenised when it is read. A vocabulary of words or characters is of the
training split alone, which is read once for it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.data import _options, _splits, _tfds
from kdjax.data._tfds import Feature
from kdjax.data._tfds_records import Records, reader
from kdjax.errors import UserError
from kdjax.feed.sources import RecordSource
from kdjax.preprocess import images
from kdjax.types import Spec

# All seeds have the same examples.
SEED_DRAWS = False


def class_names(**options) -> tuple[str, ...]:
  """What label 0, 1, ... stands for, as the data set says.

  Args:
    **options: those of `load`.
  """
  chosen = _chosen(options)
  for one in chosen.known:
    if one.key == "label" and one.kind == "label":
      feature = _tfds.builder(chosen.dataset, chosen.root).info.features
      return tuple(feature[one.name].names or ())
  return ()


def ids(**options) -> dict[str, int]:
  """How many ids each text has; {} where the set is not prepared yet.

  Args:
    **options: those of `load`. The training texts are read for a vocabulary.
  """
  chosen = _chosen(options)
  texts = [one.key for one in chosen.known if one.kind == "text"]
  if not texts or not _tfds.builder(chosen.dataset, chosen.root).is_prepared():
    return {}
  return dict.fromkeys(texts, len(reader(chosen)))


def spec(**options) -> Spec:
  """What one example holds; of the data set, its description alone is read.

  Args:
    **options: those of `load`.
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
  """The records of a split; `index` is a record's place in all of the set's.

  Args:
    split: "train", "validation" or "test".
    seed: draws nothing here.
    dataset: a name of the catalogue, with its config and version where it has
      them: "name", "name/config", "name:1.0.0"; or one prepared below `root`.
    root: the folder of TFDS data sets (`data_dir`); "" is where TFDS has it.
    features: key of the batch -> feature; None is what the data set calls its
      input and target, as image, text, audio, label or target.
    splits: train, validation and test -> slices of TFDS, as "train[:90%]". None
      is those of the same name. Without a validation, the last records of train
      are; without a test, the validation is the test, and else they too.
    validation: the share of train that becomes a split that is not there.
    image_size: (height, width) of images; None is their own.
    channels: of images that differ in them: 3 is colour, 1 is grey.
    fit: "crop" scales an image to cover `image_size` and cuts the rest off;
      "stretch" scales both sides alone.
    samples: of a waveform.
    tokenizer: "words" or "characters" of the training texts, a folder of a
      `transformers` tokenizer, or a name of the hub with @revision.
    vocabulary_size: ids of a vocabulary of words or characters, at most, with
      0 for padding and 1 for what is unknown.
    length: ids of a text; longer ones are cut.
    on_error: "raise" stops at a broken record; "skip" makes it a row that
      counts nowhere, and lists it in `records()`.
    most_broken: the share of a split that may be skipped; one more stops.

  Raises:
    UserError: there is no such data set, feature or slice, or it cannot be
      prepared.
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
  """What `load` was given; it says what each means."""

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
    """Each split as a slice of TFDS, and its records' places."""
    splits = None if self.splits is None else dict(self.splits)
    return _tfds.slices(self.dataset, self.root, splits, self.validation)


def _chosen(options: Mapping[str, Any]) -> _Options:
  """The options of `load`, each with its default there."""
  both = _options.chosen(load, options)
  for key in ("features", "splits"):
    value = both[key]
    if value is not None:
      pairs = value.items() if isinstance(value, Mapping) else value
      both[key] = tuple((one, other) for one, other in pairs)
  if both["image_size"] is not None:
    both["image_size"] = tuple(both["image_size"])
  fields = [field.name for field in dataclasses.fields(_Options)]
  return _Options(**{key: both[key] for key in fields})


def _spec(chosen: _Options) -> Spec:
  images.check(chosen.image_size or (1, 1), chosen.channels, chosen.fit)
  found: Spec = {}
  for one in chosen.known:
    if one.kind == "image":
      shape, dtype = _image_shape(chosen, one), np.uint8
    elif one.kind == "text":
      shape, dtype = (chosen.length,), np.int32
      found[f"mask/{one.key}"] = jax.ShapeDtypeStruct(shape, np.bool_)
    elif one.kind == "label":
      shape, dtype = (), np.int32
    else:
      shape = (chosen.samples,) if one.kind == "audio" else one.shape
      wide = one.dtype.itemsize > 4 or one.dtype == np.uint32
      dtype = np.int32 if wide else one.dtype
      dtype = np.float32 if one.dtype.kind == "f" else dtype
    found[one.key] = jax.ShapeDtypeStruct(shape, dtype)
  return {**found, "index": jax.ShapeDtypeStruct((), np.int32)}


def _image_shape(chosen: _Options, one: Feature) -> tuple[int, ...]:
  *size, channels = one.shape
  channels = channels if channels in (1, 3) else chosen.channels
  if chosen.image_size is None and None in size:
    raise UserError(
      f"The images of '{chosen.dataset}' differ in size.",
      "Give image_size=(height, width).",
    )
  return (*(chosen.image_size or size), channels)

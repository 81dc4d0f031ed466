"""The Free Spoken Digit Dataset: 3,000 English digits by six speakers, 8 kHz.

Each speaker says each of ten digits 50 times. The official test split is the
first five of the 50; here the next five are validation: 2,400 / 300 / 300.
Alternatively, speakers are held out, 500 recordings each: with held_out="theo",
he is the test split, another one is validation, and four are train.

A recording lasts 0.14 to 2.3 s, most less than 0.5 s. It is cut to one second,
or padded with zeros.

Jackson et al., "Free Spoken Digit Dataset", 2016-2020, CC BY-SA 4.0.
"""

import jax
import numpy as np

from kdjax.data import _fsdd, _options, _subset
from kdjax.data._splits import check
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = "CC BY-SA 4.0"


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return tuple("0123456789")


def sample_rates(**options) -> dict[str, int]:
  """The sample rate of the recordings, in Hz.

  Args:
    **options: of `load`; none changes it.
  """
  _options.chosen(load, options)
  return {"audio": 8000}


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return {
    "audio": jax.ShapeDtypeStruct((_fsdd.LENGTH,), np.int16),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  held_out: str = "",
  validation_speaker: str = "",
  labels_per_class: int = 0,
  limit: int = 0,
) -> ArraySource:
  """The examples of a split; `index` is the position in the whole set.

  Args:
    split: "train", "validation" or "test".
    seed: draws the training examples that keep their label; None is 0.
    root: the folder that holds fsdd/fsdd.npz.
    held_out: speakers of the test split alone, as "theo" or "theo, lucas", from
      george, jackson, lucas, nicolas, theo and yweweler. "" is the official
      split, with every speaker in each.
    validation_speaker: the validation split's speaker, if some are held out; ""
      is the one after the first of these, in that order, cyclically.
    labels_per_class: training labels kept per class, the others are -1; 0 keeps
      all.
    limit: the largest size of any split, stratified by digit; 0 is no limit.

  Raises:
    UserError: the file is missing, or a speaker does not exist.
  """
  check(split, 0.0)
  _options.check_counts(limit=limit, labels_per_class=labels_per_class)
  _fsdd.speakers(held_out, validation_speaker)
  spoken = _fsdd.recordings(root)
  rows = _fsdd.of_split(root, split, held_out, validation_speaker)
  rows = rows[_subset.limited(spoken.label[rows], limit)]
  labels = spoken.label[rows]
  if split == "train" and labels_per_class:
    labels = _subset.keep_labels(
      labels, labels_per_class, 0 if seed is None else seed
    )
  return ArraySource(
    {
      "audio": spoken.padded(rows),
      "label": labels,
      "index": rows.astype(np.int32),
    }
  )

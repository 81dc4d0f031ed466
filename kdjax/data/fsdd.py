"""The Free Spoken Digit Dataset: 3,000 English digits by six speakers, 8 kHz.

Each of ten digits is said 50 times by each speaker. The official test are the
first five of the 50; the next five validate here: 2,400 / 300 / 300. Speakers
can be held out in place of that, 500 recordings each: with held_out="theo" he
is the test, one of the others validates, and four train.

A recording lasts 0.14 to 2.3 s, most below 0.5: it is cut after one second, or
ends in zeros.

Jackson et al., "Free Spoken Digit Dataset", 2016-2020, CC BY-SA 4.0.
"""

import jax
import numpy as np

from kdjax.data import _fsdd, _options, _subset
from kdjax.data._splits import check
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec


def class_names(**options) -> tuple[str, ...]:
  """What label 0, 1, ... stands for.

  Args:
    **options: those of `load`; none changes it.
  """
  _options.chosen(load, options)
  return tuple("0123456789")


def spec(**options) -> Spec:
  """What one example holds.

  Args:
    **options: those of `load`; none changes it.
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
  """The examples of a split; `index` is the place in the whole set.

  Args:
    split: "train", "validation" or "test".
    seed: draws which training examples keep their labels.
    root: the folder that holds fsdd/fsdd.npz.
    held_out: speakers that the test alone has: "theo" or "theo, lucas", of
      george, jackson, lucas, nicolas, theo and yweweler. "" is the official
      split, with every speaker in each.
    validation_speaker: who validates where somebody is held out; "" is the
      next by alphabet after the first of those, and george after the last.
    labels_per_class: labels kept in training, the others are -1; 0 keeps all.
    limit: the most that a split has, of every digit its share; 0 is all.

  Raises:
    UserError: the file is missing, or there is no such speaker.
  """
  check(split, 0.0)
  _options.check_counts(limit=limit, labels_per_class=labels_per_class)
  _fsdd.speakers(held_out, validation_speaker)
  found = _fsdd.recordings(root)
  places = _fsdd.places(root, split, held_out, validation_speaker)
  places = places[_subset.limited(found.label[places], limit)]
  labels = found.label[places]
  if split == "train" and labels_per_class:
    labels = _subset.keep_labels(
      labels, labels_per_class, 0 if seed is None else seed
    )
  return ArraySource(
    {
      "audio": found.padded(places),
      "label": labels,
      "index": places.astype(np.int32),
    }
  )

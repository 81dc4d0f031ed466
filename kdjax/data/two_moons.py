"""Two half moons: 500 points, 30 of them labelled.

`both` is a point, `first` its first coordinate: one modality of two. All points
are standardised together. 200 are test; 30 of the other 300 are the part
"labelled" and 270 the part "unlabelled". The part named by the option `part` is
train, the other one validation. Both keep their labels.

Xue et al., "Multimodal Knowledge Expansion", ICCV 2021, arXiv:2103.14431,
Section 4.1: scikit-learn's moons and splits, all with its random state 42.
"""

import functools

import jax
import numpy as np

from kdjax.data import _options
from kdjax.data._splits import SPLITS
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = "none needed: synthetic"

# All seeds have the same examples.
SEED_DRAWS = False

PARTS = ("labelled", "unlabelled")
COUNT, NOISE, STATE = 500, 0.1, 42
TEST, UNLABELLED = 0.4, 0.9


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0 and 1.

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return ("outer", "inner")


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return {
    "first": jax.ShapeDtypeStruct((1,), np.float32),
    "both": jax.ShapeDtypeStruct((2,), np.float32),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str, seed: int | None = None, *, part: str = "labelled"
) -> ArraySource:
  """The examples of a split.

  Args:
    split: "train", "validation" or "test".
    seed: not used.
    part: the points of train, "labelled" or "unlabelled".

  Raises:
    UserError: the split or the part is unknown.
  """
  del seed
  if split not in SPLITS:
    raise UserError(f"No split '{split}'.", exists=SPLITS, near=split)
  if part not in PARTS:
    raise UserError(f"No part '{part}'.", exists=PARTS, near=part)
  rows = split
  if split != "test":
    rows = PARTS[(PARTS.index(part) + (split == "validation")) % 2]
  points, labels, of_part = _split()
  rows = of_part[rows]
  return ArraySource(
    {
      "first": points[rows, :1],
      "both": points[rows],
      "label": labels[rows],
      "index": rows.astype(np.int32),
    }
  )


@functools.cache
def _split() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
  """All points, their labels, and the indices of each part."""
  from sklearn import datasets, model_selection, preprocessing

  points, labels = datasets.make_moons(COUNT, noise=NOISE, random_state=STATE)
  points = preprocessing.StandardScaler().fit_transform(points)
  divided = functools.partial(
    model_selection.train_test_split, random_state=STATE
  )
  rest, test = divided(np.arange(COUNT), test_size=TEST)
  labelled, unlabelled = divided(rest, test_size=UNLABELLED)
  of_part = {"labelled": labelled, "unlabelled": unlabelled, "test": test}
  return points.astype(np.float32), labels.astype(np.int32), of_part

"""Synthetic points with a regular and a privileged view: four experiments.

Every seed draws a hyperplane a ~ N(0, I_50) and points. The student's view is
`regular`, x; the teacher's is `privileged`, x*:

  clean_labels     x ~ N(0, I), x* = <a, x>, y = 1[x* + e > 0], e ~ N(0, 1)
  clean_features   x* ~ N(0, I), x = x* + N(0, I), y = 1[<a, x*> > 0]
  relevant         x ~ N(0, I), x* = x_1..3, y = 1[<a_1..3, x*> > 0]
  relevant_each    x ~ N(0, I), x* = the 3 largest entries of x, the largest
                   first, y = 1[<a_1..3, x*> > the median of the split]

Both views are standardised by the training examples. 200 are train, 200
validation, 10,000 test.

Lopez-Paz, Bottou, Schoelkopf and Vapnik, "Unifying distillation and privileged
information", ICLR 2016, arXiv:1511.03643, Section 6.1. The paper's text has the
classes of the last one split at 0; its numbers are of a split at the median.
"""

import jax
import numpy as np

from kdjax.data import _options
from kdjax.data._splits import SPLITS
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = "none needed: synthetic"

# Each seed has examples of its own in every split.
SEED_DRAWS_ALL = True

WIDTH = 50
RELEVANT = 3
SIZES = {"train": 200, "validation": 200, "test": 10_000}

# experiment -> width of x*
EXPERIMENTS = {
  "clean_labels": 1,
  "clean_features": WIDTH,
  "relevant": RELEVANT,
  "relevant_each": RELEVANT,
}

# Separates these draws from a seed's other random streams.
_SEED = 1511


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0 and 1: the sides of the hyperplane.

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return ("below", "above")


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; `experiment` changes them.
  """
  experiment = _known(_options.chosen(load, options)["experiment"])
  numbers = lambda width: jax.ShapeDtypeStruct((width,), np.float32)
  return {
    "regular": numbers(WIDTH),
    "privileged": numbers(EXPERIMENTS[experiment]),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  experiment: str = "clean_labels",
  train_size: int = 200,
) -> ArraySource:
  """The examples of a split, drawn by a seed.

  Args:
    split: "train", "validation" or "test".
    seed: draws the hyperplane and all points; None is 0.
    experiment: one of EXPERIMENTS.
    train_size: number of training examples, 2 to 200.

  Raises:
    UserError: the split, the experiment or the size is unknown.
  """
  if split not in SPLITS:
    raise UserError(f"No split '{split}'.", exists=SPLITS, near=split)
  if not 2 <= train_size <= SIZES["train"]:
    raise UserError(
      f"train_size={train_size} is out of range.",
      f"Expected 2 to {SIZES['train']}.",
    )
  name, seed = _known(experiment), seed or 0
  train = _drawn(name, "train", seed, train_size)
  whole = train if split == "train" else _drawn(name, split, seed, SIZES[split])
  columns = {"label": whole["label"]}
  for key in ("regular", "privileged"):
    scaled = (whole[key] - train[key].mean(0)) / train[key].std(0)
    columns[key] = scaled.astype(np.float32)
  start = sum([*SIZES.values()][: list(SIZES).index(split)])
  size = len(columns["label"])
  columns["index"] = np.arange(start, start + size, dtype=np.int32)
  return ArraySource(columns)


def _known(experiment: str) -> str:
  if experiment not in EXPERIMENTS:
    raise UserError(
      f"No experiment '{experiment}'.", exists=EXPERIMENTS, near=experiment
    )
  return experiment


def _drawn(
  experiment: str, split: str, seed: int, count: int
) -> dict[str, np.ndarray]:
  """Both views and the labels of a split, before standardisation."""
  plane = np.random.default_rng([_SEED, seed]).normal(size=WIDTH)
  rng = np.random.default_rng([_SEED, seed, list(SIZES).index(split)])
  x = rng.normal(size=(count, WIDTH))
  if experiment == "clean_labels":
    privileged = (x @ plane)[:, None]
    above = privileged[:, 0] + rng.normal(size=count) > 0
  elif experiment == "clean_features":
    privileged, x = x, x + rng.normal(size=x.shape)
    above = privileged @ plane > 0
  elif experiment == "relevant":
    privileged = x[:, :RELEVANT]
    above = privileged @ plane[:RELEVANT] > 0
  else:
    privileged = -np.sort(-x, axis=1)[:, :RELEVANT]
    height = privileged @ plane[:RELEVANT]
    above = height > np.median(height)
  return {
    "regular": x,
    "privileged": privileged,
    "label": above.astype(np.int32),
  }

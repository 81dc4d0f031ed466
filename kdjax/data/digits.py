"""Scikit-learn's 1,797 handwritten digits, each with a hint in English.

An image is 8x8 grey values. A hint states three facts about the digit, each of
which may be wrong, and never names a digit:

  hint     one phrase a fact, in any order, joined by ", " or "; "
  holes    none: 1 2 3 4 5 7   single: 0 6 9     pair: 8
  parity   odd: 1 3 5 7 9      even: 0 2 4 6 8
  strokes  round: 0 3 6 8      straight: 1 4 7   both: 2 5 9

"odd digit; with a single hole; round strokes" is a hint for a 9 with a wrong
fact about its strokes. True facts do not separate 1 from 7 or 0 from 6: a hint
complements an image and does not replace it.

Optional views of an image, for methods that need them: `image@strong` (moved by
up to a pixel, with another contrast and noise), `image@rotate90`,
`image@rotate180`, `image@rotate270` and `image@masked` (12 of its 16 squares of
2x2 black). A view depends on the example's index alone.
"""

import functools

import jax
import numpy as np
from jaxtyping import Float, Int

from kdjax.data import _subset, _texts
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.preprocess.words import Vocabulary
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = "CC BY 4.0"

# split -> first index, and the first after it. The settings of
# configs/digits.py were selected on the last 400, which are training examples
# now; the first 400 were not used for that.
SPLITS = {
  "test": (0, 400),
  "validation": (400, 600),
  "train": (600, 1797),
}

# Positions of a text; the longest hint has nine words.
LENGTH = 12

# Vocabulary size: the words below and two special ids.
VOCABULARY = 17

# fact -> the phrases of each of its values: one informative word, and fillers.
# More fillers would mean more words to learn from few labels.
PHRASES = {
  "holes": (
    ("no hole", "with no hole"),
    ("a single hole", "with a single hole"),
    ("a pair of holes", "with a pair of holes"),
  ),
  "parity": (
    ("odd", "odd digit"),
    ("even", "even digit"),
  ),
  "strokes": (
    ("round", "round strokes"),
    ("straight", "straight strokes"),
    ("mixed", "mixed strokes"),
  ),
}

# fact -> the value that is true of each digit
TRUTH = {
  "holes": (1, 0, 0, 0, 0, 0, 1, 0, 2, 1),
  "parity": (1, 0, 1, 0, 1, 0, 1, 0, 1, 0),
  "strokes": (0, 1, 2, 0, 1, 2, 0, 1, 0, 2),
}

# Optional views of an image.
VIEWS = ("strong", "rotate90", "rotate180", "rotate270", "masked")

# The hints and views belong to the data: no seed of a run changes them.
_HINT_SEED = 1797
_VIEW_SEED = 8


def class_names(
  *, labels_per_class: int = 3, wrong: float = 0.1, views: tuple = ()
) -> tuple[str, ...]:
  """Names of classes 0, 1, ..."""
  del labels_per_class, wrong, views
  return tuple("0123456789")


def ids(
  *, labels_per_class: int = 3, wrong: float = 0.1, views: tuple = ()
) -> dict[str, int]:
  """Vocabulary size of the hints."""
  del labels_per_class, views
  return {"text": len(vocabulary(wrong))}


def readers(
  *, labels_per_class: int = 3, wrong: float = 0.1, views: tuple = ()
) -> dict[str, Vocabulary]:
  """The vocabulary of the hints."""
  del labels_per_class, views
  return {"text": vocabulary(wrong)}


def decoding(
  *, labels_per_class: int = 3, wrong: float = 0.1, views: tuple = ()
) -> dict[str, dict]:
  """How an image file is read: 0 to 1, without its views."""
  del labels_per_class, wrong, views
  return {"image": {"low": 0.0, "high": 1.0}}


def spec(
  *, labels_per_class: int = 3, wrong: float = 0.1, views: tuple = ()
) -> Spec:
  """Shapes and dtypes of one example; `views` alone changes them."""
  del labels_per_class, wrong
  image = jax.ShapeDtypeStruct((8, 8, 1), np.float32)
  return {
    "image": image,
    **{f"image@{view}": image for view in _known(views)},
    **_texts.spec(LENGTH),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  labels_per_class: int = 3,
  wrong: float = 0.1,
  views: tuple = (),
) -> ArraySource:
  """The examples of a split.

  Args:
    split: "train", "validation" or "test".
    seed: draws the training images that keep their label; None is 0.
    labels_per_class: training labels kept per class, the others are -1; 0 keeps
      all. Validation and test keep theirs.
    wrong: the probability that a fact of a hint is wrong.
    views: names of VIEWS; each adds a key `image@<view>`.

  Raises:
    UserError: the split or a view is unknown, or a number is out of range.
  """
  if split not in SPLITS:
    raise UserError(f"No split '{split}'.", exists=SPLITS, near=split)
  rows = slice(*SPLITS[split])
  images, labels = _images()
  labels = labels[rows]
  if split == "train" and labels_per_class:
    labels = _subset.keep_labels(
      labels, labels_per_class, 0 if seed is None else seed
    )
  texts = hints(wrong)[rows]
  return ArraySource(
    {
      "image": images[rows],
      **{f"image@{view}": _view(view)[rows] for view in _known(views)},
      **_texts.columns(vocabulary(wrong), texts, LENGTH),
      "label": labels,
      "index": np.arange(rows.start, rows.stop, dtype=np.int32),
    }
  )


def vocabulary(wrong: float = 0.1) -> Vocabulary:
  """The words of the training hints."""
  return Vocabulary.build(hints(wrong)[slice(*SPLITS["train"])])


def hints(wrong: float = 0.1) -> list[str]:
  """The hint of every digit, by index."""
  if not 0 <= wrong <= 1:
    raise UserError(
      f"wrong={wrong} is out of range.", "Expected a probability, 0 to 1."
    )
  return list(_hints(float(wrong)))


@functools.cache
def _images() -> tuple[np.ndarray, Int[np.ndarray, "N"]]:
  from sklearn import datasets

  images, labels = datasets.load_digits(return_X_y=True)
  images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
  labels = labels.astype(np.int32)
  for array in (images, labels):
    array.flags.writeable = False  # shared by all callers
  return images, labels


def _known(views: tuple[str, ...]) -> tuple[str, ...]:
  for view in views:
    if view not in VIEWS:
      raise UserError(f"No view '{view}'.", exists=VIEWS, near=view)
  return tuple(views)


@functools.cache
def _view(name: str) -> Float[np.ndarray, "N 8 8 1"]:
  images, _ = _images()
  if name in ("strong", "masked"):
    change = _strong if name == "strong" else _masked
    seeds = ([_VIEW_SEED, index] for index in range(len(images)))
    images = np.stack(
      [
        change(image, np.random.default_rng(seed))
        for image, seed in zip(images, seeds, strict=True)
      ]
    )
  else:
    turns = int(name.removeprefix("rotate")) // 90
    images = np.ascontiguousarray(np.rot90(images, turns, axes=(1, 2)))
  images.flags.writeable = False
  return images


def _strong(
  image: Float[np.ndarray, "8 8 1"], rng: np.random.Generator
) -> Float[np.ndarray, "8 8 1"]:
  """Shifted over a black background, brighter or darker, with noise."""
  # 0, 1 or 2 of each; 1, with probability 1/2, is no shift.
  down, right = rng.integers(0, 2, size=(2, 2)).sum(axis=0)
  moved = np.pad(image, ((1, 1), (1, 1), (0, 0)))[down:, right:][:8, :8]
  noisy = moved * rng.uniform(0.6, 1.4) + rng.normal(0.0, 0.1, moved.shape)
  return np.clip(noisy, 0.0, 1.0).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _hints(wrong: float) -> tuple[str, ...]:
  return tuple(
    _hint(digit, np.random.default_rng([_HINT_SEED, index]), wrong)
    for index, digit in enumerate(_images()[1])
  )


def _hint(digit: int, rng: np.random.Generator, wrong: float) -> str:
  """A hint; its random draws are the same for every `wrong`."""
  chosen = []
  for fact, values in PHRASES.items():
    value = TRUTH[fact][digit]
    is_wrong = rng.random() < wrong
    other = (value + rng.integers(1, len(values))) % len(values)
    phrases = values[other if is_wrong else value]
    chosen.append(phrases[rng.integers(len(phrases))])
  mark = (", ", "; ")[rng.integers(2)]
  return mark.join(chosen[number] for number in rng.permutation(len(chosen)))


def _masked(
  image: Float[np.ndarray, "8 8 1"], rng: np.random.Generator
) -> Float[np.ndarray, "8 8 1"]:
  """Three quarters of the squares of 2x2 pixels black."""
  visible = rng.permutation(16) < 4
  mask = np.kron(visible.reshape(4, 4), np.ones((2, 2), bool))
  return image * mask[..., None]

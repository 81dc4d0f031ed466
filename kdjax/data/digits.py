"""Scikit-learn's 1,797 handwritten digits, each with a hint in English.

An image is 8x8 grey values. A hint states three facts about the digit, any of
which may be wrong, and never names a digit:

  hint     one phrase a fact, in any order, joined by ", " or "; "
  holes    none: 1 2 3 4 5 7   single: 0 6 9     pair: 8
  parity   odd: 1 3 5 7 9      even: 0 2 4 6 8
  strokes  round: 0 3 6 8      straight: 1 4 7   both: 2 5 9

"odd digit; with a single hole; round strokes" is the hint of a 9 whose strokes
came out wrong. Even true facts do not tell 1 from 7 and 0 from 6: a hint helps
an image and does not replace it.

Further views of an image, where a method asks for them: `image@strong` (moved
by up to a pixel, its contrast changed, with noise; the same for an index
wherever it is asked for), `image@rotate90`, `image@rotate180`,
`image@rotate270`, `image@masked` (12 of its 16 squares of 2x2 black; likewise
the same).
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

# split -> first index, and the first after it. The settings of
# configs/digits.py were chosen with the last 400 held out, which are training
# examples now: nobody had looked at the first 400.
SPLITS = {
  "test": (0, 400),
  "validation": (400, 600),
  "train": (600, 1797),
}

# Positions of a text; the longest hint has nine words.
LENGTH = 12

# Ids that a network of the text must know: the words below and the special two.
VOCABULARY = 17

# fact -> its values, and how each is said: one telling word, and fillers. Every
# further filler is one more thing to learn by heart from few labels.
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

# Views that an image can have beside itself.
VIEWS = ("strong", "rotate90", "rotate180", "rotate270", "masked")

# The hints and views belong to the data: no seed of a run changes them.
_HINT_SEED = 1797
_VIEW_SEED = 8


def class_names(
  *, labels_per_class: int = 3, wrong: float = 0.1, views: tuple = ()
) -> tuple[str, ...]:
  """What label 0, 1, ... stands for."""
  del labels_per_class, wrong, views
  return tuple("0123456789")


def ids(
  *, labels_per_class: int = 3, wrong: float = 0.1, views: tuple = ()
) -> dict[str, int]:
  """How many ids the hints have."""
  del labels_per_class, views
  return {"text": len(vocabulary(wrong))}


def spec(
  *, labels_per_class: int = 3, wrong: float = 0.1, views: tuple = ()
) -> Spec:
  """What one example holds; of the options, `views` alone changes it."""
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
    seed: draws which training images keep their label; None is 0.
    labels_per_class: labels kept in training, the others are -1; 0 keeps all.
      Validation and test keep theirs.
    wrong: the probability that a fact of a hint is wrong.
    views: of the image, of those in VIEWS; each is a key `image@<view>`.
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
  said = hints(wrong)[rows]
  return ArraySource(
    {
      "image": images[rows],
      **{f"image@{view}": _view(view)[rows] for view in _known(views)},
      **_texts.columns(vocabulary(wrong), said, LENGTH),
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
    raise UserError(f"wrong={wrong}.", "It is a probability, 0 to 1.")
  return list(_hints(float(wrong)))


@functools.cache
def _images() -> tuple[np.ndarray, Int[np.ndarray, "N"]]:
  from sklearn import datasets

  images, labels = datasets.load_digits(return_X_y=True)
  images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
  labels = labels.astype(np.int32)
  for array in (images, labels):
    array.flags.writeable = False  # every caller has the same
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
    made = np.stack(
      [
        change(image, np.random.default_rng(seed))
        for image, seed in zip(images, seeds, strict=True)
      ]
    )
  else:
    turns = int(name.removeprefix("rotate")) // 90
    made = np.ascontiguousarray(np.rot90(images, turns, axes=(1, 2)))
  made.flags.writeable = False
  return made


def _strong(
  image: Float[np.ndarray, "8 8 1"], rng: np.random.Generator
) -> Float[np.ndarray, "8 8 1"]:
  """Moved over a black ground, brighter or darker, and noisy."""
  # 0, 1 or 2 of each, half of the time the 1 that leaves it where it is.
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
  """One sentence; its draws are the same for every `wrong`."""
  said = []
  for fact, values in PHRASES.items():
    value = TRUTH[fact][digit]
    is_wrong = rng.random() < wrong
    other = (value + rng.integers(1, len(values))) % len(values)
    phrases = values[other if is_wrong else value]
    said.append(phrases[rng.integers(len(phrases))])
  mark = (", ", "; ")[rng.integers(2)]
  return mark.join(said[place] for place in rng.permutation(len(said)))


def _masked(
  image: Float[np.ndarray, "8 8 1"], rng: np.random.Generator
) -> Float[np.ndarray, "8 8 1"]:
  """Three quarters of its squares of 2x2 pixels black."""
  seen = rng.permutation(16) < 4
  return image * np.kron(seen.reshape(4, 4), np.ones((2, 2), bool))[..., None]

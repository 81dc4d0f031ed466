"""Emoji: 1,644 images, each with its name and keywords, in nine groups.

1,329 / 152 / 163, drawn by a hash of the name, from root/emoji/sheet.webp and
meta.json.gz. A text is the name and then the keywords, as ids of words, with a
vocabulary of the training texts. Class sizes differ much: 386 people, 8 flags.
Five images equal another one.

Images: Noto Emoji by Google, Apache-2.0. Names and groups: Unicode; keywords:
emojilib, MIT.
"""

import functools

import jax
import numpy as np
from jaxtyping import UInt8

from kdjax.data import _options, _subset, _texts
from kdjax.data._emoji import GROUPS, SIDE, emoji
from kdjax.data._splits import check
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.preprocess.tokenizer import Tokenizer
from kdjax.preprocess.words import Vocabulary
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = "images Apache-2.0; names and keywords MIT"

# The key of the keywords, where they are apart from the name.
KEYWORDS = "keywords"


def seed_draws(**options) -> str:
  """Which splits depend on the seed: "train" if it draws labels, or "none".

  Args:
    **options: of `load`.
  """
  chosen = _options.chosen(load, options)
  drawn = chosen["labels_per_class"] or chosen["names_per_class"]
  return "train" if drawn else "none"


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return GROUPS


def ids(**options) -> dict[str, int]:
  """Vocabulary size of each text; {} if the file does not exist.

  Args:
    **options: of `load`.
  """
  chosen = _options.chosen(load, options)
  found = _texts.ids(_of_text(chosen["apart"]), chosen)
  if chosen["apart"] and found:
    found[KEYWORDS] = _texts.ids(_of_keywords, chosen)["text"]
  return found


def tokenizers(**options) -> dict[str, str]:
  """The tokenizer of each text.

  Args:
    **options: of `load`.
  """
  chosen = _options.chosen(load, options)
  found = _texts.tokenizers(chosen)
  return found | ({KEYWORDS: found["text"]} if chosen["apart"] else {})


def readers(**options) -> dict[str, Tokenizer]:
  """The tokenizer of each text, as an object.

  Args:
    **options: of `load`. The training texts are read.
  """
  chosen = _options.chosen(load, options)
  found = _texts.readers(_of_text(chosen["apart"]), chosen)
  if chosen["apart"]:
    found[KEYWORDS] = _texts.readers(_of_keywords, chosen)["text"]
  return found


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; `size`, `length`, `tokenizer` and `pieces` change
      them.
  """
  chosen = _options.chosen(load, options)
  size = chosen["size"]
  words = _texts.spec(chosen["length"])
  if chosen["apart"]:
    words |= {key.replace("text", KEYWORDS): it for key, it in words.items()}
  words |= _texts.spec(chosen["length"], chosen["tokenizer"], chosen["pieces"])
  if chosen["names_per_class"]:
    for key in ("text", "pieces"):  # both hold the name
      if key in words:
        words[f"has/{key}"] = jax.ShapeDtypeStruct((), np.bool_)
  return {
    "image": jax.ShapeDtypeStruct((size, size, 3), np.uint8),
    **words,
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  size: int = 64,
  vocabulary_size: int = 5000,
  length: int = 32,
  tokenizer: str = "",
  pieces: int = 64,
  apart: bool = False,
  names_per_class: int = 0,
  labels_per_class: int = 0,
  limit: int = 0,
) -> ArraySource:
  """The examples of a split; `index` is the position on the sheet.

  Args:
    split: "train", "validation" or "test".
    seed: draws the labels that are kept, if not all are.
    root: the folder that holds emoji/.
    size: pixels a side, 64, 32 or 16: means of squares of 1, 2 or 4.
    vocabulary_size: the largest vocabulary, with 0 for padding and 1 for
      unknown words.
    length: words of a text; longer texts are cut. At 32 none is.
    tokenizer: of a pretrained network that reads the same texts, as `pieces`:
      a folder, "package:name/folder" or a name of the hub; "" is none.
    pieces: the tokenizer's ids of a text; longer texts are cut.
    apart: whether the text is the name alone, and the keywords are another
      text, `keywords`, each with a vocabulary of its own.
    names_per_class: training images per class whose name is known (`has/text`,
      `has/pieces`), drawn by the seed; those of a class with fewer all are. 0
      is all. Needs `apart`.
    labels_per_class: training labels kept per class, drawn by the seed; the
      others are -1. A class with fewer keeps all; 0 keeps all of every class.
    limit: the largest size of any split, stratified by group; 0 is no limit.

  Raises:
    UserError: a file is missing or broken.
  """
  check(split, 0.0)
  _options.check_counts(
    limit=limit,
    labels_per_class=labels_per_class,
    names_per_class=names_per_class,
  )
  if names_per_class and not apart:
    raise UserError(
      f"names_per_class={names_per_class} without apart=True.",
      "The text of an image is its name alone with apart=True.",
    )
  if size not in (64, 32, 16):
    raise UserError(f"size={size} is not available.", exists=("64", "32", "16"))
  whole = emoji(root)
  rows = np.flatnonzero(whole.split == split)
  rows = rows[_subset.limited(whole.group[rows], limit)]
  texts = [(whole.names if apart else whole.texts)[row] for row in rows]
  words = _of_text(apart)(root, vocabulary_size)
  labels = whole.group[rows]
  arrays = _texts.columns(words, texts, length, tokenizer, pieces)
  if names_per_class:
    arrays = _named(arrays, labels, split, names_per_class, seed or 0)
  if labels_per_class and split == "train":
    labels = _subset.keep_labels(
      labels, labels_per_class, seed or 0, or_all=True
    )
  return ArraySource(
    {
      "image": _smaller(whole.images[rows], SIDE // size),
      **arrays,
      **(_keywords(root, vocabulary_size, rows, length) if apart else {}),
      "label": labels,
      "index": rows.astype(np.int32),
    }
  )


def _named(arrays, labels, split: str, per_class: int, seed: int) -> dict:
  """The texts, in training zeros where the name is not known, and `has/..`."""
  has = np.ones(len(labels), bool)
  if split == "train":
    kept = _subset.keep_labels(labels, per_class, seed, or_all=True)
    has = kept >= 0
  known = {
    key: np.where(has[:, None], x, np.zeros_like(x))
    for key, x in arrays.items()
  }
  return known | {f"has/{key}": has for key in arrays if "/" not in key}


def _keywords(root: str, vocabulary_size: int, rows, length: int):
  """The arrays of the keywords."""
  words = _of_keywords(root, vocabulary_size)
  texts = [emoji(root).keywords[row] for row in rows]
  arrays = _texts.columns(words, texts, length)
  return {key.replace("text", KEYWORDS): it for key, it in arrays.items()}


@functools.cache
def vocabulary(
  root: str, vocabulary_size: int, of: str = "texts"
) -> Vocabulary:
  """The words of the training texts.

  Args:
    root: the folder that holds emoji/.
    vocabulary_size: the largest size.
    of: "texts", "names" or "keywords".
  """
  whole = emoji(root)
  pairs = zip(getattr(whole, of), whole.split, strict=True)
  texts = [text for text, split in pairs if split == "train"]
  return Vocabulary.build(texts, vocabulary_size)


def _of_text(apart: bool):
  """(root, size) -> the vocabulary of the text."""
  of = "names" if apart else "texts"
  return functools.partial(vocabulary, of=of)


def _of_keywords(root: str, vocabulary_size: int) -> Vocabulary:
  return vocabulary(root, vocabulary_size, "keywords")


def _smaller(images: UInt8[np.ndarray, "N S S 3"], factor: int) -> np.ndarray:
  """Means of squares of pixels, rounded."""
  if factor == 1:
    return images
  count, side = len(images), images.shape[1] // factor
  squares = images.reshape(count, side, factor, side, factor, 3)
  means = squares.mean(axis=(2, 4), dtype=np.float32)
  return np.rint(means).astype(np.uint8)

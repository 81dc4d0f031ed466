"""Mandarin characters: how one sounds, how it looks, what it means.

1,734 characters, each with a recording by one speaker, a glyph and an English
gloss, in 376 syllables. No syllable is in two splits. The task "tone" has the
four tones, 1,231 / 149 / 339; "radical" has the twelve commonest radicals, 493
/ 54 / 122, of which two are not in validation. Other characters are left out.

  audio   the recording, float32 -1 to 1 at 16 kHz
  voice   the same again, if `voice` says so: for a second pipeline, as in
          {"audio": "log_mel", "voice": "pitch"}
  image   the glyph, ink 255 on 0
  text    the gloss, as ids of words

The tone is that of the dictionary's first reading, and not always the one that
is heard. What a character means cannot be told from its sound.

Recordings: Yue Tan (Shtooka), post-processed by Hugo Lopez, CC BY-SA. Table:
Make Me a Hanzi, of Unihan and CJKlib, LGPL-3 or later. Glyphs: Arphic
Technology, Arphic Public License.
"""

import functools

import jax
import numpy as np
from jaxtyping import UInt8

from kdjax.data import _hanzi, _options, _subset, _texts
from kdjax.data._splits import check
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.preprocess.audio import samples_of
from kdjax.preprocess.tokenizer import Tokenizer
from kdjax.preprocess.words import Vocabulary
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = (
  "sound CC BY-SA; glyphs Arphic Public License; table LGPL-3.0-or-later"
)

_TASKS = {"tone": _hanzi.TONES, "radical": tuple(_hanzi.RADICALS.values())}


def seed_draws(**options) -> str:
  """Which splits depend on the seed: "train" if it draws labels, or "none".

  Args:
    **options: of `load`.
  """
  chosen = _options.chosen(load, options)
  return "train" if chosen["labels_per_class"] else "none"


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...

  Args:
    **options: of `load`; `task` changes them.
  """
  return _classes(_options.chosen(load, options)["task"])


def sample_rates(**options) -> dict[str, int]:
  """The sample rate of the recordings, in Hz.

  Args:
    **options: of `load`; none changes it.
  """
  _options.chosen(load, options)
  return {"audio": _hanzi.RATE, "voice": _hanzi.RATE}


def ids(**options) -> dict[str, int]:
  """Vocabulary size of each text; {} if the file does not exist.

  Args:
    **options: of `load`.
  """
  return _texts.ids(vocabulary, _options.chosen(load, options))


def tokenizers(**options) -> dict[str, str]:
  """The tokenizer of each text.

  Args:
    **options: of `load`.
  """
  return _texts.tokenizers(_options.chosen(load, options))


def readers(**options) -> dict[str, Tokenizer]:
  """The tokenizer of each text, as an object.

  Args:
    **options: of `load`. The training texts are read.
  """
  return _texts.readers(vocabulary, _options.chosen(load, options))


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`; `size`, `seconds`, `voice`, `length`, `tokenizer` and
      `pieces` change them.
  """
  chosen = _options.chosen(load, options)
  size = chosen["size"]
  samples = samples_of(_hanzi.RATE, chosen["seconds"])
  sounds = ("audio", "voice") if chosen["voice"] else ("audio",)
  return {
    **dict.fromkeys(sounds, jax.ShapeDtypeStruct((samples,), np.float32)),
    "image": jax.ShapeDtypeStruct((size, size, 1), np.uint8),
    **_texts.spec(chosen["length"], chosen["tokenizer"], chosen["pieces"]),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  task: str = "tone",
  seconds: float = 1.25,
  voice: bool = False,
  size: int = 64,
  vocabulary_size: int = 5000,
  length: int = 16,
  tokenizer: str = "",
  pieces: int = 32,
  labels_per_class: int = 0,
  limit: int = 0,
) -> ArraySource:
  """The examples of a split; `index` is the position in the table.

  Args:
    split: "train", "validation" or "test".
    seed: draws the labels that are kept, if not all are.
    root: the folder that holds hanzi/.
    task: what the label is, "tone" or "radical".
    seconds: of a recording; longer ones are cut (2 % are, at 1.25), shorter
      ones padded with zeros.
    voice: whether the recording is also the key `voice`.
    size: pixels a side of a glyph, 64, 32, 16, 8 or 4: means of squares.
    vocabulary_size: the largest vocabulary, with 0 for padding and 1 for
      unknown words.
    length: words of a gloss; longer ones are cut. At 16 none is.
    tokenizer: of a pretrained network that reads the same texts, as `pieces`:
      a folder, "package:name/folder" or a name of the hub; "" is none.
    pieces: the tokenizer's ids of a gloss; longer ones are cut.
    labels_per_class: training labels kept per class, the others are -1; 0 keeps
      all.
    limit: the largest size of any split, stratified by label; 0 is no limit.

  Raises:
    UserError: a file is missing or broken, or an option is impossible.
  """
  check(split, 0.0)
  _options.check_counts(limit=limit, labels_per_class=labels_per_class)
  _classes(task)
  if size not in (64, 32, 16, 8, 4):
    sizes = ("64", "32", "16", "8", "4")
    raise UserError(f"size={size} is not available.", exists=sizes)
  whole = _hanzi.hanzi(root)
  labels = _hanzi.labels(whole, task)
  rows = np.flatnonzero((whole.split == split) & (labels >= 0))
  rows = rows[_subset.limited(labels[rows], limit)]
  labels = labels[rows]
  if split == "train" and labels_per_class:
    labels = _subset.keep_labels(labels, labels_per_class, seed or 0)
  samples = samples_of(_hanzi.RATE, seconds)
  waves = whole.sounds(rows, samples).astype(np.float32) / 32768
  texts = [whole.gloss[row] for row in rows]
  words = vocabulary(root, vocabulary_size)
  return ArraySource(
    {
      **({"audio": waves, "voice": waves} if voice else {"audio": waves}),
      "image": _smaller(whole.glyph[rows], size)[..., None],
      **_texts.columns(words, texts, length, tokenizer, pieces),
      "label": labels,
      "index": rows.astype(np.int32),
    }
  )


@functools.cache
def vocabulary(root: str, vocabulary_size: int) -> Vocabulary:
  """The words of the training glosses, of all characters."""
  whole = _hanzi.hanzi(root)
  pairs = zip(whole.gloss, whole.split, strict=True)
  texts = [gloss for gloss, split in pairs if split == "train"]
  return Vocabulary.build(texts, vocabulary_size)


def _classes(task: str) -> tuple[str, ...]:
  if task not in _TASKS:
    raise UserError(f"No task '{task}'.", exists=_TASKS, near=task)
  return _TASKS[task]


def _smaller(
  images: UInt8[np.ndarray, "N 64 64"], size: int
) -> UInt8[np.ndarray, "N S S"]:
  """Means of squares of pixels, rounded."""
  factor = images.shape[1] // size
  squares = images.reshape(-1, size, factor, size, factor)
  return np.rint(squares.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)

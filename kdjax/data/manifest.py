"""Your own files: a table with a column per modality, and a line per record.

  photo         voice        caption          species    split
  img/001.jpg   wav/a.flac   a small brown …  sparrow    train
  img/002.png                two on a branch  sparrow    test

The table is CSV, TSV, JSONL (each also .gz) or Parquet. `columns` says what
the keys of a batch are made of, as {key: "column"} where the key is a kind, or
{key: "kind:column"}:

  image    path of an image     uint8 [H W C], scaled and cropped
  audio    path of a recording  float32 [N] from -1 to 1, mono, resampled
  text     the text itself      int32 [T] ids, with mask/<key> bool [T]; texts
                                of several columns share one vocabulary
  numbers  one or more columns  float32 [D]: "numbers:height, weight"; they are
                                missing where one of them is
  target   likewise             float32 [] of one column, else [D]
  label    a name or a number   int32 [], -1 where the cell is empty
  labels   names, a|b, or list  int32 [K] of 0 and 1, all -1 where it is empty

An empty cell is a missing modality: `has/<key>` is False there, and the value
zeros. Anything else that cannot be read is a fault. It is reported with file,
line, column and reason; see `on_error`. What a table itself holds is checked
when it is loaded, its images and recordings when they are decoded:
`kdjax inspect data --config=...` does both for every record.

Paths start at `root` and stay below it. Images are turned as their EXIF says,
and what is transparent is white.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from kdjax.data import _columns, _options, _splits
from kdjax.data._manifest import Options, open_table
from kdjax.data._records import opened
from kdjax.feed.sources import RecordSource
from kdjax.preprocess import audio, images
from kdjax.types import Spec

# All seeds have the same examples.
SEED_DRAWS = False


def class_names(**options) -> tuple[str, ...]:
  """What label 0, 1, ... stands for; of a table without labels, nothing.

  Args:
    **options: those of `load`. The table is read unless `classes` is given.
  """
  chosen = _chosen(options)
  return chosen.classes or open_table(chosen).classes


def ids(**options) -> dict[str, int]:
  """How many ids each text has; {} where there is no table.

  Args:
    **options: those of `load`. The table is read.
  """
  chosen = _chosen(options)
  if not chosen.path.is_file():
    return {}  # which `load` says
  whole = open_table(chosen)
  texts = [column.key for column in whole.columns if column.kind == "text"]
  return dict.fromkeys(texts, whole.ids)


def spec(**options) -> Spec:
  """What one example holds.

  Args:
    **options: those of `load`. The table is read only where `columns` is None,
      or where there are several labels and `classes` is ().
  """
  return _spec(_chosen(options))


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  table: str = "manifest.csv",
  columns: Mapping[str, str] | None = None,
  record_key: str = "",
  split_column: str = "split",
  validation: float = 0.1,
  test: float = 0.1,
  classes: tuple[str, ...] = (),
  image_size: tuple[int, int] = (32, 32),
  channels: int = 3,
  fit: str = "crop",
  sample_rate: int = 16000,
  seconds: float = 1.0,
  tokenizer: str = "words",
  vocabulary_size: int = 10000,
  length: int = 32,
  encoding: str = "utf-8",
  on_error: str = "raise",
  most_broken: float = 0.05,
) -> RecordSource:
  """The records of a split; `index` is the place of a record in the table.

  Args:
    split: "train", "validation" or "test".
    seed: draws nothing here.
    root: the folder that paths start from, and the table's own.
    table: a path from `root`, or an absolute one.
    columns: as above. None: those columns of the table that are called image,
      audio, text, numbers, target, label or labels.
    record_key: the column that tells records apart, such as "id", so that a
      record stays in its split when others come or go; "" is its place.
    split_column: the column that says train, validation (val, valid, dev) or
      test. A table without "split", and "", draws by the hash of the key, and
      so do validation and test from train where no record says them.
    validation: the share that is drawn for validation.
    test: the share that is drawn for test.
    classes: the names of the classes, in order; () are the labels of the
      training split, by alphabet. Numbers are classes, 0 to the largest.
    image_size: (height, width) of every image.
    channels: of an image: 3 is colour, 1 is grey.
    fit: "crop" scales an image to cover `image_size` and cuts the rest off;
      "stretch" scales both sides alone.
    sample_rate: of every recording, in Hz; others are resampled.
    seconds: of every recording; longer ones are cut, shorter ones end in zeros.
    tokenizer: "words" or "characters" of the training texts, a folder of a
      `transformers` tokenizer, or a name of the hub with @revision.
    vocabulary_size: ids of a vocabulary of words or characters, at most, with
      0 for padding and 1 for what is unknown.
    length: ids of a text; longer ones are cut.
    encoding: of the table's text.
    on_error: "raise" stops at the first fault; "skip" makes a broken record a
      row that counts nowhere, and lists its faults in `records()`. One whose
      split cannot be read is among those of train.
    most_broken: the share of a split that may be skipped; one more stops.

  Raises:
    UserError: the table cannot be read, lacks a column, or has a fault.
  """
  del seed
  chosen = _chosen(
    {
      "root": root,
      "table": table,
      "columns": columns,
      "record_key": record_key,
      "split_column": split_column,
      "validation": validation,
      "test": test,
      "classes": classes,
      "image_size": image_size,
      "channels": channels,
      "fit": fit,
      "sample_rate": sample_rate,
      "seconds": seconds,
      "tokenizer": tokenizer,
      "vocabulary_size": vocabulary_size,
      "length": length,
      "encoding": encoding,
    }
  )
  _splits.check(split, validation, test)
  records = opened(chosen, split, _spec(chosen), strict=on_error == "raise")
  return RecordSource(records, on_error=on_error, most_broken=most_broken)


def _chosen(options: Mapping[str, Any]) -> Options:
  """The options of `load`, each with its default there."""
  both = _options.chosen(load, options)
  columns = both["columns"]
  both["columns"] = None if columns is None else _columns.parse(columns)
  for key in ("classes", "image_size"):
    both[key] = tuple(both[key])
  fields = [field.name for field in dataclasses.fields(Options)]
  return Options(**{key: both[key] for key in fields})


def _spec(chosen: Options) -> Spec:
  images.check(chosen.image_size, chosen.channels, chosen.fit)
  samples = audio.samples_of(chosen.sample_rate, chosen.seconds)
  found: Spec = {}
  for column in chosen.columns or open_table(chosen).columns:
    key, kind, several = column.key, column.kind, (len(column.names),)
    shape, dtype = {
      "image": ((*chosen.image_size, chosen.channels), np.uint8),
      "audio": ((samples,), np.float32),
      "text": ((chosen.length,), np.int32),
      "numbers": (several, np.float32),
      "target": (several if several > (1,) else (), np.float32),
      "label": ((), np.int32),
      "labels": ((), np.int32),
    }[kind]
    if kind == "labels":
      shape = (len(chosen.classes or open_table(chosen).classes),)
    found[key] = jax.ShapeDtypeStruct(shape, dtype)
    if kind == "text":
      found[f"mask/{key}"] = jax.ShapeDtypeStruct(shape, np.bool_)
    if kind not in ("label", "labels"):
      found[f"has/{key}"] = jax.ShapeDtypeStruct((), np.bool_)
  return {**found, "index": jax.ShapeDtypeStruct((), np.int32)}

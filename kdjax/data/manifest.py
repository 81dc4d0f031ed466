"""Your own files: a table with a column per modality and a line per record.

  photo         voice        caption          species    split
  img/001.jpg   wav/a.flac   a small brown …  sparrow    train
  img/002.png                two on a branch  sparrow    test

The table is CSV, TSV, JSONL (each also .gz) or Parquet. `columns` maps keys of
the batch to columns: {key: "column"} if the key is a kind, else
{key: "kind:column"}. The kinds:

  image    path of an image     uint8 [H W C], scaled and cropped
  frames   a list of paths      uint8 [T H W C] of T = `steps` images, and
                                mask/<key> bool [T]
  audio    path of a recording  float32 [N] from -1 to 1, mono, resampled
  text     a text               int32 [T] ids, with mask/<key> bool [T]; all
                                text columns share one vocabulary
           a list of K texts    int32 [K T]; a network reads one of them: in
                                training one is drawn in each epoch, and in
                                evaluation each is an example of its own.
                                `record` is then the record's number
  numbers  one or more columns  float32 [D]: "numbers:height, weight"; missing
                                if one of them is. Of one column, also a list
                                of D numbers, or the path of an .npy file
  sequence a list of lists, or  float32 [T F] of T = `steps` steps, with
           the path of .npy     mask/<key> bool [T]; of an .npy file [T F] or
           or CSV               of CSV with a line a step
  target   one or more columns  float32 [] of one column, else [D]
  label    a name or a number   int32 [], -1 if the cell is empty; of several
                                tasks, {"label/<name>": column}
  labels   names, a|b, or list  int32 [K] of 0 and 1, all -1 if it is empty;
                                also a list of a 0 or 1 for each class

A column may have options of its own, in place of those of the data set:
{"depth": {"column": "image:depth_png", "range": (0, 4095), "channels": 1}}.

An empty cell is a missing modality: `has/<key>` is False, and the value zeros.
Any other cell that cannot be read is a fault, reported with file, line, column
and reason; see `on_error`. The table's own cells are checked on loading, images
and recordings on decoding; `kdjax inspect data --config=...` checks every
record.

Paths are relative to `root` and stay below it. Images are rotated by their EXIF
orientation; transparency becomes white.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from kdjax.data import _options, _originals, _shapes, _splits
from kdjax.data._manifest import open_table
from kdjax.data._records import opened
from kdjax.data._whole import Options
from kdjax.feed.sources import RecordSource
from kdjax.preprocess.tokenizer import Tokenizer
from kdjax.types import Spec

seed_draws = _splits.seed_draws


def class_names(**options) -> tuple[str, ...]:
  """Names of classes 0, 1, ...; () if the table has no labels.

  Args:
    **options: of `load`. The table is read unless `classes` is set.
  """
  chosen = _chosen(options)
  return chosen.classes or open_table(chosen).classes.get("label", ())


def label_names(**options) -> dict[str, tuple[str, ...]]:
  """Label -> names of its classes: {"label/kind": names}. Reads the table."""
  return dict(open_table(_chosen(options)).classes)


def group_names(**options) -> tuple[str, ...]:
  """Names of groups 0, 1, ..; () without `group_column`. Reads the table."""
  return open_table(_chosen(options)).groups


def ids(**options) -> dict[str, int]:
  """Vocabulary size of each text; {} if the table does not exist.

  Args:
    **options: of `load`. The table is read.
  """
  chosen = _chosen(options)
  if not chosen.there:
    return {}  # `load` reports it
  return dict(open_table(chosen).ids)


def text_state(**options) -> str:
  """All that ids of a text depend on; "" without texts. Reads the table."""
  return open_table(_chosen(options)).texts


def tokenizers(**options) -> dict[str, str]:
  """The tokenizer of each text column.

  Args:
    **options: of `load`. The table is read only if `columns` is None.
  """
  return _each(options, "text", "tokenizer")


def readers(**options) -> dict[str, Tokenizer]:
  """The tokenizer of each text, as an object. Reads the table."""
  return dict(open_table(_chosen(options)).readers)


def decoding(**options) -> dict[str, dict]:
  """How the files of a column are read, where its shape does not say it.

  Args:
    **options: of `load`. The table is read only if `columns` is None.
  """
  fits, ranges = (
    _each(options, "image", "fit"),
    _each(options, "image", "range"),
  )
  scales = _each(options, "audio", "scale")
  images = {key: {"fit": fits[key], "range": ranges[key]} for key in fits}
  return {**images, **{key: {"scale": scales[key]} for key in scales}}


def sample_rates(**options) -> dict[str, int]:
  """The sample rate of each audio column, in Hz.

  Args:
    **options: of `load`. The table is read only if `columns` is None.
  """
  return _each(options, "audio", "sample_rate")


def captions(**options) -> tuple[str, ...]:
  """The texts that may be several a record, of which one is read."""
  chosen = _chosen(options)
  return tuple(open_table(chosen).captions) if chosen.there else ()


def remarks(**options) -> tuple[str, ...]:
  """Sentences on what is no fault and may be a mistake. Reads the table."""
  return tuple(open_table(_chosen(options)).remarks)


def originals(**options) -> tuple[str, ...]:
  """Sentences on what is cut or scaled. Reads the table and every header."""
  chosen = _chosen(options)
  return tuple(_originals.sentences(chosen, open_table(chosen)))


def spec(**options) -> Spec:
  """Shapes and dtypes of one example.

  Args:
    **options: of `load`. The table is read only if `columns` is None, for
      several labels without `classes`, for numbers of one column, which may be
      lists, and for sequences.
  """
  return _shapes.spec(_chosen(options))


def load(
  split: str,
  seed: int | None = None,
  *,
  root: str = "",
  table: str = "manifest.csv",
  columns: Mapping[str, str] | None = None,
  record_key: str = "",
  group_column: str = "",
  split_column: str = "split",
  validation: float = 0.1,
  test: float = 0.1,
  folds: int | str = 0,
  labels_per_class: int = 0,
  classes: tuple[str, ...] = (),
  image_size: tuple[int, int] = (32, 32),
  channels: int = 3,
  fit: str = "crop",
  range: tuple[float, float] | None = None,
  sample_rate: int = 16000,
  seconds: float = 1.0,
  scale: float = 1.0,
  steps: int = 128,
  window: float = 0.0,
  step: float = 0.0,
  rate: float = 0.0,
  purity: float = 0.0,
  tokenizer: str = "words",
  vocabulary_size: int = 10000,
  length: int = 32,
  captions: int = 0,
  encoding: str = "utf-8",
  separator: str = "",
  quoting: str = "auto",
  on_error: str = "raise",
  most_broken: float = 0.05,
) -> RecordSource:
  """The records of a split; `index` is a record's position in the table.

  Args:
    split: "train", "validation" or "test".
    seed: draws the splits if there are `folds`, and the labels that are kept.
    root: the folder of the table and of the files; paths are relative to it.
    table: a path relative to `root`, or an absolute one.
    columns: as above. None takes the table's columns with the names image,
      audio, text, numbers, target, label and labels.
    record_key: the column that identifies a record, such as "id"; a drawn split
      then does not change when records are added or removed. "" uses the
      position.
    group_column: the column of the speaker, patient or picture that several
      records are of; a drawn split has all records of a group, or none. The key
      `group` is its number, for results by group.
    split_column: the column with train, validation (val, valid, dev) or test.
      "split" is also a column called Split, set, subset, partition or fold,
      with such words. If it is "", or there is no such column, splits are drawn
      by the hash of the group, or the key. A split that no record names is
      drawn from train.
    validation: the share that is drawn for validation.
    test: the share that is drawn for test.
    folds: splits depend on the seed: of so many folds, fold `seed` is the test
      split and the next one validation; 0 is none. "groups" leaves one group of
      `group_column` out. The vocabulary is then that of all records.
    labels_per_class: training labels kept per class, drawn by the seed; the
      others are -1; 0 keeps all.
    classes: the names of the classes, in order; () takes the labels of the
      training split, sorted; of all records that kdjax divides, if it draws the
      splits. Whole numbers are classes, 0 to the largest; with `classes` of
      names they are positions.
    image_size: (height, width) of every image.
    channels: of an image: 3 is colour, 1 is grey.
    fit: "crop" scales an image to cover `image_size` and crops the rest;
      "stretch" scales each side by its own factor.
    range: (low, high), black and white of images of more than 8 bits; None is 0
      to 65535 for 16 bits, and 0 to 1 for floats. Another value is a fault.
    sample_rate: of every recording, in Hz; other rates are resampled.
    seconds: of every recording; longer ones are cut, shorter ones padded with
      zeros.
    scale: the largest sample of recordings of floats, which becomes 1. A larger
      one is a fault.
    steps: of a sequence; longer ones are cut, shorter ones padded with zeros.
    window: seconds, or steps without `rate`, of the windows that sequences are
      cut into: each is an example. 0 is none.
    step: from the start of a window to that of the next; 0 is `window`.
    rate: steps a second that sequences are resampled to; 0 does not resample.
    purity: the least share of a window with its label, if steps have labels.
    tokenizer: "words" or "characters" of the training texts, a folder of a
      `transformers` tokenizer, or a name of the hub with @revision.
    vocabulary_size: the largest vocabulary of words or characters, with id 0
      for padding and 1 for unknown ones.
    length: ids of a text; longer ones are cut.
    captions: the most texts of a list that are read; 0 is all. If it is stated,
      a cell may also be the JSON of a list.
    encoding: of the table's text.
    separator: of CSV, one character; "" is a comma, in .tsv a tab.
    quoting: of CSV: "always" reads a cell in quotes up to the closing one,
      "never" takes quotes as characters; "auto" is "always", but for a line of
      a .tsv that is a record only without it.
    on_error: "raise" stops at the first fault; "skip" makes a broken record an
      invalid row, which no term or metric counts, and lists its faults in
      `records()`. A record with an unreadable split is in train.
    most_broken: the largest share of a split that may be skipped.

  Raises:
    UserError: the table cannot be read, lacks a column, or has a fault.
  """
  values = dict(locals())
  chosen = _chosen({name: values[name] for name in load.__kwdefaults__})
  seed = 0 if seed is None else seed
  if folds:
    chosen = dataclasses.replace(chosen, seed=seed)
  _splits.check(split, validation, test)
  records = opened(
    chosen, split, _shapes.spec(chosen), strict=on_error == "raise"
  )
  if labels_per_class and split == "train":
    records.keep_labels(labels_per_class, seed)
  return RecordSource(records, on_error=on_error, most_broken=most_broken)


def _each(options: Mapping[str, Any], kind: str, option: str) -> dict[str, Any]:
  """The option of each column of a kind."""
  chosen = _chosen(options)
  if chosen.columns is None and not chosen.there:
    return {}  # `load` reports it
  return {
    column.key: column.option(option, chosen)
    for column in chosen.columns or open_table(chosen).columns
    if column.kind == kind
  }


def _chosen(options: Mapping[str, Any]) -> Options:
  """The options of `load`, each with its default there."""
  return Options.of(_options.chosen(load, options))

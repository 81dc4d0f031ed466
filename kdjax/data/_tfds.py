"""TFDS without TensorFlow: builders, splits, and features as batch keys."""

import dataclasses
import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.data._splits import SPLITS
from kdjax.errors import UserError

EXTRA = 'pip install -e ".[tfds]"'


@dataclasses.dataclass(frozen=True)
class Feature:
  """A key of the batch, and the feature that it is read from.

  Attributes:
    key: of the batch.
    name: of the feature.
    kind: image, audio, text, label or numbers.
    shape: as the data set states it; None where sizes differ.
    dtype: likewise.
    classes: of a label, how many.
  """

  key: str
  name: str
  kind: str
  shape: tuple[int | None, ...]
  dtype: np.dtype
  classes: int = 0


@functools.lru_cache(maxsize=8)
def builder(dataset: str, root: str) -> Any:
  """The builder of a catalogue name, or of what was prepared below `root`.

  Raises:
    UserError: there is none, or it needs TensorFlow to be built at all.
  """
  return _built(dataset, root)


@functools.lru_cache(maxsize=8)
def prepared(dataset: str, root: str) -> Any:
  """The builder, its files written: from where they lie, or else downloaded.

  Raises:
    UserError: it cannot be prepared, or not without TensorFlow.
  """
  found = builder(dataset, root)
  if not found.is_prepared():
    found = _built(dataset, root, file_format="array_record")
    try:
      found.download_and_prepare()
    except Exception as error:
      # Builders are anybody's code, and so is what they raise.
      raise _explained(dataset, error, "cannot be prepared") from error
  return found


def source(
  dataset: str, root: str, split: str, names: Sequence[str] = ()
) -> Any:
  """Random access to a slice; the features `names` stay undecoded.

  Raises:
    UserError: it was prepared in a format without random access.
  """
  import tensorflow_datasets as tfds

  decoders = {name: tfds.decode.SkipDecoding() for name in names}
  try:
    return prepared(dataset, root).as_data_source(split, decoders=decoders)
  except NotImplementedError as error:
    raise UserError(
      f"'{dataset}' was prepared in a format that only TensorFlow reads.",
      "Give another root: there it is prepared as array_record.",
    ) from error


def stamps(dataset: str, root: str) -> list[tuple]:
  """What tells a prepared data set from another: its name and its files'."""
  found = prepared(dataset, root)
  files = []
  for one in sorted(found.data_path.iterdir()):
    state = one.stat()
    files.append((one.name, state.length, state.mtime))
  return [(found.info.full_name,), *files]


def features(
  dataset: str, root: str, chosen: Sequence[tuple[str, str]] | None
) -> tuple[Feature, ...]:
  """The features that become keys of the batch.

  Args:
    dataset: its name.
    root: where it lies.
    chosen: (key, feature)s; None is what the data set calls its input and
      target.
  """
  info = builder(dataset, root).info
  known = dict(info.features)
  if chosen is not None:
    return tuple(_feature(dataset, *pair, known) for pair in chosen)
  keys = info.supervised_keys
  if not keys or not all(isinstance(key, str) for key in keys):
    raise UserError(
      f"Which features of '{dataset}'? It names no input and target.",
      "Give features={key: feature}, such as {'image': 'image'}.",
      exists=known,
    )
  found = [_feature(dataset, "", name, known) for name in keys[:2]]
  kinds = ("label", "numbers")
  return tuple(
    dataclasses.replace(one, key="target" if one.kind == kinds[1] else one.kind)
    for one in found
  )


def slices(
  dataset: str, root: str, splits: Mapping[str, str] | None, share: float
) -> dict[str, tuple[str, np.ndarray]]:
  """Each split as a slice of TFDS, and its records' places in all of them.

  Args:
    dataset: its name.
    root: where it lies.
    splits: split -> slice, as "train[:90%]"; None are those of its own name.
    share: of training, for a validation that is not stated.

  Raises:
    UserError: slices share records, or do not exist.
  """
  import tensorflow_datasets as tfds

  there = prepared(dataset, root).info.splits
  if splits is None:
    splits = _default(
      dataset, {k: v.num_examples for k, v in there.items()}, share
    )
  if {*splits} != {*SPLITS}:
    raise UserError(
      f"splits names {', '.join(splits)}.", "Expected all three.", exists=SPLITS
    )
  starts, start = {}, 0
  for name, one in there.items():
    starts[name], start = start, start + one.num_examples
  found = {}
  for split, spec in splits.items():
    try:
      parts = tfds.core.ReadInstruction.from_spec(spec).to_absolute(there)
    except (ValueError, AssertionError, KeyError) as error:
      raise UserError(
        f"splits: {split}='{spec}' is no slice of '{dataset}'.",
        exists=there,
        near=spec,
      ) from error
    places = []
    for part in parts:
      end = there[part.splitname].num_examples
      begin, end = part.from_ or 0, end if part.to is None else part.to
      places.append(starts[part.splitname] + np.arange(begin, end))
    found[split] = (spec, np.concatenate(places).astype(np.int32))
  for one, other in (SPLITS[:2], SPLITS[1:], SPLITS[::2]):
    shared = np.intersect1d(found[one][1], found[other][1])
    if len(shared):
      raise UserError(
        f"splits: {one}='{found[one][0]}' and {other}='{found[other][0]}' of"
        f" '{dataset}' share {len(shared)} records."
      )
  return found


def _default(dataset: str, sizes: Mapping[str, int], share: float) -> dict:
  """Slices by the names of a data set's splits; test is never for training."""
  if "train" not in sizes:
    raise UserError(
      f"'{dataset}' has no split 'train'.",
      "Give splits={'train': ..., 'validation': ..., 'test': ...}.",
      exists=sizes,
    )
  found = {name: name for name in SPLITS if name in sizes}
  if "test" not in found and "validation" in found:
    # As with ImageNet: the one that has labels is what is reported.
    found["test"] = found.pop("validation")
  end = sizes["train"]
  for name in ("validation", "test"):
    if name not in found:
      begin = end - max(1, round(share * sizes["train"]))
      found[name], end = f"train[{begin}:{end}]", begin
      found["train"] = f"train[:{end}]"
  return found


def _built(dataset: str, root: str, **options) -> Any:
  import tensorflow_datasets as tfds

  try:
    return tfds.builder(dataset, data_dir=root or None, **options)
  except tfds.core.DatasetNotFoundError as error:
    known = re.findall(r"^\s*- ([\w:]+)$", f"{error}", re.MULTILINE)
    below = f", nor below '{root}'" if root else ""
    raise UserError(
      f"No data set '{dataset}' in the TFDS catalogue{below}.",
      "tensorflow.org/datasets/catalog lists them.",
      exists=difflib.get_close_matches(dataset, known, n=5),
      near=dataset,
    ) from error
  except Exception as error:
    raise _explained(dataset, error, "cannot be built") from error


def _explained(dataset: str, error: Exception, what: str) -> UserError:
  """A failure of a builder, in words."""
  chain, one = [], error
  while one is not None:
    chain.append(f"{one}")
    one = one.__cause__ or one.__context__
  if any("tensorflow" in text.lower() for text in chain) and any(
    isinstance(one, ImportError) or "No module named" in f"{one}"
    for one in (error, *chain)
  ):
    return UserError(
      f"'{dataset}' {what} without TensorFlow.",
      f"Install it with {EXTRA}.",
    )
  line = f"{error}".strip().partition("\n")[0]
  return UserError(
    f"'{dataset}' {what}: {line}", "KDJAX_TRACEBACK=1 shows why."
  )


def _feature(
  dataset: str, key: str, name: str, known: Mapping[str, Any]
) -> Feature:
  """A feature by its name, one inside of another by outer/inner."""
  import tensorflow_datasets as tfds

  if name not in known:
    raise UserError(
      f"'{dataset}' has no feature '{name}'.", exists=known, near=name
    )
  feature = known[name]
  kinds = tfds.features
  shape, dtype, classes = feature.shape, None, 0
  if isinstance(feature, kinds.Image):
    kind, dtype = "image", np.dtype(feature.np_dtype)
    kind = kind if dtype == np.uint8 else None
  elif isinstance(feature, kinds.ClassLabel):
    kind, classes = "label", feature.num_classes or 0
  elif isinstance(feature, kinds.Text):
    kind = "text"
  elif isinstance(feature, kinds.Tensor):
    dtype = np.dtype(feature.np_dtype)
    kind = "audio" if len(shape) == 1 and shape[0] is None else "numbers"
    if dtype.kind not in "biuf" or (kind == "numbers" and None in shape):
      kind = None
  else:
    kind = None
  if kind is None:
    raise UserError(
      f"The feature '{name}' of '{dataset}' is {feature!r}.".replace("\n", " "),
      "Expected an image of uint8, a text, a class, numbers of one shape, or a"
      " waveform.",
    )
  return Feature(key, name, kind, tuple(shape), dtype, classes)

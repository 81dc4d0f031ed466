"""Teachers of which only outputs are known: made elsewhere, by anything.

`kdjax cache import` makes a cache of a file with arrays by example: `index`
int [N], as the data numbers its training examples; the outputs [N ...]; and
where it is known `label` [N], for which a run looks whether it is the data's.
"""

import pathlib
from collections.abc import Callable, Mapping
from importlib import metadata
from zipfile import BadZipFile

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from kdjax.cache import codecs, outputs
from kdjax.cache.manifest import Manifest, Output, hash_of
from kdjax.cache.store import Reader, Writer
from kdjax.errors import UserError
from kdjax.types import Array, Outputs

INDEX, LABEL = "index", "label"

# What a manifest says of the data of outputs that were made elsewhere.
ELSEWHERE = "made elsewhere"

SUFFIXES = (".npz", ".safetensors")


class Model(nn.Module):
  """Stands for the network: it knows the shapes, and gives no number (NaN).

  Attributes:
    shapes: output -> shape of one example's.
  """

  shapes: Mapping[str, tuple[int, ...]]

  # Of which it takes how many examples there are.
  reads = (INDEX,)
  needs = ()
  # Which is what a step asks before it measures.
  training_only = True

  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Arrays of the outputs' shapes."""
    del train
    rows = inputs[INDEX].shape[0]
    return {
      name: jnp.full((rows, *shape), jnp.nan)
      for name, shape in self.shapes.items()
    }


def model(path: str) -> Model:
  """What stands for the network whose outputs a cache has.

  Raises:
    UserError: there is no cache, or one that is not of such outputs.
  """
  stored = _read(path).manifest.outputs
  return Model(
    {name: one.shape for name, one in stored.items() if name != LABEL}
  )


def read(
  path: str, index: np.ndarray, labels: np.ndarray | None = None
) -> Reader:
  """The outputs, for examples that a run trains on.

  Args:
    path: of the cache.
    index: int [N], of the examples.
    labels: of the examples, to be compared where the cache knows them.

  Raises:
    UserError: an example has no outputs, or a label is another.
  """
  reader = _read(path)
  rows = reader.positions(index)
  if labels is None or LABEL not in reader.manifest.outputs:
    return reader
  stored = reader.take(index, np.zeros(len(rows), int))
  label = {LABEL: reader.manifest.outputs[LABEL]}
  there = np.asarray(outputs.decode(label, stored)[LABEL])
  flat = lambda array: array.reshape(len(rows), -1)
  # Of an example without a label the data says -1.
  wrong = flat((there != labels) & (labels >= 0)).any(axis=1)
  if wrong.any():
    at = np.argmax(wrong)
    raise UserError(
      f"{path} has another label than the data for {wrong.sum():,} of"
      f" {len(rows):,} examples; that of index {index[at]} is"
      f" {_said(there[at])} there and {_said(labels[at])} here.",
      "Its `index` numbers other examples than the data does.",
    )
  return reader


def make(
  source: str,
  path: str,
  *,
  store: str | Mapping[str, str] = "float32",
  said: Callable[[str], None] = lambda text: None,
) -> None:
  """Makes a cache of a file's arrays.

  Args:
    source: .npz or .safetensors.
    path: of the cache: a folder or a URL.
    store: a codec, or one by output; others, and labels, are float32.
    said: told of what was stored.

  Raises:
    UserError: the file is none, or has other arrays than it should.
  """
  arrays = _arrays(source)
  index = arrays.pop(INDEX)
  if isinstance(store, str):
    store = dict.fromkeys(arrays.keys() - {LABEL}, store)
  unknown = sorted(store.keys() - arrays.keys())
  if unknown:
    raise UserError(f"{source} has no '{unknown[0]}' to store.", exists=arrays)
  told = {
    name: Output(array.shape[1:], "float32", store.get(name, "float32"))
    for name, array in arrays.items()
  }
  made = Manifest(
    teacher=hash_of(arrays),
    data=ELSEWHERE,
    split="train",
    augmentation="",
    augment_seed=0,
    augmentations=1,
    outputs=told,
    batch_shape=(),
    kdjax=metadata.version("kdjax"),
  )
  writer = Writer(path, made, outputs.parts(told), index, 1)
  for view, chunk in writer.missing():
    rows = writer.rows(chunk)
    whole = {
      name: array[rows].astype(np.float32) for name, array in arrays.items()
    }
    writer.write(view, chunk, outputs.encode(told, whole))
  writer.finish()
  size = codecs.bytes_per_row(outputs.parts(told)) * len(index)
  named = ", ".join(f"{name} {list(one.shape)}" for name, one in told.items())
  said(f"{len(index):,} examples of {named}: {size / 1e6:,.1f} MB, {path}")


def _read(path: str) -> Reader:
  reader = Reader(path)
  if reader.manifest.data != ELSEWHERE:
    raise UserError(
      f"The cache {path} is of a teacher that kdjax ran.",
      "`outputs` is of those that `kdjax cache import` made; the `cache` of a"
      " `teacher()` names the others.",
    )
  return reader


def _said(label: np.ndarray) -> str:
  return str(label.astype(int).tolist())


def _arrays(source: str) -> dict[str, np.ndarray]:
  """The arrays of a file: index, and what there is by example."""
  path = pathlib.Path(source)
  if path.suffix not in SUFFIXES or not path.is_file():
    raise UserError(
      f"No file of outputs '{source}'.", f"It ends in {' or '.join(SUFFIXES)}."
    )
  arrays = _open(path)
  index = arrays.get(INDEX)
  if index is None or len(arrays) == (2 if LABEL in arrays else 1):
    raise UserError(
      f"{source} lacks `index`, or outputs beside it.",
      "`index` int [N] says of which examples; outputs are [N ...].",
      exists=arrays,
    )
  if index.ndim != 1 or index.dtype.kind not in "iu":
    raise UserError(
      f"`index` of {source} is {index.dtype} {list(index.shape)}.",
      "Expected integers [N].",
    )
  for name, array in arrays.items():
    if array.shape[:1] != index.shape:
      raise UserError(
        f"'{name}' of {source} is {list(array.shape)}.",
        f"`index` has {len(index)} examples: expected [{len(index)} ...].",
      )
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
      raise UserError(f"'{name}' of {source} is {array.dtype}, no numbers.")
  return arrays


def _open(path: pathlib.Path) -> dict[str, np.ndarray]:
  from safetensors import SafetensorError
  from safetensors.numpy import load_file

  try:
    if path.suffix == ".safetensors":
      return load_file(path)
    with np.load(path, allow_pickle=False) as file:
      return dict(file)
  except (SafetensorError, OSError, ValueError, BadZipFile) as error:
    raise UserError(f"{path} cannot be read: {error}.") from None

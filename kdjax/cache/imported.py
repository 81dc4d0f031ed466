"""Teacher outputs computed by another program, imported as a cache.

`kdjax cache import` makes a cache from a file with one row per example: `index`
int [N], the indices of the training examples in the data; the outputs [N ...];
optionally `label` [N], which a run compares with the data's labels.
"""

import pathlib
from collections.abc import Callable, Mapping
from importlib import metadata
from zipfile import BadZipFile

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from kdjax.cache import codecs, logit_values, outputs, pca
from kdjax.cache.manifest import Manifest, Output, hash_of
from kdjax.cache.store import Reader, Writer
from kdjax.errors import UserError, check_archive
from kdjax.types import Array, Outputs

INDEX, LABEL = "index", "label"

# The manifest's `data` of imported outputs.
ELSEWHERE = "made elsewhere"

SUFFIXES = (".npz", ".safetensors")


class Placeholder(nn.Module):
  """Takes the place of the network; its outputs have shapes, but are NaN.

  Attributes:
    shapes: output -> shape of one example's output.
  """

  shapes: Mapping[str, tuple[int, ...]]

  # The input that gives the number of examples.
  reads = (INDEX,)
  needs = ()
  # Metrics that read such a teacher are not measured.
  training_only = True

  def __call__(self, inputs: dict[str, Array], *, train: bool) -> Outputs:
    """Arrays of NaN with the outputs' shapes."""
    del train
    rows = inputs[INDEX].shape[0]
    return {
      name: jnp.full((rows, *shape), jnp.nan)
      for name, shape in self.shapes.items()
    }


def placeholder(path: str) -> Placeholder:
  """The placeholder of the network that computed a cache's outputs.

  Raises:
    UserError: there is no cache at the path, or its outputs are not imported.
  """
  stored = _open_cache(path).manifest.outputs
  return Placeholder(
    {name: output.shape for name, output in stored.items() if name != LABEL}
  )


def identity(path: str) -> str:
  """The hash of the imported outputs in a cache.

  Raises:
    UserError: there is no cache at the path, or its outputs are not imported.
  """
  return _open_cache(path).manifest.teacher


def open_for(
  path: str, index: np.ndarray, labels: np.ndarray | None = None
) -> Reader:
  """Opens imported outputs for the examples that a run trains on.

  Args:
    path: of the cache.
    index: int [N], the examples' indices.
    labels: the examples' labels, compared with the cache's if it has some.

  Raises:
    UserError: an example has no outputs, or its label differs.
  """
  reader = _open_cache(path)
  rows = reader.positions(index)
  if labels is None or LABEL not in reader.manifest.outputs:
    return reader
  stored = reader.take(index, np.zeros(len(rows), int))
  label = {LABEL: reader.manifest.outputs[LABEL]}
  imported = np.asarray(outputs.decode(label, stored)[LABEL])
  flat = lambda array: array.reshape(len(rows), -1)
  # The data's label of an unlabelled example is -1.
  wrong = flat((imported != labels) & (labels >= 0)).any(axis=1)
  if wrong.any():
    at = np.argmax(wrong)
    raise UserError(
      f"The labels of {path} differ from the data's for {wrong.sum():,} of"
      f" {len(rows):,} examples: index {index[at]} has label"
      f" {_text(imported[at])} in the cache and {_text(labels[at])} in the"
      " data.",
      "Its `index` does not number the examples as the data does.",
    )
  return reader


def import_file(
  source: str,
  path: str,
  *,
  store: str | Mapping[str, str] = "float32",
  log: Callable[[str], None] = lambda line: None,
) -> None:
  """Makes a cache from a file of arrays.

  Args:
    source: a .npz or .safetensors file.
    path: of the cache: a folder or a URL.
    store: a codec, or {output: codec}; other outputs, and labels, are float32.
    log: called with a line about the stored outputs.

  Raises:
    UserError: the file cannot be read, or its arrays are not as expected, such
      as probabilities that are called logits.
  """
  arrays = _arrays(source)
  index = arrays.pop(INDEX)
  logit_values.check(source, arrays)
  if isinstance(store, str):
    store = dict.fromkeys(arrays.keys() - {LABEL}, store)
  unknown = sorted(store.keys() - arrays.keys())
  if unknown:
    raise UserError(
      f"{source} has no '{unknown[0]}', for which `store` names a codec.",
      exists=arrays,
      near=unknown[0],
    )
  stored = {
    name: Output(array.shape[1:], "float32", store.get(name, "float32"))
    for name, array in arrays.items()
  }
  manifest = Manifest(
    teacher=hash_of(arrays),
    data=ELSEWHERE,
    split="train",
    augmentation="",
    augment_seed=0,
    augmentations=1,
    outputs=stored,
    batch_shape=(),
    kdjax=metadata.version("kdjax"),
  )
  writer = Writer(path, manifest, outputs.parts(stored), index, 1)
  for name, k in pca.of_outputs(stored).items():
    basis = pca.fit([arrays[name]], k)
    pca.write(writer.layout, name, basis)
    log(pca.described(name, basis))
  bases = pca.all_of(writer.layout, stored)
  for view, chunk in writer.missing():
    rows = writer.rows(chunk)
    values = {
      name: array[rows].astype(np.float32) for name, array in arrays.items()
    }
    writer.write(view, chunk, outputs.encode(stored, values, bases))
  writer.finish()
  size = codecs.bytes_per_row(outputs.parts(stored)) * len(index)
  shapes = ", ".join(f"{key} {list(one.shape)}" for key, one in stored.items())
  log(f"{len(index):,} examples of {shapes}: {size / 1e6:,.1f} MB, {path}")


def _open_cache(path: str) -> Reader:
  reader = Reader(path)
  if reader.manifest.data != ELSEWHERE:
    raise UserError(
      f"The cache {path} holds outputs of a teacher that kdjax ran.",
      "`outputs` reads caches that `kdjax cache import` made. To read this"
      " one, set `cache` of a `teacher()`.",
    )
  return reader


def _text(label: np.ndarray) -> str:
  return str(label.astype(int).tolist())


def _arrays(source: str) -> dict[str, np.ndarray]:
  """The arrays of a file: `index`, and arrays with one row per example."""
  path = pathlib.Path(source)
  if path.suffix not in SUFFIXES or not path.is_file():
    raise UserError(
      f"'{source}' is no file of outputs.",
      f"Expected an existing file that ends in {' or '.join(SUFFIXES)}.",
    )
  arrays = _load(path)
  index = arrays.get(INDEX)
  if index is None or len(arrays) == (2 if LABEL in arrays else 1):
    raise UserError(
      f"{source} has no `index`, or no outputs in addition to it.",
      "Expected `index` int [N], the examples' indices, and outputs [N ...].",
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
      raise UserError(
        f"'{name}' of {source} is {array.dtype}.", "Expected numbers."
      )
  return arrays


def _load(path: pathlib.Path) -> dict[str, np.ndarray]:
  from safetensors import SafetensorError
  from safetensors.numpy import load_file

  try:
    if path.suffix == ".safetensors":
      return load_file(path)
    check_archive(path)
    with np.load(path, allow_pickle=False) as file:
      return dict(file)
  except (SafetensorError, OSError, ValueError, BadZipFile) as error:
    raise UserError(f"{path} cannot be read: {error}.") from None

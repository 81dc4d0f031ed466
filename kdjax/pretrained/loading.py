"""A checkpoint as a network of kdjax and its variables.

A file of kdjax/models takes public weights where it defines, beside `Model`:

  TYPES            the model_types of a config.json that it takes
  options(config)  fields of `Model` of a parsed config.json
  names(model)     leaf -> public name, "params/head/kernel" ->
                   "classifier.weight"; or a list of such tables, where a
                   network is published under several names
  PREFIXES         what all public names may begin with: ("", "bert.")
  UNREAD           regular expressions of tensors that nobody needs
  FRESH            parts that a checkpoint may lack: ("head",)
  example(model)   if it is there: what it reads, as shapes, from which its
                   variables have theirs; else that is guessed
"""

import dataclasses
import itertools
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from kdjax import registry
from kdjax.errors import ShapeError, UserError
from kdjax.pretrained import files, matching
from kdjax.pretrained.matching import Plan
from kdjax.pretrained.weights import Weights
from kdjax.types import Variables

FLATTEN = flax.traverse_util.flatten_dict
UNFLATTEN = flax.traverse_util.unflatten_dict

# The spread of parameters that no checkpoint has, as BERT draws its own:
# Devlin et al., arXiv:1810.04805.
SPREAD = 0.02


def load(
  path: str,
  name: str,
  *,
  inputs: Mapping[str, Any] | None = None,
  seed: int = 0,
  **options,
) -> tuple[Any, Variables]:
  """A network with published weights.

  Args:
    path: the folder of a checkpoint, or "name@revision" of the hub.
    name: of the network, a file of kdjax/models.
    inputs: what it is called with, arrays or their shapes, from which its
      variables have theirs; None is what fits the network.
    seed: of parts that the checkpoint does not have, as a new classifier.
    **options: fields of the network, instead of those of the checkpoint.

  Returns:
    The Flax module, and its variables, NumPy arrays.

  Raises:
    UserError: the checkpoint cannot be read, or does not fit.
  """
  model, template = shapes(path, name, inputs=inputs, **options)
  return model, variables(path, name, model, template, seed)


def shapes(
  path: str, name: str, *, inputs: Mapping[str, Any] | None = None, **options
) -> tuple[Any, Variables]:
  """As `load`, with the shapes of its variables alone; reads no weights.

  Args:
    path: as of `load`, as are the others.
    name: of the network.
    inputs: what it is called with.
    **options: fields of the network.
  """
  model = registry.find("models", name)(**describe(path, name, **options))
  return model, _shapes(_file(name), model, inputs)


def describe(path: str, name: str, **options) -> dict[str, Any]:
  """The fields of a network as its checkpoint has them; reads no weights.

  Args:
    path: as of `load`.
    name: of the network.
    **options: fields, which count before those of the checkpoint.

  Raises:
    UserError: there is no config.json, it is of another network, or of a kind
      that is not built.
  """
  file, kind = _file(name), registry.find("models", name)
  fields = {field.name for field in dataclasses.fields(kind)}
  for key in options:
    if key not in fields:
      raise UserError(
        f"'{name}' has no option '{key}'.", exists=fields, near=key
      )
  config = files.config(path)
  found = config.get("model_type")
  if found is not None and found not in file.TYPES:
    raise UserError(
      f"'{path}' is of model_type '{found}', and '{name}' takes"
      f" {', '.join(file.TYPES)}.",
      _taken_by(found),
    )
  return {**file.options(config), **options}


def variables(
  path: str, name: str, model: Any, template: Variables, seed: int = 0
) -> Variables:
  """The variables of a network, from a checkpoint.

  They are read one by one: memory holds them, and a few megabytes of the file.

  Args:
    path: as of `load`.
    name: of the network.
    model: the network.
    template: its variables, or their shapes. Of a part that the checkpoint
      does not have, arrays are taken as they are.
    seed: of such a part, where the template has but shapes.

  Returns:
    NumPy arrays, in the template's dtypes.

  Raises:
    UserError: the checkpoint cannot be read, or does not fit: all names that
      are missing, left over or of another shape.
  """
  weights = Weights(files.folder(path))
  shapes = FLATTEN(dict(template), sep="/")
  plan = _plan(weights, path, _file(name), model, shapes)
  leaves = {
    leaf: _fresh(leaf, shapes[leaf], seed)
    if leaf in plan.fresh
    else _read(weights, plan.read[leaf], leaf, shapes[leaf])
    for leaf in shapes
  }
  return UNFLATTEN(leaves, sep="/")


def fit(path: str, name: str, model: Any, template: Variables) -> Plan:
  """Which tensors `variables` would read, and what it would make; reads none.

  Args:
    path: as of `load`.
    name: of the network.
    model: the network.
    template: its variables, or their shapes.

  Raises:
    UserError: as of `variables`.
  """
  weights = Weights(files.folder(path))
  shapes = FLATTEN(dict(template), sep="/")
  return _plan(weights, path, _file(name), model, shapes)


def _plan(weights: Weights, path: str, file: Any, model: Any, shapes) -> Plan:
  tables = file.names(model)
  return matching.plan(
    weights,
    [tables] if isinstance(tables, Mapping) else tables,
    shapes,
    prefixes=file.PREFIXES,
    unread=file.UNREAD,
    fresh=file.FRESH,
    path=path,
  )


def _read(weights: Weights, name: str, leaf: str, like: Any) -> np.ndarray:
  """A tensor, its axes moved."""
  made = np.empty(like.shape, like.dtype)
  moved = matching.axes(leaf, made.ndim)
  weights.copy(name, made.transpose(np.argsort(moved)))
  return made


def _fresh(leaf: str, like: Any, seed: int) -> np.ndarray:
  """What no checkpoint has: normal, where it is no bias and no scale."""
  if not isinstance(like, jax.ShapeDtypeStruct):
    return np.asarray(like)
  kind = leaf.rpartition("/")[2]
  if kind in ("bias", "mean"):
    return np.zeros(like.shape, like.dtype)
  if kind in ("scale", "var"):
    return np.ones(like.shape, like.dtype)
  random = np.random.default_rng([seed, zlib.crc32(leaf.encode())])
  return random.normal(scale=SPREAD, size=like.shape).astype(like.dtype)


def _file(name: str) -> Any:
  """The file of a network that takes public weights."""
  file = sys.modules[registry.find("models", name).__module__]
  if not hasattr(file, "names"):
    raise UserError(
      f"'{name}' takes no published weights.", exists=_takers(), near=name
    )
  return file


def _takers() -> dict[str, tuple[str, ...]]:
  """Networks that take public weights, and the model_types of each."""
  found = {}
  for name in registry.names("models"):
    file = sys.modules[registry.find("models", name).__module__]
    if hasattr(file, "names"):
      found[name] = file.TYPES
  return found


def _taken_by(kind: str) -> str:
  takers = _takers()
  fit = [name for name, kinds in takers.items() if kind in kinds]
  if fit:
    return f"'{fit[0]}' takes it."
  return f"None takes it; there are: {', '.join(takers) or 'none'}."


def _shapes(file: Any, model: Any, inputs: Mapping[str, Any] | None) -> Any:
  """The variables of a network, as shapes."""
  start = lambda inputs: model.init(jax.random.key(0), inputs, train=False)
  if inputs is None and hasattr(file, "example"):
    inputs = file.example(model)
  if inputs is not None:
    return jax.eval_shape(start, dict(inputs))
  failed = None
  for guess in _guesses(model):
    try:
      return jax.eval_shape(start, guess)
    except Exception as error:
      if isinstance(error, UserError) and not isinstance(error, ShapeError):
        raise
      failed = error
  raise UserError(
    f"What the network reads, {', '.join(model.reads)}, is not known: {failed}",
    "Give `inputs`: such arrays, or their shapes.",
  ) from failed


def _guesses(model: Any) -> Iterator[dict[str, jax.ShapeDtypeStruct]]:
  """What it may read: words, an image, a wave or a spectrogram."""
  size = getattr(model, "image_size", 32)
  height, width = (size, size) if isinstance(size, int) else size
  frames, bins = getattr(model, "length", 1024), getattr(model, "mels", 128)
  kinds = {
    "text": [((1, 4), jnp.int32)],
    "image": [((1, height, width, 3), jnp.float32)],
    "audio": [
      ((1, 16000), jnp.float32),
      ((1, frames, bins), jnp.float32),
    ],
  }
  keys = [key for key in model.reads if "/" not in key]
  # A network of one modality may read it under another name.
  default = [getattr(type(model), "modality", "")] if len(keys) == 1 else keys
  found = [kinds.get(key, ()) for key in default]
  for one in itertools.product(*found):
    yield {
      key: jax.ShapeDtypeStruct(*given)
      for key, given in zip(keys, one, strict=True)
    }

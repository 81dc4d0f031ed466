"""Loads a checkpoint as a network of kdjax and its variables.

A file of kdjax/models supports public weights if it defines, next to `Model`:

  TYPES            supported model_types of a config.json
  options(config)  fields of `Model` from a parsed config.json
  names(model)     leaf -> public name, "params/head/kernel" ->
                   "classifier.weight"; or a list of such tables, if the
                   network is published under different names
  PREFIXES         possible prefixes of all public names: ("", "bert.")
  UNREAD           regular expressions of tensors to ignore
  FRESH            parts that a checkpoint may lack: ("head",)
  example(model)   optional: shapes of the inputs, to infer the variables'
                   shapes; by default these are guessed
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

# Standard deviation of kernels that a checkpoint lacks, as in BERT: Devlin et
# al., arXiv:1810.04805.
DEVIATION = 0.02


def load(
  path: str,
  name: str,
  *,
  inputs: Mapping[str, Any] | None = None,
  seed: int = 0,
  **options,
) -> tuple[Any, Variables]:
  """Loads a network with published weights.

  Args:
    path: a checkpoint's folder, "package:name/folder", or "name@revision" on
      the hub.
    name: of the network, a file of kdjax/models.
    inputs: example inputs, arrays or shapes, to infer the variables' shapes;
      None uses inputs that fit the network.
    seed: for parts that the checkpoint lacks, such as a new classifier.
    **options: fields of the network that replace the checkpoint's.

  Returns:
    The Flax module and its variables, NumPy arrays.

  Raises:
    UserError: the checkpoint cannot be read or does not fit the network.
  """
  model, template = shapes(path, name, inputs=inputs, **options)
  return model, variables(path, name, model, template, seed)


def shapes(
  path: str, name: str, *, inputs: Mapping[str, Any] | None = None, **options
) -> tuple[Any, Variables]:
  """As `load`, but with the variables' shapes; reads no weights.

  Args:
    path: as in `load`.
    name: as in `load`.
    inputs: as in `load`.
    **options: as in `load`.
  """
  model = registry.find("models", name)(**describe(path, name, **options))
  return model, _shapes(_file(name), model, inputs)


def describe(path: str, name: str, **options) -> dict[str, Any]:
  """The network's fields from a checkpoint's config.json; reads no weights.

  Args:
    path: as in `load`.
    name: of the network.
    **options: fields that replace the checkpoint's.

  Raises:
    UserError: config.json is missing, belongs to another network or has an
      unsupported value.
  """
  file, kind = _file(name), registry.find("models", name)
  fields = {field.name for field in dataclasses.fields(kind)}
  for key in options:
    if key not in fields:
      raise UserError(
        f"'{name}' has no option '{key}'.", exists=fields, near=key
      )
  config = files.config(path)
  model_type = config.get("model_type")
  if model_type is not None and model_type not in file.TYPES:
    raise UserError(
      f"The checkpoint '{path}' has the model_type '{model_type}'. The network"
      f" '{name}' supports {', '.join(file.TYPES)}.",
      _suggestion(model_type),
    )
  return {**file.options(config), **options}


def network_of(path: str) -> str:
  """The network that reads a checkpoint, by the model_type of its config.json.

  Raises:
    UserError: it states none, or no network supports it.
  """
  model_type = files.config(path).get("model_type", "")
  for name, types in _supported().items():
    if model_type in types:
      return name
  raise UserError(
    f"The checkpoint '{path}' has the model_type '{model_type}'.",
    _suggestion(model_type),
  )


def variables(
  path: str, name: str, model: Any, template: Variables, seed: int = 0
) -> Variables:
  """Loads a network's variables from a checkpoint.

  Tensors are read one by one: memory holds the variables and a few megabytes of
  the file.

  Args:
    path: as in `load`.
    name: of the network.
    model: the network.
    template: its variables, or their shapes. For parts that the checkpoint
      lacks, the template's arrays are used.
    seed: for such parts, if the template has shapes only.

  Returns:
    NumPy arrays in the template's dtypes.

  Raises:
    UserError: the checkpoint cannot be read or does not fit. It lists all names
      that are missing, unexpected or of another shape.
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
  """Plans which tensors `variables` reads and which leaves it initializes.

  Args:
    path: as in `load`.
    name: of the network.
    model: the network.
    template: its variables, or their shapes.

  Raises:
    UserError: as in `variables`.
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
  """A tensor in Flax's layout."""
  array = np.empty(like.shape, like.dtype)
  axes = matching.axes(leaf, array.ndim)
  weights.copy(name, array.transpose(np.argsort(axes)))
  return array


def _fresh(leaf: str, like: Any, seed: int) -> np.ndarray:
  """Initial values of a leaf that the checkpoint lacks."""
  if not isinstance(like, jax.ShapeDtypeStruct):
    return np.asarray(like)
  kind = leaf.rpartition("/")[2]
  if kind in ("bias", "mean"):
    return np.zeros(like.shape, like.dtype)
  if kind in ("scale", "var"):
    return np.ones(like.shape, like.dtype)
  random = np.random.default_rng([seed, zlib.crc32(leaf.encode())])
  return random.normal(scale=DEVIATION, size=like.shape).astype(like.dtype)


def _file(name: str) -> Any:
  """The module of a network that supports public weights."""
  file = sys.modules[registry.find("models", name).__module__]
  if not hasattr(file, "names"):
    raise UserError(
      f"The network '{name}' does not support published weights.",
      exists=_supported(),
      near=name,
    )
  return file


def _supported() -> dict[str, tuple[str, ...]]:
  """Networks that support public weights -> their model_types."""
  types = {}
  for name in registry.names("models"):
    file = sys.modules[registry.find("models", name).__module__]
    if hasattr(file, "names"):
      types[name] = file.TYPES
  return types


def _suggestion(model_type: str) -> str:
  supported = _supported()
  for name, types in supported.items():
    if model_type in types:
      return f"Use the network '{name}'."
  return (
    "No network supports it. Networks with published weights:"
    f" {', '.join(supported) or 'none'}."
  )


def _shapes(file: Any, model: Any, inputs: Mapping[str, Any] | None) -> Any:
  """The shapes of a network's variables."""
  start = lambda inputs: model.init(jax.random.key(0), inputs, train=False)
  if inputs is None and hasattr(file, "example"):
    inputs = file.example(model)
  if inputs is not None:
    return jax.eval_shape(start, dict(inputs))
  last_error = None
  for guess in _guesses(model):
    try:
      return jax.eval_shape(start, guess)
    except Exception as error:
      if isinstance(error, UserError) and not isinstance(error, ShapeError):
        raise
      last_error = error
  raise UserError(
    "The shapes of the network's inputs are unknown:"
    f" {', '.join(model.reads)}. {last_error or ''}".rstrip(),
    "Pass example arrays or their shapes as `inputs`.",
  ) from last_error


def _guesses(model: Any) -> Iterator[dict[str, jax.ShapeDtypeStruct]]:
  """Possible inputs: token ids, an image, a waveform or a spectrogram."""
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
  # A network of one modality may have a key of another name.
  default = [getattr(type(model), "modality", "")] if len(keys) == 1 else keys
  choices = [kinds.get(key, ()) for key in default]
  for guess in itertools.product(*choices):
    yield {
      key: jax.ShapeDtypeStruct(*shape_and_dtype)
      for key, shape_and_dtype in zip(keys, guess, strict=True)
    }

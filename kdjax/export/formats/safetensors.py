"""safetensors: the weights, with `config.json`, for `transformers` and others.

Names are those of the architecture's public checkpoints where it has one that
`published.py` knows; otherwise those of the network, params.head.kernel.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import flax
import numpy as np

from kdjax.export import published
from kdjax.export.program import Program
from kdjax.export.unrolled import read
from kdjax.pretrained import matching
from kdjax.students.function import STUDENT, Trained

FILE = "model.safetensors"
CONFIG = "config.json"
PACKAGES = ("safetensors",)
RUNTIME = ()  # weights, without the network
INSTALL = "pip install safetensors"


def write(program: Program, folder: pathlib.Path) -> str:
  """Writes the weights and `config.json`; returns the name of the weights."""
  from safetensors.numpy import save_file

  tensors, config = content(program.trained)
  save_file(tensors, folder / FILE, metadata={"format": "pt"})
  (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
  return FILE


def content(one: Trained) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """The tensors of a student by name, and its config.json."""
  spec = one.stage.config["networks"][STUDENT]
  if one.with_head:
    # Of all that its stage has, the network and the head that it needs.
    leaves = read(one.__call__, one.variables, one.example())
    tensors = {name.partition("/")[2]: x for name, x in leaves.items()}
    return _named(tensors), {"kdjax": _plain(spec)}
  module = one.stage.objective.networks[STUDENT]
  found = as_published(spec["name"], module, one.variables)
  if found is None:
    return _named(_leaves(one.variables)), {"kdjax": _plain(spec)}
  tensors, config = found
  classes = one.signature.results[0].classes if one.signature.results else ()
  if classes and "num_labels" in config:
    config["id2label"] = {str(row): name for row, name in enumerate(classes)}
    config["label2id"] = {name: row for row, name in enumerate(classes)}
  return tensors, config


def as_published(
  name: str, module: Any, variables: Any
) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
  """A network's tensors and config.json as public checkpoints have them.

  Args:
    name: of the network, a file of `kdjax/models`.
    module: the network.
    variables: of the network.

  Returns:
    None if it has no public architecture.
  """
  public = published.of(name, module)
  if public is None:
    return None
  names, config = public
  leaves = _leaves(variables)
  return {names[leaf]: _public(leaf, x) for leaf, x in leaves.items()}, config


def _leaves(variables: Any) -> dict[str, np.ndarray]:
  flat = flax.traverse_util.flatten_dict(dict(variables), sep="/")
  return {leaf: np.asarray(x) for leaf, x in flat.items()}


def _named(leaves: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {
    leaf.replace("/", "."): np.ascontiguousarray(x)
    for leaf, x in leaves.items()
  }


def _public(leaf: str, x: np.ndarray) -> np.ndarray:
  """A leaf with the axes of PyTorch's layers."""
  return np.ascontiguousarray(
    np.transpose(x, np.argsort(matching.axes(leaf, x.ndim)))
  )


def _plain(spec: Any) -> Any:
  """A network's config as JSON has it."""
  if dataclasses.is_dataclass(spec):
    return dataclasses.asdict(spec)
  return json.loads(json.dumps(spec, default=str))

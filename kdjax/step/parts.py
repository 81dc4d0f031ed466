"""Parts of a network by pattern or path: held still, merged, taken out.

A path is that of a module or leaf without its collection, such as
"encoders_text/block00/attention/query/kernel". A pattern is a whole module or
leaf, with all that is inside of it: "encoders/text", "head", with * and ? as in
file names; "" is all. A numbered block, "block00", is also what begins with its
name, since some networks have "block00_attention" and "block00_norm".

Variables that are held still are not in the state of a stage: they have no
gradient, no place in the optimizer's memory and none in checkpoints. `Fixed`
holds them, with the teachers.

A part that is held still whole may run outside of the step, like a teacher: by
the name `teacher_of(network, path)` the stage has its module, `Fixed` its
variables and a batch its outputs, which `given` puts in place of its own.
"""

import contextlib
import fnmatch
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from kdjax.step.quantization import RANGES
from kdjax.types import Outputs, Variables

# The key in `Fixed.teachers` of what a network holds still: "still/<network>".
STILL = "still/"

# Ends a pattern of numbered blocks: "block00", "block0[0-3]".
_NUMBERED = re.compile(r"(block|stage|layer)[\d?*\[\]!-]+$")

# Begins a pattern of what is not meant: ("", "!head") is all but the head.
EXCEPT = "!"

# Leaves of low-rank adapters, next to the kernel that they add to.
LORA_A, LORA_B = "lora_a", "lora_b"

# A module's arguments that say whether it trains, with their value if not.
_MODES = {"train": False, "deterministic": True, "use_running_average": True}


def matches(path: str, patterns: Sequence[str]) -> bool:
  """Whether a path is in a pattern, and in none of the exceptions."""
  steps = path.split("/")
  # Flax names the parts of a dict `encoders` encoders_text, encoders_image.
  names = ["_".join(steps[: end + 1]) for end in range(len(steps))]

  def means(pattern: str) -> bool:
    own = pattern.removeprefix(EXCEPT).strip("/").replace("/", "_")
    ways = (own, f"{own}_*") if _NUMBERED.search(own) else (own,)
    return not own or any(
      fnmatch.fnmatchcase(name, way) for name in names for way in ways
    )

  excepted = [it for it in patterns if it.startswith(EXCEPT)]
  meant = [it for it in patterns if not it.startswith(EXCEPT)]
  return any(map(means, meant)) and not any(map(means, excepted))


def split(
  variables: Variables, patterns: Sequence[str]
) -> tuple[Variables, Variables]:
  """A network's variables as (trained, still), each without the other's."""
  if not patterns:
    return variables, {}
  trained, still = {}, {}
  for collection, tree in variables.items():
    held = () if collection == RANGES else patterns  # learned in all parts
    trained[collection], still[collection] = _split(tree, held, "")
  return trained, {key: tree for key, tree in still.items() if tree}


def merged(variables: Variables, still: Variables | None) -> Variables:
  """The variables with those that are held still, adapters added to them."""
  if not still:
    return variables
  result = dict(variables)
  for key, tree in still.items():
    below = isinstance(tree, Mapping) and isinstance(result.get(key), Mapping)
    result[key] = merged(result[key], tree) if below else tree
  if LORA_A in result and "kernel" in result:
    low = result.pop(LORA_A) @ result.pop(LORA_B)
    result["kernel"] = result["kernel"] + low.astype(result["kernel"].dtype)
  return result


def with_adapters(
  variables: Mapping[str, Any],
  held: Mapping[str, Variables],
  adapted: Mapping[str, Mapping[str, int]],
  key: jax.Array,
) -> Mapping[str, Any]:
  """A stage's trained variables with its networks' `adapters`."""
  networks = dict(variables["networks"])
  for name, ranks in adapted.items():
    low = adapters(held.get(f"{STILL}{name}", {}), ranks, key)
    networks[name] = merged(networks[name], low)
  return {**variables, "networks": networks}


def adapters(
  still: Variables, ranks: Mapping[str, int], key: jax.Array
) -> Variables:
  """Low-rank adapters: for a still kernel W [D E], W + A B, and B is 0.

  Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022,
  arXiv:2106.09685, Section 4.1, with alpha equal to the rank.

  Args:
    still: what a network holds still, or its shapes.
    ranks: path of a part -> rank.
    key: draws A, normal with variance 1 / D.

  Returns:
    {"params": ..}: A [D rank] and B [rank E] beside each kernel.
  """

  def of(tree, path):
    found = {}
    for name, value in tree.items():
      here = f"{path}/{name}".strip("/")
      if isinstance(value, Mapping):
        found |= {name: inner} if (inner := of(value, here)) else {}
      elif name == "kernel" and len(value.shape) == 2:
        rank = next(
          (it for part, it in ranks.items() if matches(here, (part,))), 0
        )
        if rank:
          own = jax.random.fold_in(key, zlib.crc32(here.encode()))
          wide, narrow = value.shape
          draw = jax.random.normal(own, (wide, rank)) / wide**0.5
          found |= {LORA_A: draw, LORA_B: jnp.zeros((rank, narrow))}
    return found

  return {"params": of(still.get("params", {}), "")} if ranks else {}


def leaves(variables: Variables) -> dict[str, jax.Array]:
  """The leaves by their paths: {"params/head/kernel": array}."""
  return {
    "/".join(str(step.key) for step in path): leaf
    for path, leaf in jax.tree.leaves_with_path(variables)
  }


def at(variables: Mapping[str, Any], path: str) -> dict[str, Any]:
  """The variables of a part: {collection: tree}."""
  found = {}
  for collection, tree in variables.items():
    for step in filter(None, path.split("/")):
      tree = tree.get(step, {}) if isinstance(tree, Mapping) else {}
    if tree:
      found[collection] = tree
  return found


def placed(variables: Mapping[str, Any], path: str) -> dict[str, Any]:
  """A part's variables as those of the whole, without the other parts."""
  result = {}
  for collection, tree in variables.items():
    for step in reversed([*filter(None, path.split("/"))]):
      tree = {step: tree}
    result[collection] = tree
  return result


def without(variables: Mapping[str, Any], path: str) -> dict[str, Any]:
  """The variables of the whole without those of a part."""

  def taken(tree, steps):
    if not steps or not isinstance(tree, Mapping):
      return {}
    first, *rest = steps
    inner = taken(tree.get(first, {}), rest)
    others = {key: value for key, value in tree.items() if key != first}
    return others | ({first: inner} if inner else {})

  steps = [*filter(None, path.split("/"))]
  found = {key: taken(tree, steps) for key, tree in variables.items()}
  return {key: tree for key, tree in found.items() if tree}


def teacher_of(network: str, path: str) -> str:
  """The name by which a part runs like a teacher: "student.encoders_text"."""
  return ".".join((network, *path.split("/")))


def paths_of(names: Iterable[str], network: str) -> dict[str, str]:
  """The paths of a network's parts that run like teachers: {name: path}."""
  start = f"{network}."
  return {
    name: name.removeprefix(start).replace(".", "/")
    for name in names
    if name.startswith(start)
  }


def still_of(fixed: Any, network: str) -> Variables:
  """All that a network holds still, from `state.Fixed`."""
  still = fixed.teachers.get(f"{STILL}{network}", {})
  for name, path in paths_of(fixed.teachers, network).items():
    still = merged(still, placed(fixed.teachers[name], path)) or {}
  return still


def given(outputs: Mapping[str, Outputs]):
  """A context in which parts return outputs that are known.

  Args:
    outputs: path of a part -> some of its outputs. Of the others the part is
      traced; if none of them is used, the compiled program has no part of it.
  """

  def intercept(call, arguments, options, context):
    result = call(*arguments, **options)
    path = "/".join(context.module.path)
    if context.method_name != "__call__" or path not in outputs:
      return result
    known = outputs[path]
    return result | {key: cut(known[key], result[key]) for key in known}

  def cut(known, own):
    """An output at the positions of a batch that is cut to a bucket."""
    return known[tuple(map(slice, own.shape))].astype(own.dtype)

  if not outputs:
    return contextlib.nullcontext()
  return nn.intercept_methods(intercept)


def with_still(
  variables: Mapping[str, Any], fixed: Any, still: Mapping[str, Sequence[str]]
) -> Mapping[str, Any]:
  """{"networks": .., "heads": ..} with what networks hold still.

  Args:
    variables: of a stage.
    fixed: `state.Fixed`; None has nothing.
    still: network -> patterns.
  """
  if fixed is None or not any(still.values()) or "networks" not in variables:
    return variables
  networks = {
    name: merged(tree, still_of(fixed, name))
    for name, tree in variables["networks"].items()
  }
  return {**variables, "networks": networks}


def without_still(
  variables: Mapping[str, Any], still: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
  """The inverse of `with_still`."""
  if not any(still.values()) or "networks" not in variables:
    return dict(variables)
  networks = {
    name: split(tree, still.get(name, ()))[0]
    for name, tree in variables["networks"].items()
  }
  return {**variables, "networks": networks}


def evaluating(patterns: Sequence[str]):
  """A context in which the parts are in evaluation mode.

  Their dropout is off, and their batch statistics stay as they are.
  """

  if not patterns:
    return contextlib.nullcontext()

  def intercept(call, arguments, options, context):
    if matches("/".join(context.module.path), patterns):
      options = {key: _MODES.get(key, value) for key, value in options.items()}
    return call(*arguments, **options)

  return nn.intercept_methods(intercept)


def _split(tree: Any, patterns: Sequence[str], path: str) -> tuple[Any, Any]:
  """(trained, still), decided leaf by leaf: an exception may be far inside."""
  trained, still = {}, {}
  for key, value in tree.items():
    here = f"{path}/{key}" if path else key
    if isinstance(value, Mapping):
      inner = _split(value, patterns, here)
      for whole, part in zip((trained, still), inner, strict=True):
        if part:
          whole[key] = part
    else:
      (still if matches(here, patterns) else trained)[key] = value
  return trained, still

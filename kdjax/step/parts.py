"""Parts of a network by pattern: held still, merged, and slowed down.

A path is that of a module or leaf without its collection, such as
"encoders_text/block00/attention/query/kernel". A pattern is a path's beginning:
"encoders/text", "block00", with * and ? as in file names; "" is all.

Variables that are held still are not in the state of a stage: they have no
gradient, no place in the optimizer's memory and none in checkpoints. `Fixed`
holds them, with the teachers.
"""

import contextlib
import fnmatch
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from kdjax.types import Variables

# The key in `Fixed.teachers` of what a network holds still: "still/<network>".
STILL = "still/"

# Begins a pattern of what is not meant: ("", "!head") is all but the head.
EXCEPT = "!"

# Leaves of low-rank adapters, next to the kernel that they add to.
LORA_A, LORA_B = "lora_a", "lora_b"

# A module's arguments that say whether it trains, with their value if not.
_MODES = {"train": False, "deterministic": True, "use_running_average": True}

# (pattern, factor of the learning rate by step); the first match counts.
Rates = tuple[tuple[str, Callable], ...]


def matches(path: str, patterns: Sequence[str]) -> bool:
  """Whether a path begins with a pattern, and with none of the exceptions."""
  # Flax names the parts of a dict `encoders` encoders_text, encoders_image.
  name = path.replace("/", "_")

  def begins(pattern: str) -> bool:
    start = pattern.removeprefix(EXCEPT).strip("/").replace("/", "_")
    ways = (start, f"{start}_*")
    return not start or any(fnmatch.fnmatchcase(name, way) for way in ways)

  excepted = [it for it in patterns if it.startswith(EXCEPT)]
  meant = [it for it in patterns if not it.startswith(EXCEPT)]
  return any(map(begins, meant)) and not any(map(begins, excepted))


def split(
  variables: Variables, patterns: Sequence[str]
) -> tuple[Variables, Variables]:
  """A network's variables as (trained, still), each without the other's."""
  if not patterns:
    return variables, {}
  trained, still = {}, {}
  for collection, tree in variables.items():
    trained[collection], still[collection] = _split(tree, patterns, "")
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
    name: merged(tree, fixed.teachers.get(f"{STILL}{name}"))
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


def with_rates(
  rule: optax.GradientTransformation, rates: Mapping[str, Rates]
) -> optax.GradientTransformation:
  """An optimizer whose updates of some parts are multiplied by factors.

  Args:
    rule: of all parameters; `optimizer.Grouped` too.
    rates: network -> its rates.
  """

  def factor(path, count):
    kind, network, *rest = (str(step.key) for step in path)
    of_network = rates.get(network, ()) if kind == "networks" else ()
    for pattern, schedule in of_network:
      if matches("/".join(rest), (pattern,)):
        return schedule(count)
    return None

  def scaled(path, update, count):
    by = factor(path, count)
    return update if by is None else update * jnp.asarray(by, update.dtype)

  def init(params):
    return rule.init(params), jnp.zeros((), jnp.int32)

  def update(gradients, state, params):
    inner, count = state
    updates, inner = rule.update(gradients, inner, params)
    updates = jax.tree_util.tree_map_with_path(
      lambda path, leaf: scaled(path, leaf, count), updates
    )
    return updates, (inner, count + 1)

  if hasattr(rule, "groups"):
    return rule._replace(init=init, update=update)
  return optax.GradientTransformation(init, update)


def _split(tree: Any, patterns: Sequence[str], path: str) -> tuple[Any, Any]:
  trained, still = {}, {}
  for key, value in tree.items():
    here = f"{path}/{key}" if path else key
    if matches(here, patterns):
      still[key] = value
    elif isinstance(value, Mapping):
      inner = _split(value, patterns, here)
      for whole, part in zip((trained, still), inner, strict=True):
        if part:
          whole[key] = part
    else:
      trained[key] = value
  return trained, still

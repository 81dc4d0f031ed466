"""A program as converters take it: loops written out, plain convolutions."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from kdjax.errors import UserError
from kdjax.export.rewrites import Rewrite, stacked
from kdjax.models._convolution import plain_convolutions

_NONE: Mapping[str, Rewrite] = {}

# Of more steps the program would be too large.
MOST = 2048

# Numbers of a constant that is computed while converting.
FOLDED = 4096

# Calls of a function inside of a program, and their parameter that holds it.
_CALLS = {
  "jit": "jaxpr",
  "pjit": "jaxpr",
  "closed_call": "call_jaxpr",
  "custom_jvp_call": "call_jaxpr",
  "custom_vjp_call": "call_jaxpr",
  "custom_vjp_call_jaxpr": "fun_jaxpr",
}


def unrolled(
  function: Callable, rewrites: Mapping[str, Rewrite] = _NONE
) -> Callable:
  """The function, with every `scan` of a fixed length as that many steps.

  Its convolutions are XLA's own, also on a CPU.

  Args:
    function: arrays -> tuple of arrays.
    rewrites: primitives that are replaced by others, see `rewrites.py`.

  Raises:
    UserError: a loop has more than `MOST` steps.
  """

  def call(*arrays):
    with plain_convolutions():
      closed = jax.make_jaxpr(function)(*arrays)
    return tuple(_evaluated(closed.jaxpr, closed.consts, arrays, rewrites))

  return call


def needed(function: Callable) -> Callable:
  """The function, without what its outputs do not depend on.

  Variables that only this reads, such as those of a teacher beside a head, are
  then no constants of the exported program.

  Args:
    function: arrays -> tuple of arrays.
  """

  def call(*arrays):
    closed = jax.make_jaxpr(function)(*arrays)
    live = closed.jaxpr.replace(eqns=_needed(closed.jaxpr))
    return tuple(jaxpr_as_fun(ClosedJaxpr(live, closed.consts))(*arrays))

  return call


def read(function: Callable, tree: Any, *arrays) -> dict[str, Any]:
  """The leaves of a tree that a function's outputs depend on, by their paths.

  Args:
    function: (tree, *arrays) -> arrays.
    tree: of arrays.
    *arrays: or their shapes.
  """
  closed = jax.make_jaxpr(function)(tree, *arrays)
  ends = [closed.jaxpr.outvars, *(it.invars for it in _needed(closed.jaxpr))]
  used = {it for end in ends for it in end if not isinstance(it, Literal)}
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for (path, leaf), it in zip(leaves, closed.jaxpr.invars, strict=False)
    if it in used
  }


def _evaluated(
  jaxpr: Jaxpr,
  consts: Sequence[Any],
  arrays: Sequence[Any],
  rewrites: Mapping[str, Rewrite],
) -> list[Any]:
  """The outputs of a program, with its loops and calls written out."""
  known = dict(zip(jaxpr.constvars, consts, strict=True))
  known |= dict(zip(jaxpr.invars, arrays, strict=True))
  read = lambda it: it.val if isinstance(it, Literal) else known[it]
  for equation in _needed(jaxpr):
    values = [read(it) for it in equation.invars]
    name = equation.primitive.name
    rewrite = rewrites.get(name, lambda params, values: None)
    outputs = rewrite(equation.params, values)
    if name == "scan":
      outputs = _steps(equation.params, values, rewrites)
    elif name in _CALLS:
      inner = equation.params[_CALLS[name]]
      consts = inner.consts if isinstance(inner, ClosedJaxpr) else ()
      inner = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
      outputs = _evaluated(inner, consts, values, rewrites)
    elif not outputs:
      at_once = _is_constant(equation, values)
      with jax.ensure_compile_time_eval() if at_once else nullcontext():
        outputs = _bound(equation, values)
    known |= dict(zip(equation.outvars, outputs, strict=True))
  return [read(it) for it in jaxpr.outvars]


def _bound(equation: Any, values: Sequence[Any]) -> list[Any]:
  """The outputs of an equation."""
  primitive = equation.primitive
  options, functions = primitive.get_bind_params(equation.params), ()
  if isinstance(options, tuple):  # before jax 0.10
    functions, options = options
  outputs = primitive.bind(*functions, *values, **options)
  return outputs if primitive.multiple_results else [outputs]


def _is_constant(equation: Any, values: Sequence[Any]) -> bool:
  """Whether an equation depends on no input, and has few numbers.

  Converters mistake some of these: (count + 1) // 2 becomes a mean of floats.
  """
  shapes = [it.aval.shape for it in equation.outvars]
  known = all(isinstance(size, int) for shape in shapes for size in shape)
  traced = any(isinstance(it, jax.core.Tracer) for it in values)
  few = known and all(math.prod(shape) <= FOLDED for shape in shapes)
  return few and not traced and not equation.effects


def _needed(jaxpr: Jaxpr) -> list[Any]:
  """The equations that outputs depend on: converters take all of them."""
  wanted = {it for it in jaxpr.outvars if not isinstance(it, Literal)}
  found = []
  for equation in reversed(jaxpr.eqns):
    if equation.effects or wanted & {*equation.outvars}:
      found.append(equation)
      wanted |= {it for it in equation.invars if not isinstance(it, Literal)}
  return found[::-1]


def _counts(params: dict[str, Any]) -> tuple[int, int]:
  """How many inputs of a loop are constants, and how many its state."""
  if "ft_in" in params:  # since JAX 0.12: constants, state, arrays
    consts, carried, _ = params["ft_in"].unpack()
    return len(consts), len(carried)
  return params["num_consts"], params["num_carry"]


def _steps(
  params: dict[str, Any], values: Sequence[Any], rewrites: Mapping[str, Rewrite]
) -> list[Any]:
  """The outputs of a loop: its last state, and what each step gives."""
  length, inner = params["length"], params["jaxpr"]
  if length > MOST:
    raise UserError(
      f"A loop of the network has {length:,} steps.",
      f"An export writes out at most {MOST:,}; choose stablehlo.",
    )
  consts, carried = _counts(params)
  fixed, state = values[:consts], values[consts : consts + carried]
  over = values[consts + carried :]
  order = range(length)
  given = {}
  for step in reversed(order) if params["reverse"] else order:
    each = [jax.lax.index_in_dim(x, step, keepdims=False) for x in over]
    arrays = (*fixed, *state, *each)
    made = _evaluated(inner.jaxpr, inner.consts, arrays, rewrites)
    state, given[step] = made[:carried], made[carried:]
  every = [
    stacked([given[step][place] for step in order])
    for place in range(len(inner.jaxpr.outvars) - carried)
  ]
  return [*state, *every]

"""A program as converters take it: loops written out, plain convolutions."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from kdjax.errors import UserError
from kdjax.models._convolution import plain_convolutions

# Of more steps the program would be too large.
MOST = 2048

# Calls of a function inside of a program, and their parameter that holds it.
_CALLS = {
  "jit": "jaxpr",
  "pjit": "jaxpr",
  "closed_call": "call_jaxpr",
  "custom_jvp_call": "call_jaxpr",
  "custom_vjp_call": "call_jaxpr",
  "custom_vjp_call_jaxpr": "fun_jaxpr",
}


def unrolled(function: Callable) -> Callable:
  """The function, with every `scan` of a fixed length as that many steps.

  Its convolutions are XLA's own, also on a CPU.

  Args:
    function: arrays -> tuple of arrays.

  Raises:
    UserError: a loop has more than `MOST` steps.
  """

  def call(*arrays):
    with plain_convolutions():
      closed = jax.make_jaxpr(function)(*arrays)
    return tuple(_evaluated(closed.jaxpr, closed.consts, arrays))

  return call


def _evaluated(
  jaxpr: Jaxpr, consts: Sequence[Any], arrays: Sequence[Any]
) -> list[Any]:
  """The outputs of a program, with its loops and calls written out."""
  known = dict(zip(jaxpr.constvars, consts, strict=True))
  known |= dict(zip(jaxpr.invars, arrays, strict=True))
  read = lambda it: it.val if isinstance(it, Literal) else known[it]
  for equation in jaxpr.eqns:
    values = [read(it) for it in equation.invars]
    name = equation.primitive.name
    if name == "scan":
      outputs = _steps(equation.params, values)
    elif name in _CALLS:
      inner = equation.params[_CALLS[name]]
      consts = inner.consts if isinstance(inner, ClosedJaxpr) else ()
      inner = inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner
      outputs = _evaluated(inner, consts, values)
    elif name == "stack":  # which converters lack
      outputs = [_stacked(values, equation.params["axis"])]
    elif name == "conv_general_dilated" and values[0].ndim == 3:
      outputs = [_convolved(equation.params, *values)]
    else:
      options = equation.primitive.get_bind_params(equation.params)
      functions = ()
      if isinstance(options, tuple):  # before jax 0.10
        functions, options = options
      outputs = equation.primitive.bind(*functions, *values, **options)
      outputs = outputs if equation.primitive.multiple_results else [outputs]
    known |= dict(zip(equation.outvars, outputs, strict=True))
  return [read(it) for it in jaxpr.outvars]


def _steps(params: dict[str, Any], values: Sequence[Any]) -> list[Any]:
  """The outputs of a loop: its last state, and what each step gives."""
  length, inner = params["length"], params["jaxpr"]
  if length > MOST:
    raise UserError(
      f"A loop of the network has {length:,} steps.",
      f"An export writes out at most {MOST:,}; choose stablehlo.",
    )
  consts, carried = params["num_consts"], params["num_carry"]
  fixed, state = values[:consts], values[consts : consts + carried]
  over = values[consts + carried :]
  order = range(length)
  given = {}
  for step in reversed(order) if params["reverse"] else order:
    each = [jax.lax.index_in_dim(x, step, keepdims=False) for x in over]
    made = _evaluated(inner.jaxpr, inner.consts, (*fixed, *state, *each))
    state, given[step] = made[:carried], made[carried:]
  stacked = [
    _stacked([given[step][place] for step in order])
    for place in range(len(inner.jaxpr.outvars) - carried)
  ]
  return [*state, *stacked]


def _stacked(values: Sequence[Any], axis: int = 0) -> Any:
  return jnp.concatenate([jnp.expand_dims(x, axis) for x in values], axis)


def _convolved(params: dict[str, Any], x: Any, kernel: Any) -> Any:
  """A convolution over one axis as one over two: converters lack the first.

  Args:
    params: of the convolution.
    x: [B T C] in its layout.
    kernel: [t C D] in its layout.
  """
  numbers = params["dimension_numbers"]
  layouts = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
  if layouts != ((0, 2, 1), (2, 1, 0), (0, 2, 1)):
    return jax.lax.conv_general_dilated(x, kernel, **params)
  made = jax.lax.conv_general_dilated(
    x[:, None],
    kernel[None],
    window_strides=(1, *params["window_strides"]),
    padding=((0, 0), *params["padding"]),
    lhs_dilation=(1, *params["lhs_dilation"]),
    rhs_dilation=(1, *params["rhs_dilation"]),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=params["feature_group_count"],
    batch_group_count=params["batch_group_count"],
    precision=params["precision"],
    preferred_element_type=params["preferred_element_type"],
  )
  return made[:, 0]

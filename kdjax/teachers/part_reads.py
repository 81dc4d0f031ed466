"""What a stage reads of a part of a network that runs like a teacher.

Of all outputs of the part, the network and the stage's terms use a few; only
these are computed and stored.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.extend import core

from kdjax.stage.stage import Stage
from kdjax.step import parts
from kdjax.step.addresses import PRECOMPUTED, Address


def addresses_of(
  stage: Stage, name: str, read: Sequence[Address]
) -> tuple[Address, ...]:
  """The outputs of a part on which the arrays at some addresses depend.

  Args:
    stage: its network has the part.
    name: of the part, from `parts.teacher_of`; of a teacher the result is ().
    read: the addresses.
  """
  objective = stage.objective
  owners = [it for it in objective.networks if parts.paths_of([name], it)]
  owners += [at for at, of in objective.averages.items() if of in owners]
  read = [
    at
    for at in dict.fromkeys(read)
    if at.network in owners and not at.output.startswith("params/")
  ]
  found = []
  for view in dict.fromkeys(at.view for at in read):
    of_view = [at for at in read if at.view == view]
    outputs = _outputs(stage, name, view, of_view)
    found += [Address(name, view, output) for output in outputs]
  return tuple(found)


def _outputs(
  stage: Stage, name: str, view: str, read: Sequence[Address]
) -> list[str]:
  """The outputs of a part, in a view, on which some addresses depend."""
  # In evaluation, which needs no devices: all that terms read exists there.
  objective = dataclasses.replace(stage.objective, axis_name=None)
  precomputed = dataclasses.replace(objective, precomputed=(name,))
  _, fixed, _ = stage.shapes()
  networks, batch = stage.network_shapes(), stage.example()

  def of_part(fixed):
    return objective.flow({}, fixed, batch).run(name, view)

  def of_network(outputs, fixed, networks):
    variables = {"networks": networks, "heads": {}}
    known = {
      f"{PRECOMPUTED}{Address(name, view, output)}": array
      for output, array in outputs.items()
    }
    fixed = objective.averaged(fixed, variables)
    flow = precomputed.flow(variables, fixed, {**batch, **known})
    return [flow[at] for at in read]

  outputs = jax.eval_shape(of_part, fixed)
  return _used(of_network, outputs, fixed, networks)


def _used(
  function: Callable, first: Mapping[str, Any], *others: Any
) -> list[str]:
  """The keys of a function's first argument on which its results depend.

  Args:
    function: of arrays; traced without being run.
    first: key -> shape.
    *others: shapes of the further arguments.
  """
  traced = jax.make_jaxpr(function)(first, *others).jaxpr
  used = set(_variables(traced.outvars))
  for equation in reversed(traced.eqns):
    if used & set(equation.outvars):
      used |= set(_variables(equation.invars))
  # The arguments are flattened in the order of their keys.
  keys = sorted(first)
  return [
    key
    for key, variable in zip(keys, traced.invars[: len(keys)], strict=True)
    if variable in used
  ]


def _variables(atoms: Sequence[Any]) -> list[Any]:
  return [it for it in atoms if not isinstance(it, core.Literal)]

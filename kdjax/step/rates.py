"""Learning rates of parts of networks: factors of their updates."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from kdjax.step.parts import matches

# (pattern, factor of the learning rate by step); the first match counts.
Rates = tuple[tuple[str, Callable], ...]


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

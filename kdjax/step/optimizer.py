"""The optimizer of a stage, built with optax from its config."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from kdjax.errors import UserError
from kdjax.step import schedules


def make(spec: Mapping, steps: int) -> "optax.GradientTransformation | Grouped":
  """The optimizer of a stage of `steps` steps.

  Args:
    spec: the result of `config.optimizer()`.
    steps: the length of the stage, for its learning rate schedule.

  Raises:
    UserError: the optimizer is unknown.
  """
  rate = schedules.make(spec["learning_rate"], steps)
  name = spec["name"]
  if name == "adamw":
    scale = [optax.scale_by_adam(spec["b1"], spec["b2"], spec["eps"])]
    decay = [optax.add_decayed_weights(spec["weight_decay"], _is_kernel)]
    rule = scale + decay
  elif name == "sgd":
    # Decay is added to the gradient before momentum, as in PyTorch's SGD.
    decay = [optax.add_decayed_weights(spec["weight_decay"], _is_kernel)]
    trace = [optax.trace(spec["momentum"], spec["nesterov"])]
    rule = decay + (trace if spec["momentum"] else [])
  elif name == "rmsprop":
    rule = [
      optax.scale_by_rms(spec["b2"], spec["eps"]),
      optax.add_decayed_weights(spec["weight_decay"], _is_kernel),
    ]
  elif name == "dot":
    return _dot(spec, rate)
  else:
    raise UserError(
      f"No optimizer '{name}'.",
      exists=("adamw", "sgd", "rmsprop", "dot"),
      near=name,
    )
  clip = spec["clip_norm"]
  return optax.chain(
    *([optax.clip_by_global_norm(clip)] if clip else []),
    *rule,
    optax.scale_by_learning_rate(rate),
  )


class Grouped(NamedTuple):
  """An optimizer that reads one gradient per group of terms."""

  init: Callable
  update: Callable
  groups: tuple[str, ...]


def _dot(spec: Mapping, rate) -> Grouped:
  """Distillation-oriented trainer: SGD with one momentum per group.

    v_task = (m - d) v_task + g_task + decay,   v_kd = (m + d) v_kd + g_kd
    params -= rate (v_task + v_kd)

  Zhao et al., "DOT: A Distillation-Oriented Trainer", ICCV 2023,
  arXiv:2307.08436, Section 3.
  """
  if spec["clip_norm"]:
    raise UserError(
      f"The optimizer 'dot' does not support clip_norm={spec['clip_norm']}.",
      "Remove it.",
    )
  momentum, delta = spec["momentum"], spec["delta"]
  rules = {
    "task": optax.chain(
      optax.add_decayed_weights(spec["weight_decay"], _is_kernel),
      optax.trace(momentum - delta),
    ),
    "kd": optax.trace(momentum + delta),
  }
  scale = optax.scale_by_learning_rate(rate)

  def init(params):
    states = {group: rule.init(params) for group, rule in rules.items()}
    return {**states, "scale": scale.init(params)}

  def update(gradients, state, params):
    new, total = {}, None
    for group, rule in rules.items():
      update, new[group] = rule.update(gradients[group], state[group], params)
      total = update if total is None else jax.tree.map(jnp.add, total, update)
    total, new["scale"] = scale.update(total, state["scale"], params)
    return total, new

  return Grouped(init, update, tuple(rules))


def _is_kernel(params):
  """Decay applies to kernels and embeddings, not to biases and norm scales."""
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

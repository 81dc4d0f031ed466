"""The optimizer of a stage, from its config, by optax."""

from collections.abc import Mapping

import jax
import optax

from kdjax import schedules
from kdjax.errors import UserError


def make(spec: Mapping, steps: int) -> optax.GradientTransformation:
  """An optimizer for `steps` steps.

  Args:
    spec: as of `config.optimizer()`.
    steps: how long the stage is, for its schedule.
  """
  rate = schedules.make(spec["learning_rate"], steps)
  name = spec["name"]
  if name == "adamw":
    scale = [optax.scale_by_adam(spec["b1"], spec["b2"], spec["eps"])]
    decay = [optax.add_decayed_weights(spec["weight_decay"], _is_kernel)]
    rule = scale + decay
  elif name == "sgd":
    # Decay goes into the momentum, as in PyTorch's SGD, whose recipes we run.
    decay = [optax.add_decayed_weights(spec["weight_decay"], _is_kernel)]
    trace = [optax.trace(spec["momentum"], spec["nesterov"])]
    rule = decay + (trace if spec["momentum"] else [])
  elif name == "rmsprop":
    rule = [
      optax.scale_by_rms(spec["b2"], spec["eps"]),
      optax.add_decayed_weights(spec["weight_decay"], _is_kernel),
    ]
  else:
    raise UserError(
      f"No optimizer '{name}'.", exists=("adamw", "sgd", "rmsprop"), near=name
    )
  clip = spec["clip_norm"]
  return optax.chain(
    *([optax.clip_by_global_norm(clip)] if clip else []),
    *rule,
    optax.scale_by_learning_rate(rate),
  )


def _is_kernel(params):
  """Decay acts on kernels and embeddings, not on biases and norms' scales."""
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

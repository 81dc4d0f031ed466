"""Optimizers, and numbers that change with the step."""

from kdjax.config.fields import ConfigDict, knobs_of, optional


def optimizer(name: str = "adamw", **changes) -> ConfigDict:
  """The optimizer: adamw, sgd or rmsprop of optax, or dot; its schedule."""
  knobs = {
    # The peak; a number or a `schedule()`.
    "learning_rate": 1e-3,
    # Of kernels and embeddings only: arrays of rank 2 and more.
    "weight_decay": 0.0,
    # sgd and dot
    "momentum": 0.9,
    # dot: by how much the momentum of terms of group "kd" is above that, and of
    # "task" below.
    "delta": 0.075,
    # sgd
    "nesterov": False,
    # adamw; b2 is also the decay of rmsprop
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    # Global norm above which gradients are scaled down; 0 is never.
    "clip_norm": 0.0,
  }
  knobs = knobs_of(knobs, changes, "the knobs of an optimizer")
  return ConfigDict({"name": name, **knobs})


def schedule(kind: str, value: float, **changes) -> ConfigDict:
  """A number that changes with the step.

  Args:
    kind: "constant", "linear", "cosine", "step" or "decay".
    value: where it starts, after the warm-up.
    **changes: knobs that differ from the defaults below.
  """
  knobs = {
    # Where linear and cosine end.
    "end": 0.0,
    # Steps of a linear rise from 0 before anything else.
    "warmup": 0,
    # Steps at which "step" multiplies by `factor`, as shares of all steps.
    "milestones": (),
    "factor": 0.1,
    # The share of all steps after which "decay" multiplies by `factor`, again
    # and again.
    "every": 0.1,
    # Steps until `end`; None is those of the stage.
    "steps": optional(None, int),
  }
  knobs = knobs_of(knobs, changes, "the knobs of a schedule")
  return ConfigDict({"kind": kind, "value": float(value), **knobs})

"""Optimizers and schedules."""

from kdjax.config.fields import ConfigDict, optional
from kdjax.config.knobs import Knob, documented, values

OPTIMIZER = {
  "learning_rate": Knob(1e-3, "The peak; a number or a `schedule()`."),
  "weight_decay": Knob(
    0.0,
    "Times the learning rate, in adamw and rmsprop (decoupled); added to the"
    " gradient in sgd and dot (L2). Of kernels and embeddings alone: arrays of"
    " rank 2 and more.",
  ),
  "momentum": Knob(0.9, "sgd and dot."),
  "delta": Knob(
    0.075,
    'dot: added to the momentum of terms of group "kd", subtracted from that of'
    ' "task".',
  ),
  "nesterov": Knob(False, "sgd: Nesterov momentum."),
  "b1": Knob(0.9, "adamw: decay of the first moment."),
  "b2": Knob(0.999, "adamw, rmsprop: decay of the second moment."),
  "eps": Knob(1e-8, "adamw, rmsprop: added to the denominator."),
  "clip_norm": Knob(
    0.0, "Global norm above which gradients are scaled down; 0 is no clipping."
  ),
}

# Optimizer -> those knobs that not all optimizers read.
OWN = {
  "adamw": ("b1", "b2", "eps"),
  "sgd": ("momentum", "nesterov"),
  "rmsprop": ("b2", "eps"),
  "dot": ("momentum", "delta"),
}

SCHEDULE = {
  "end": Knob(0.0, '"linear" and "cosine": the last value.'),
  "warmup": Knob(0, "Steps of a linear rise from 0, before anything else."),
  "milestones": Knob(
    (),
    '"step": shares of all steps at which the value is multiplied by `factor`;'
    ' "late": the one share until which it is 0.',
  ),
  "factor": Knob(0.1, '"step" and "decay": the multiplier.'),
  "every": Knob(
    0.1,
    '"decay": the share of all steps after which the value is multiplied by'
    " `factor`, again and again.",
  ),
  "steps": Knob(
    None, "Steps until the last value; None is the stage's number of steps."
  ),
}


@documented(OPTIMIZER)
def optimizer(name: str = "adamw", **changes) -> ConfigDict:
  """The optimizer of a stage, with its learning rate.

  Args:
    name: "adamw", "sgd" or "rmsprop" of optax, or "dot" (Zhao et al., "DOT: A
      Distillation-Oriented Trainer", ICCV 2023).
    **changes: knobs that differ from their defaults.
  """
  knobs = values(OPTIMIZER, changes, "the knobs of an optimizer")
  return ConfigDict({"name": name, **knobs})


def layer_rates(blocks: int, factor: float, part: str = "") -> dict[str, float]:
  """Rates of a Transformer that fall layer by layer from its head.

  Clark et al., "ELECTRA", ICLR 2020, arXiv:2003.10555, Appendix B (layer-wise
  learning-rate decay): the head and the last block have the rate 1, each block
  before has `factor` times that of the next, and all else, such as embeddings,
  that of a block before the first.

  Args:
    blocks: of the network.
    factor: from 0 to 1.
    part: of the network that has them, "encoders/text"; "" is the whole.

  Returns:
    For `network(.., rates=..)`.
  """
  path = f"{part}/" if part else ""
  rates = {
    f"{path}block{number:02d}": factor ** (blocks - 1 - number)
    for number in reversed(range(blocks))
  }
  return {f"{path}head": 1.0, **rates, part: factor**blocks}


@documented(SCHEDULE)
def schedule(kind: str, value: float, **changes) -> ConfigDict:
  """A number that changes with the step: a rate, a weight, a temperature.

  Args:
    kind: "constant", "linear", "cosine", "step", "decay" or "late".
    value: the first value, after the warm-up.
    **changes: knobs that differ from their defaults.
  """
  knobs = values(SCHEDULE, changes, "the knobs of a schedule")
  knobs["steps"] = optional(knobs["steps"], int)
  return ConfigDict({"kind": kind, "value": float(value), **knobs})

"""The space of KD in a stage with the terms `kd` and `cross_entropy`.

Weights and temperature of the terms, and the learning rate: all of them are
numbers that one compiled program holds, so that trials share it.

  kdjax sweep --config=configs/digits.py --space=configs/spaces/kd.py \
    --trials=30 --workdir=runs/digits-sweep
"""

from kdjax.config.spaces import Space, linear_range, log_range


def get_space(argument: str = "") -> Space:
  """The space; "smoothing" adds that of the labels."""
  space = {
    "terms.kd.weight": log_range(0.1, 10.0),
    "terms.kd.temperature": log_range(1.0, 16.0),
    "terms.cross_entropy.weight": log_range(0.01, 1.0),
    "optimizer.learning_rate": log_range(1e-3, 1e-2),
  }
  if argument == "smoothing":
    space["terms.cross_entropy.label_smoothing"] = linear_range(0.0, 0.3)
  return space

"""The space of the method CRD, with the learning rate and the memory's kind.

The kind of memory is no number: each has a program of its own.

  kdjax sweep --config=configs/digits.py:method=crd \
    --space=configs/spaces/crd.py --trials=30 --workdir=runs/crd-sweep
"""

from kdjax.config.spaces import Space, log_range, of_method, one_of


def get_space(argument: str = "") -> Space:
  """The method's own space, and two keys."""
  del argument
  return of_method("crd") | {
    "method.crd.memory": one_of("bank", "queue", "batch"),
    "optimizer.learning_rate": log_range(1e-3, 1e-2),
  }

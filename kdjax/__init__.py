"""Knowledge distillation across modalities in JAX and Flax.

config = kdjax.load("configs/digits.py")
results = kdjax.run(config, "runs/digits")
model, variables = kdjax.restore("runs/digits", "distilled")
kd = kdjax.find("losses", "kd")
"""

import importlib

from kdjax.errors import UserError
from kdjax.registry import find, names, register

__version__ = "0.1.0"

# Imported on first use: most import JAX.
_LATER = {
  "distil": "kdjax.new.distilling",
  "load": "kdjax.config.fields",
  "run": "kdjax.training.experiment",
  "evaluate": "kdjax.training.restore",
  "restore": "kdjax.training.restore",
  "student": "kdjax.students",
  "summarize": "kdjax.report",
}
_MODULES = ("analysis", "config", "report")

__all__ = [
  "UserError",
  "find",
  "names",
  "register",
  *sorted((*_LATER, *_MODULES)),
]


def __getattr__(name: str):
  if name in _LATER:
    return getattr(importlib.import_module(_LATER[name]), name)
  if name in _MODULES:
    return importlib.import_module(f"kdjax.{name}")
  raise AttributeError(f"module 'kdjax' has no attribute '{name}'")


def __dir__() -> list[str]:
  """The public names, for completion."""
  return [*__all__, "__version__"]

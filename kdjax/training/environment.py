"""The machine, versions, commit and command of a run."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

import jax

from kdjax import registry
from kdjax.registry import folders

# Of environment.json: the folders that relative paths were looked for in.
FOLDERS = "folders"

PACKAGES = (
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "ml-collections",
  "numpy",
  "scikit-learn",
)


def now() -> dict[str, Any]:
  """The content of environment.json."""
  ours = bool(_git("ls-files", "errors.py"))  # not an enclosing repository
  program = pathlib.Path(sys.argv[0])
  typed = program.name in ("kdjax", "__main__.py")
  return {
    "command": shlex.join(["kdjax", *sys.argv[1:]]) if typed else None,
    FOLDERS: [str(folder) for folder in folders.searched()],
    "started": moment(),
    "python": platform.python_version(),
    "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    "commit": (_git("rev-parse", "HEAD") or None) if ours else None,
    # Untracked files count: a component may be one.
    "changed": ours and bool(_git("status", "--porcelain")),
    "cpu": cpu(),
    "cores": cores(),
    "system": f"{platform.system()} {platform.machine()}".strip(),
    "devices": [device.device_kind for device in jax.devices()],
    "platform": jax.default_backend(),
    "processes": jax.process_count(),
  }


def moment() -> str:
  """The present moment of UTC in ISO 8601, to the second."""
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def cores() -> int:
  """The cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def cpu() -> str:
  """The name of the processor; "" where the system does not say it."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    lines = []  # not Linux
  for line in lines:
    key, _, value = line.partition(":")
    if key.strip() == "model name":
      return " ".join(value.split())
  return platform.processor()


def _git(*words: str) -> str:
  """What git prints about the package; "" if it fails or is not installed."""
  command = ["git", "-C", str(registry.PACKAGE), *words]
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
  except OSError:
    return ""
  return done.stdout.strip()

"""The folder of a run: whose it is, what ran it and what is finished.

config.json       the resolved config       metrics.jsonl     every record
environment.json  versions, commit, device  events/           TensorBoard
stages/<stage>/   checkpoints, result.json  results.json, report.*, figures/
"""

import fnmatch
import importlib.metadata
import json
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax

from kdjax import registry
from kdjax.config import fields, strict_json
from kdjax.errors import UserError
from kdjax.training.metrics_log import replace

# What may change when a run is continued; * is any name.
CHANGEABLE = (
  "stages.*.steps",
  "stages.*.log_every",
  "stages.*.save_every",
  "stages.*.steps_per_call",
  "stages.*.predictions",
  "seed_axis",
  "placement",
  "notes.*",
  # Where the data lie and how they get here changes no batch.
  "data.root",
  "data.feed",
  "data.workers",
)

# Stands for a leaf that a config lacks.
MISSING = "(none)"

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


def resolve(config: fields.ConfigDict) -> dict[str, Any]:
  """A config as nested dicts, with the hashes of sources outside kdjax.

  Raises:
    UserError: it has a number that is not finite.
  """
  plain = config.to_dict()
  for key, value in fields.flatten(plain).items():
    if not strict_json.holds(value):
      raise UserError(f"config.{key} is {value}.", "Expected finite numbers.")
  sources = {}
  for kind, name in _names(plain):
    known = registry.describe(kind, name)
    if not pathlib.Path(known.path).is_relative_to(registry.PACKAGE):
      sources[f"{kind}:{name}"] = known.digest
  return {**plain, "sources": sources}


def compare(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Sees that the workdir is this experiment's, or nobody's yet.

  Raises:
    UserError: it belongs to another config; the message says what differs.
  """
  path = workdir / "config.json"
  trained = {
    found.parents[1].name
    for found in workdir.glob("stages/*/checkpoints/[0-9]*")
  }
  if not path.exists() or not trained:
    # Nothing was trained: a first try may have been a mistake, mended now.
    return
  asked = json.loads(json.dumps(config))
  refused = {
    key: pair
    for key, pair in differences(json.loads(path.read_text()), asked).items()
    if not changeable(key) and not _is_new(key, pair[0], trained)
  }
  if refused:
    lines = "; ".join(
      f"{key} was {old}, is {new}" for key, (old, new) in refused.items()
    )
    allowed = ", ".join(CHANGEABLE)
    raise UserError(
      f"{workdir} holds another experiment: {lines}.",
      f"Take another workdir, or change no more than: {allowed}.",
    )


def enter(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Makes the workdir this experiment's.

  Raises:
    UserError: it cannot be written.
  """
  if jax.process_index() > 0:
    return
  for name, content in (("config", config), ("environment", environment())):
    text = strict_json.dumps(content, indent=2, sort_keys=name == "config")
    try:
      replace(workdir / f"{name}.json", text + "\n")
    except OSError as error:
      raise UserError(
        f"The workdir {workdir} cannot be written: {error.strerror}."
      ) from error


def finished(workdir: pathlib.Path, name: str) -> dict[str, Any] | None:
  """The result of a stage, if it was finished; what was no number is NaN."""
  path = workdir / "stages" / name / "result.json"
  if not path.exists():
    return None
  return strict_json.loads_numbers(path.read_text())


def environment() -> dict[str, Any]:
  """What the run ran on."""
  git = lambda *words: subprocess.run(
    ["git", "-C", str(registry.PACKAGE), *words],
    capture_output=True,
    text=True,
    check=False,
  ).stdout.strip()
  ours = bool(git("ls-files", "errors.py"))  # not of a folder around us
  program = pathlib.Path(sys.argv[0])
  typed = program.name in ("kdjax", "__main__.py")
  return {
    "command": shlex.join(["kdjax", *sys.argv[1:]]) if typed else None,
    "python": platform.python_version(),
    "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    "commit": (git("rev-parse", "HEAD") or None) if ours else None,
    "changed": ours and bool(git("status", "--porcelain", "-uno")),
    "devices": [device.device_kind for device in jax.devices()],
    "platform": jax.default_backend(),
    "processes": jax.process_count(),
  }


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
  """The resolved config of a workdir."""
  path = workdir / "config.json"
  if not path.exists():
    raise UserError(
      f"{workdir} is no workdir: it has no config.json.",
      "Expected the --workdir of a kdjax run.",
    )
  return _with_tuples(json.loads(path.read_text()))


def _with_tuples(tree: Any) -> Any:
  """A config read back: JSON has lists where it had tuples."""
  if isinstance(tree, dict):
    return {key: _with_tuples(value) for key, value in tree.items()}
  return tuple(map(_with_tuples, tree)) if isinstance(tree, list) else tree


def differences(old: dict, new: dict) -> dict[str, tuple[Any, Any]]:
  """The leaves that differ between two configs: path -> (old, new)."""
  flat_old, flat_new = fields.flatten(old), fields.flatten(new)
  return {
    path: (flat_old.get(path, MISSING), flat_new.get(path, MISSING))
    for path in sorted(flat_old.keys() | flat_new.keys())
    if flat_old.get(path, MISSING) != flat_new.get(path, MISSING)
  }


def changeable(path: str) -> bool:
  """Whether a run may be continued with another value here."""
  words = path.split(".")
  return any(
    len(words) == len(pattern.split("."))
    and all(map(fnmatch.fnmatchcase, words, pattern.split(".")))
    for pattern in CHANGEABLE
  )


def _is_new(path: str, old: Any, trained: set[str]) -> bool:
  """Whether a leaf says something of what was not trained yet."""
  kind, _, rest = path.partition(".")
  if kind == "stages":
    return rest.partition(".")[0] not in trained
  # The order is that of all stages; what they name has its own leaves.
  return kind in ("order", "gains") or (kind == "sources" and old == MISSING)


def _names(config: Mapping[str, Any]) -> list[tuple[str, str]]:
  """(kind, name) of everything that a config names."""
  found = [("data", config["data"]["name"])]

  def network(spec):
    found.append(("models", spec["name"]))
    nested(spec)

  def nested(tree):
    for value in tree.values():
      if isinstance(value, Mapping):
        network(value) if "name" in value else nested(value)

  for stage in config["stages"].values():
    found.append(("data", stage["data"].get("name", config["data"]["name"])))
    for one in stage["networks"].values():
      network(one)
    found += [("metrics", one["name"]) for one in stage["metrics"].values()]
    found += [("losses", term["loss"]) for term in stage["terms"].values()]
    # One that shares another term's head has no name of its own.
    found += [
      ("heads", head["name"])
      for part in (*stage["terms"].values(), *stage["metrics"].values())
      for head in part["heads"].values()
      if "name" in head
    ]
  return sorted(set(found))

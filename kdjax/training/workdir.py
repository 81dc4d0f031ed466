"""The workdir of a run: its config, environment and finished stages.

README.md lists all files of a workdir.
"""

import fnmatch
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from kdjax import registry
from kdjax.config import bridges, fields, locations, records, strict_json
from kdjax.config.experiment import EXPERIMENT, STAGE
from kdjax.config.files import write_atomically
from kdjax.config.networks import TEACHER
from kdjax.config.parts import DATA
from kdjax.errors import UserError
from kdjax.registry import folders
from kdjax.training import environment, source_hashes

# The config keys that may change when a run is continued; * is any name.
CHANGEABLE = (
  "stages.*.steps",
  "stages.*.log_every",
  "stages.*.save_every",
  "stages.*.steps_per_call",
  "stages.*.predictions",
  # A stage whose metric was wrong selects by another one from then on.
  "stages.*.select",
  "stages.*.select_mode",
  # A stage that stopped early goes on with a larger one.
  "stages.*.patience",
  "seed_axis",
  "placement",
  "notes.*",
  "show",
  "records",
  # The data's folder and feed do not change the batches; `provenance` compares
  # what lies in the folder.
  "data.root",
  "data.feed",
  "data.workers",
)

# The value of a key that a config does not have.
MISSING = "(none)"

# Keys of a config under which there are components, and their kinds.
_KINDS = {
  "data": "data",
  "networks": "models",
  "teachers": "models",
  "terms": "losses",
  "heads": "heads",
  "bridges": "heads",
  "metrics": "metrics",
}


def resolve(config: fields.ConfigDict) -> dict[str, Any]:
  """A config as nested dicts, with the hashes of components outside kdjax.

  Raises:
    UserError: a number of the config is not finite.
  """
  plain = bridges.resolved(config.to_dict())
  locations.anchor(plain, pathlib.Path.cwd())
  for key, value in fields.flatten(plain).items():
    if not strict_json.holds(value):
      raise UserError(f"config.{key} is {value}.", "Expected a finite number.")
  return {**plain, "sources": source_hashes.outside(plain)}


def check_config(workdir: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Checks that a workdir is new or holds a run of this config.

  Raises:
    UserError: the workdir has another config; the message lists differences.
  """
  path = workdir / "config.json"
  trained = {
    checkpoint.parents[1].name
    for checkpoint in workdir.glob("stages/*/checkpoints/[0-9]*")
  }
  if not path.exists() or not trained:
    # Nothing was trained: the config may still be corrected.
    return
  old = strict_json.read(path)
  new = json.loads(json.dumps(config))
  refused = {
    key: pair
    for key, pair in differences(old, new).items()
    if not (
      changeable(key)
      or _is_new(key, trained)
      or (pair[0] == MISSING and _is_default(key, new))
    )
  }
  if refused:
    lines = "; ".join(
      f"{key} was {old}, is {new}" for key, (old, new) in refused.items()
    )
    allowed = ", ".join(CHANGEABLE)
    raise UserError(
      f"{workdir} holds another experiment: {lines}.",
      f"Use another workdir, or change only: {allowed}.",
    )


def write_config(
  workdir: pathlib.Path, config: Mapping[str, Any], accept: Sequence[str] = ()
) -> None:
  """Writes config.json and environment.json.

  Args:
    workdir: of the run.
    config: of the experiment, as nested dicts.
    accept: parts of the stages' provenance that may differ; config.json keeps
      those of earlier starts too.

  Raises:
    UserError: the workdir is not writable.
  """
  if jax.process_index() > 0:
    return
  path = workdir / "config.json"
  before = strict_json.read(path).get("accepted", ()) if path.exists() else ()
  accepted = {"accepted": sorted({*before, *accept})}
  for name, content in (
    ("config", {**config, **accepted}),
    ("environment", {**environment.now(), "accepted": sorted(accept)}),
  ):
    text = strict_json.dumps(content, indent=2, sort_keys=name == "config")
    write_atomically(workdir / f"{name}.json", text + "\n")


def stage_result(workdir: pathlib.Path, name: str) -> dict[str, Any] | None:
  """The result.json of a finished stage, null metrics as NaN; else None."""
  path = workdir / "stages" / name / "result.json"
  return records.result(path)


def read_config(workdir: pathlib.Path) -> dict[str, Any]:
  """The resolved config of a workdir.

  Its components and data are found from any working directory.

  Raises:
    UserError: the folder has no config.json.
  """
  path = workdir / "config.json"
  if not path.exists():
    raise UserError(
      f"{workdir} is no workdir: it has no config.json.",
      "Expected the --workdir of `kdjax run`.",
    )
  config = _with_tuples(strict_json.read(path))
  known = _folders(workdir)
  for folder in reversed(known):
    if pathlib.Path(folder).is_dir():
      folders.add(folder)
  locations.relocate(config, known)
  return config


def _folders(workdir: pathlib.Path) -> list[str]:
  """The folders that a workdir's relative paths were looked for in."""
  try:
    content = strict_json.read(workdir / "environment.json")
  except (OSError, UserError):
    return []  # the file has no other use
  found = (
    content.get(environment.FOLDERS) if isinstance(content, dict) else None
  )
  listed = found if isinstance(found, list) else []
  return [it for it in listed if isinstance(it, str)]


def _with_tuples(tree: Any) -> Any:
  """A config read from JSON, with tuples in place of lists."""
  if isinstance(tree, dict):
    return {key: _with_tuples(value) for key, value in tree.items()}
  return tuple(map(_with_tuples, tree)) if isinstance(tree, list) else tree


def differences(old: dict, new: dict) -> dict[str, tuple[Any, Any]]:
  """The keys that differ between two configs: key -> (old, new)."""
  flat_old, flat_new = fields.flatten(old), fields.flatten(new)
  return {
    path: (flat_old.get(path, MISSING), flat_new.get(path, MISSING))
    for path in sorted(flat_old.keys() | flat_new.keys())
    if flat_old.get(path, MISSING) != flat_new.get(path, MISSING)
  }


def changeable(path: str) -> bool:
  """Whether a run may be continued with another value of a key."""
  words = path.split(".")
  return any(
    len(words) == len(pattern.split("."))
    and all(map(fnmatch.fnmatchcase, words, pattern.split(".")))
    for pattern in CHANGEABLE
  )


def _is_default(path: str, config: dict) -> bool:
  """Whether a knob or an option has its default: it may be a newer one."""
  *above, last = path.split(".")
  owner = config
  for step in above:
    owner = owner[step]
  defaults = json.loads(json.dumps(_defaults(above, owner), default=repr))
  return last in defaults and owner[last] == defaults[last]


def _defaults(above: Sequence[str], owner: Mapping[str, Any]) -> dict[str, Any]:
  """The defaults of a part of a config: of its knobs, and of its component.

  Args:
    above: the keys that lead to it.
    owner: the part.
  """
  knobs = {
    "": {} if above else EXPERIMENT,
    "stages": STAGE if len(above) == 2 else {},
    "data": DATA,
    "teachers": TEACHER,
  }
  place = next((it for it in reversed(above) if it in {**knobs, **_KINDS}), "")
  defaults = {key: it.value() for key, it in knobs.get(place, {}).items()}
  name = owner.get("loss" if place == "terms" else "name")
  if isinstance(name, str) and place in _KINDS:
    defaults |= registry.describe(_KINDS[place], name).options
  return defaults


def _is_new(path: str, trained: set[str]) -> bool:
  """Whether a key belongs to a stage that is not trained yet."""
  kind, _, rest = path.partition(".")
  if kind == "stages":
    return rest.partition(".")[0] not in trained
  # These keys list stages; the stages' own keys are compared too. Code is
  # compared by `provenance`.
  return kind in ("order", "gains", "sources", "accepted")

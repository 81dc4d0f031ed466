"""Orbax checkpoints of a stage: the states of all seeds, stacked.

A state is saved as a flat dict, {"params.networks.student...": [S, ...]}, so
that any part of it can be read without the code that wrote it.

The newest two checkpoints stay. If the newest is damaged, it is set aside and
the one before is used, which is said.
"""

import contextlib
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from kdjax.config import terminal
from kdjax.errors import UserError

SEPARATOR = "."

# How often a checkpoint that a run replaces meanwhile is looked for again.
ATTEMPTS = 5

# What Orbax and TensorStore raise for files that are missing or damaged, and
# for those that cannot be written.
UNREADABLE = (OSError, ValueError, LookupError, AttributeError, TypeError)
UNWRITABLE = (OSError, ValueError)

# The facts of checkpoints that were written before facts had a digest.
WITHOUT_DIGEST = {"seconds", "teachers", "broken"}

# The name of a damaged checkpoint that was set aside.
DAMAGED = "damaged-{}"


def check_path(folder: pathlib.Path) -> None:
  """Raises `UserError` where Orbax would lose what it saves, and for a file.

  It looks for its parts with `glob`, where a bracket is a pattern.
  """
  if folder.is_file():
    raise UserError(
      f"The workdir {folder} is a file.", "Expected a folder, or a new path."
    )
  if "[" in f"{folder.resolve()}":
    raise UserError(
      f"The path {folder.resolve()} has a '[', and checkpoints cannot be saved"
      " there.",
      "Use a workdir without brackets in its path.",
    )


class Checkpoints:
  """The checkpoints of one stage. Saving does not wait for the disk.

  Args:
    folder: of the checkpoints.
    write: whether the processes of this job write checkpoints.
  """

  def __init__(self, folder: pathlib.Path, *, write: bool = False):
    self.folder = folder.resolve()
    if write and jax.process_index() == 0:
      # Left by a killed save; Orbax neither reads nor removes it.
      for rest in self.folder.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(rest)
    self.write = write and jax.process_index() == 0
    options = ocp.CheckpointManagerOptions(
      max_to_keep=2, enable_async_checkpointing=True, create=write
    )
    self.manager = ocp.CheckpointManager(
      self.folder,
      options=options,
      item_handlers={
        "state": ocp.PyTreeCheckpointHandler(),
        "facts": ocp.JsonCheckpointHandler(),
      },
    )

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_) -> None:
    with self._writing():
      self.manager.close()

  def latest(self) -> int | None:
    """The step of the newest checkpoint."""
    return self.manager.latest_step()

  def newest(self) -> tuple[int, dict[str, np.ndarray], dict] | None:
    """(step, arrays, facts) of the newest checkpoint that can be read, if any.

    A damaged one is set aside by the process that writes.

    Raises:
      UserError: there are checkpoints, and none can be read.
    """
    if self.latest() is None:
      return None
    return self._first_readable(
      lambda step: (step, self._arrays(step, ""), self._facts(step))
    )

  def save(self, step: int, states: Sequence[Any], facts: dict) -> None:
    """Starts to save the states of all seeds and some facts about the run.

    Raises:
      UserError: an earlier checkpoint could not be written.
    """
    flat = [flatten(state) for state in states]
    stacked = {key: np.stack([own[key] for own in flat]) for key in flat[0]}
    with self._writing():
      self.manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.PyTreeSave(stacked),
          facts=ocp.args.JsonSave({**facts, "digest": _digest(facts)}),
        ),
      )

  def wait(self) -> None:
    """Returns when all saved checkpoints are on disk.

    Raises:
      UserError: one could not be written.
    """
    with self._writing():
      self.manager.wait_until_finished()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except UNWRITABLE as error:
      raise UserError(
        f"A checkpoint cannot be written to {self.folder}:"
        f" {_first_line(error)}.",
        "Expected a folder that is writable, on a disk with space. The same"
        " command continues from the checkpoint before it.",
      ) from error

  def read(self, prefix: str = "") -> dict[str, np.ndarray]:
    """The newest checkpoint's arrays with names that start with a prefix.

    Returns:
      {name without the prefix: array}.

    Raises:
      UserError: no checkpoint can be read.
    """
    return self._first_readable(lambda step: self._arrays(step, prefix))

  def facts(self) -> dict:
    """The facts that were saved with the newest state."""
    return self._first_readable(self._facts)

  def _first_readable(self, read: Callable[[int], Any]) -> Any:
    """What `read` returns of the newest step of which it raises no error."""
    for _ in range(ATTEMPTS):
      self.manager.reload()
      replaced = False
      for step in sorted(self.manager.all_steps(), reverse=True):
        try:
          return read(step)
        except UNREADABLE as error:
          replaced = not (self.folder / str(step)).exists()
          if replaced:
            break  # by a run that saves meanwhile: look again
          self._set_aside(step, error)
      if not replaced:
        break
    raise UserError(
      f"No checkpoint in {self.folder} can be read.",
      f"Delete {self.folder.parent} to train the stage again.",
    )

  def _set_aside(self, step: int, error: Exception) -> None:
    """Says that a checkpoint is damaged; renames it if this process writes."""
    path = self.folder / str(step)
    terminal.warn(
      f"the checkpoint {path} is damaged ({_first_line(error)});"
      " the one before it is used, if there is one."
    )
    if self.write:
      aside = self.folder / DAMAGED.format(step)
      shutil.rmtree(aside, ignore_errors=True)
      path.rename(aside)

  def _arrays(self, step: int, prefix: str) -> dict[str, np.ndarray]:
    stored = self.manager.item_metadata(step)["state"].tree
    names = [key for key in stored if key.startswith(prefix)]
    if not names:
      return {}
    as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
    arrays = self.manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.PyTreeRestore(
          item=dict.fromkeys(names, 0),
          restore_args=dict.fromkeys(names, as_numpy),
          partial_restore=True,
        )
      ),
    )["state"]
    return {key.removeprefix(prefix): leaf for key, leaf in arrays.items()}

  def _facts(self, step: int) -> dict:
    facts = self.manager.restore(
      step, args=ocp.args.Composite(facts=ocp.args.JsonRestore())
    )["facts"]
    digest = facts.pop("digest", None)
    if digest != _digest(facts) and not facts.keys() <= WITHOUT_DIGEST:
      raise ValueError("its facts were changed")
    return facts


def _first_line(error: Exception) -> str:
  lines = f"{error}".strip().splitlines() or [type(error).__name__]
  return lines[0][:200]


def _digest(facts: dict) -> str:
  text = json.dumps(facts, sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def flatten(tree: Any) -> dict[str, np.ndarray]:
  """The leaves of a tree by name: {"a.b": leaf}."""
  return {
    jax.tree_util.keystr(path, simple=True, separator=SEPARATOR): leaf
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def unflatten(
  template: Any, stored: dict[str, np.ndarray], seeds: int, folder: pathlib.Path
) -> list[Any]:
  """Trees like `template`, one per seed, from the arrays of a checkpoint.

  Args:
    template: a tree of one seed, or its shapes.
    stored: {name: [S, ...]}.
    seeds: S.
    folder: of the checkpoint, for the message.

  Raises:
    UserError: the number of seeds differs, or the names or shapes of the
      arrays differ from the template's.
  """
  expected = flatten(template)
  counts = {np.shape(leaf)[:1] for leaf in stored.values()}
  if counts and counts != {(seeds,)}:
    found = sorted(count[0] if count else 0 for count in counts)
    raise UserError(
      f"The checkpoint in {folder} has {', '.join(map(str, found))} states.",
      f"Expected {seeds}, one for each seed and point of the grid.",
    )
  wrong = [
    f"{key} has shape {list(np.shape(stored[key])[1:])}, here"
    f" {list(leaf.shape)}"
    if key in stored
    else f"{key} is missing"
    for key, leaf in expected.items()
    if key not in stored or np.shape(stored[key])[1:] != leaf.shape
  ]
  wrong += [
    f"{key} is not in the config" for key in stored if key not in expected
  ]
  if wrong:
    more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    raise UserError(
      f"The checkpoint in {folder} has another architecture: "
      f"{'; '.join(wrong[:5])}{more}.",
      "Expected the networks, heads and optimizer of this config.",
    )
  structure = jax.tree.structure(template)
  return [
    jax.tree.unflatten(structure, [stored[key][seed] for key in expected])
    for seed in range(seeds)
  ]

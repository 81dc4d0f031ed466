"""Orbax checkpoints of a stage: the states of all seeds, stacked.

A state is saved as a flat dict, {"params.networks.student...": [S, ...]}, so
that any part of it can be read without the code that wrote it.
"""

import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from kdjax.errors import UserError

SEPARATOR = "."


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
    # A state holds its best variables, so only the newest checkpoint is
    # needed. The previous one stays until the newest is complete.
    options = ocp.CheckpointManagerOptions(
      max_to_keep=1, enable_async_checkpointing=True, create=write
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
    self.manager.close()

  def latest(self) -> int | None:
    """The step of the newest checkpoint."""
    return self.manager.latest_step()

  def save(self, step: int, states: Sequence[Any], facts: dict) -> None:
    """Starts to save the states of all seeds and some facts about the run."""
    flat = [flatten(state) for state in states]
    stacked = {key: np.stack([own[key] for own in flat]) for key in flat[0]}
    self.manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.PyTreeSave(stacked), facts=ocp.args.JsonSave(facts)
      ),
    )

  def wait(self) -> None:
    """Returns when all saved checkpoints are on disk."""
    self.manager.wait_until_finished()

  def read(self, prefix: str = "") -> dict[str, np.ndarray]:
    """The newest checkpoint's arrays with names that start with a prefix.

    Returns:
      {name without the prefix: array}.
    """
    step = self.latest()
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

  def facts(self) -> dict:
    """The facts that were saved with the newest state."""
    return self.manager.restore(
      self.latest(), args=ocp.args.Composite(facts=ocp.args.JsonRestore())
    )["facts"]


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
    UserError: the names or shapes of the arrays differ from the template's.
  """
  expected = flatten(template)
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

"""Relative folders of data: found from a config's folder, or from a workdir."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ROOT = "root"


def anchor(config: Mapping[str, Any], folder: str | pathlib.Path) -> None:
  """Makes relative `data.root`s absolute, where a folder has them.

  Args:
    config: an experiment, which is changed.
    folder: that the roots may be relative to.
  """
  for data in _data(config):
    path = pathlib.Path(folder).absolute() / data[ROOT]
    if not path.exists():
      # The folder of a config that is not written yet, with a root of "../lab".
      path = pathlib.Path(os.path.normpath(path))
    if not pathlib.Path(data[ROOT]).is_absolute() and path.exists():
      data[ROOT] = str(path)


def relocate(config: Mapping[str, Any], folders: Sequence[str]) -> None:
  """Finds the data of a project that was moved as a whole.

  A root that does not exist, and was below one of the folders, is looked for
  below the working directory.

  Args:
    config: an experiment, which is changed.
    folders: that its paths were relative to.
  """
  for data in _data(config):
    root = pathlib.Path(data[ROOT])
    for folder in folders if not root.exists() else ():
      if root.is_relative_to(folder):
        moved = pathlib.Path.cwd() / root.relative_to(folder)
        if moved.exists():
          data[ROOT] = str(moved)
          break


def _data(config: Mapping[str, Any]) -> Iterator[Any]:
  """The configs of data that have a root."""
  stages = config.get("stages", {})
  every = [config.get("data"), *(it.get("data") for it in stages.values())]
  for data in every:
    if data and isinstance(data.get(ROOT), str) and data[ROOT]:
      yield data

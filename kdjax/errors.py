"""Errors that a user can mend: the problem, what was expected, what exists."""

import os
import zipfile
from collections.abc import Iterable

# Up to so many names are listed; of more, the nearest.
LISTED, NEAREST = 12, 3
# From this similarity on, 0 to 1, a name is offered as what was meant.
LIKELY = 0.6


class UserError(Exception):
  """An error that the user can mend; a command prints it without a traceback.

  Args:
    problem: what is wrong, and where, as a sentence: "No loss 'kdd'."
    expected: what was expected or what to do, as a sentence.
    exists: the names to choose from. Up to twelve are listed; of more, the
      three nearest to `near`.
    near: the name that was not found, for "Did you mean".
    lists: the command that lists all names, where there is one.
  """

  def __init__(
    self,
    problem: str,
    expected: str = "",
    exists: Iterable[str] | None = None,
    near: str = "",
    lists: str = "",
  ):
    parts = [problem]
    if expected:
      parts.append(expected)
    if exists is not None:
      parts += _choices(sorted(exists), near, lists)
    super().__init__(" ".join(parts))


class ShapeError(UserError):
  """Arrays whose shapes do not fit together."""


def check_memory(size: int, what: str) -> None:
  """Raises `UserError` for arrays that are larger than the memory.

  A compressed file of some kilobytes can state arrays of any size.

  Args:
    size: of the arrays, in bytes.
    what: names their file.
  """
  try:
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  except (AttributeError, OSError, ValueError):
    return  # not known on this system
  if size > most:
    raise UserError(
      f"{what} has arrays of {size / 2**30:,.1f} GiB, and this machine has"
      f" {most / 2**30:,.1f} GiB of memory.",
      "Expected arrays that fit.",
    )


def check_archive(path: str | os.PathLike) -> None:
  """Raises `UserError` for a .zip or .npz that unpacks to more than the memory.

  Raises:
    OSError, zipfile.BadZipFile: it cannot be read.
  """
  with zipfile.ZipFile(path) as archive:
    size = sum(member.file_size for member in archive.infolist())
  check_memory(size, f"'{os.fspath(path)}'")


def same_shape(**arrays) -> None:
  """Raises `ShapeError` unless all named arrays have one shape."""
  shapes = {name: tuple(array.shape) for name, array in arrays.items()}
  if len(set(shapes.values())) > 1:
    different = " and ".join(
      f"{name} {list(shape)}" for name, shape in shapes.items()
    )
    raise ShapeError(
      f"The shapes of {different} differ.", "Expected equal shapes."
    )


def _choices(names: list[str], near: str, lists: str) -> list[str]:
  """The sentences about what exists."""
  # By edits, of which swapping two neighbours is one: `rdk` is near `rkd`.
  from rapidfuzz.distance import OSA, Prefix

  likeness = {
    name: (OSA.normalized_similarity(near, name), Prefix.similarity(near, name))
    for name in names
  }
  nearest = sorted(names, key=likeness.get, reverse=True)[:NEAREST]
  sentences = []
  if near and nearest and likeness[nearest[0]][0] >= LIKELY:
    sentences.append(f"Did you mean '{nearest[0]}'?")
  if len(names) <= LISTED:
    sentences.append(f"There are: {', '.join(names) or 'none'}.")
  elif near:
    sentences.append(f"Nearest of {len(names)}: {', '.join(nearest)}.")
  else:
    more = len(names) - LISTED
    sentences.append(f"There are: {', '.join(names[:LISTED])} and {more} more.")
  if lists:
    sentences.append(f"`{lists}` lists all.")
  return sentences

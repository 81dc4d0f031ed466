"""What a user did that cannot work: given, expected, what exists."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """A mistake of the user's, said in one message and without a traceback.

  Args:
    given: what was given, as a sentence: "No loss 'kdd'."
    expected: what was expected, as a sentence, where `given` leaves it open.
    exists: what there is to choose from.
    near: the name to compare `exists` with, for a "Did you mean".
  """

  def __init__(
    self,
    given: str,
    expected: str = "",
    exists: Iterable[str] | None = None,
    near: str = "",
  ):
    parts = [given]
    if expected:
      parts.append(expected)
    if exists is not None:
      exists = sorted(exists)
      guesses = difflib.get_close_matches(near, exists, n=1) if near else []
      parts += [f"Did you mean '{guess}'?" for guess in guesses]
      parts.append(f"There are: {', '.join(exists) or 'none'}.")
    super().__init__(" ".join(parts))


class ShapeError(UserError):
  """Arrays whose shapes do not fit together."""


def same_shape(**arrays) -> None:
  """Raises `ShapeError` unless all named arrays have one shape."""
  shapes = {name: tuple(array.shape) for name, array in arrays.items()}
  if len(set(shapes.values())) > 1:
    given = " and ".join(
      f"{name} {list(shape)}" for name, shape in shapes.items()
    )
    raise ShapeError(f"The shapes of {given} differ.", "They must be equal.")

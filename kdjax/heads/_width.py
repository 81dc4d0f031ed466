"""The width of a head's output."""

from kdjax.errors import UserError
from kdjax.types import Array


def width_of(
  head: str, width: int | None, like: Array | None, option: str = "width"
) -> int:
  """The width of a head's output: its option, or that of the other side.

  Args:
    head: the name of the head.
    width: the value of its option; None is the width of `like`.
    like: the array on the other side, channels last; None if there is none.
    option: the name of the option.

  Raises:
    UserError: there is neither.
  """
  if width is not None:
    return width
  if like is None:
    raise UserError(
      f"A head '{head}' has no {option} and nothing on its other side.",
      f"Set its option '{option}'.",
    )
  return like.shape[-1]

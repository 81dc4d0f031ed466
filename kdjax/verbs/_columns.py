"""The flag --columns: key=column, .."""

from collections.abc import Sequence

from kdjax.errors import UserError


def stated(columns: Sequence[str]) -> dict[str, str] | None:
  """Key -> column, as `manifest` takes it; None if the flag is not given.

  A column that is no pair is one more of the numbers before it, as in
  numbers=numbers:height,weight.

  Raises:
    UserError: a pair is not whole.
  """
  found: dict[str, str] = {}
  for word in columns:
    key, equals, column = word.partition("=")
    if not equals and found:
      last = [*found][-1]
      found[last] = f"{found[last]}, {word}"
      continue
    if not (key and column):
      raise UserError(
        f"--columns has '{word}'.",
        "Expected key=column, as in --columns=text=sentence,label=mood.",
      )
    found[key] = column
  return found or None

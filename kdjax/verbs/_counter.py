"""The number of records that are done, on a terminal."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

# Seconds before the first line, and between two.
AFTER, EVERY = 2.0, 0.2

_CLEAR = "\r\x1b[K"


def counted(
  items: Iterable[Any], total: int | None, shown: bool
) -> Iterator[Any]:
  """The items; after two seconds their number on stderr, if it is a terminal.

  Args:
    items: to be counted.
    total: how many there are; None is not known.
    shown: False shows nothing.
  """
  began = time.monotonic()
  said, of = 0.0, "" if total is None else f" of {total:,}"
  shown = shown and sys.stderr.isatty()
  try:
    for number, item in enumerate(items, start=1):
      yield item
      now = time.monotonic()
      if shown and now - began > AFTER and now - said > EVERY:
        rate = number / (now - began)
        line = f"{number:,}{of} records, {rate:,.0f} a second"
        print(_CLEAR + line, end="", file=sys.stderr, flush=True)
        said = now
  finally:
    if said:
      print(_CLEAR, end="", file=sys.stderr, flush=True)

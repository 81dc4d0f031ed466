"""Compares the classes of teachers with other classes with the data's."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdjax import pretrained
from kdjax.config import terminal
from kdjax.errors import UserError
from kdjax.stage.class_names import LOGITS, plain
from kdjax.stage.stage import Stage

# A warning shows so many classes.
SHOWN = 10


def check(stage: Stage) -> None:
  """Checks that logits of teachers are in the order of the data.

  They are frozen published classifiers, or were trained on other data.

  Raises:
    UserError: the data's classes are those of a classifier in another order,
      or some of them, and what reads its logits does not select them.
  """
  ours = stage.class_names()
  for key, teacher in stage.config["teachers"].items():
    path = (teacher.get("frozen") or {}).get("pretrained")
    module = stage.objective.teachers.get(key)
    of_stage = stage.teacher_classes.get(key, ())
    if not ((path or of_stage) and ours and getattr(module, "num_classes", 0)):
      continue
    theirs = pretrained.class_names(path) if path else of_stage
    source = "its config.json" if path else f"the stage '{teacher['stage']}'"
    if len(theirs) != module.num_classes:
      continue  # another classifier, or one without names
    for where, selected in _readers(stage.config, f"{key}/{LOGITS}"):
      _compare(key, theirs, ours, where, selected, source)


def _readers(
  config: Mapping[str, Any], address: str
) -> Iterator[tuple[str, Sequence[int] | None]]:
  """What reads an address, and the classes that its head selects, if any."""
  for kind, what in (("terms", "The term"), ("metrics", "The metrics")):
    for name, spec in config[kind].items():
      for argument, read in spec["reads"].items():
        reads = (read,) if isinstance(read, str) else read
        plain = [re.sub(r"@[^/]*", "", one) for one in reads]
        head = spec["heads"].get(argument, {})
        if address in plain and head.get("name") in (None, "select"):
          at = f"{what} '{name}' reads '{address}' as '{argument}'"
          yield at, head.get("classes")


def _compare(key, theirs, ours, where, selected, source) -> None:
  found, wanted = plain(theirs), plain(ours)
  if selected is not None:
    picked = [found[i] for i in selected if 0 <= i < len(found)]
    known = {*wanted} <= {*found}
    if picked == wanted or not known or len(picked) != len(wanted):
      return
  elif found == wanted:
    return
  if {*wanted} <= {*found}:
    columns = tuple(map(found.index, wanted))
    argument = where.rpartition(" as ")[2].strip("'")
    raise UserError(
      f"{where}, whose classes are {_listed(theirs)} in {source}; those"
      f" of the data are {_listed(ours)}: another order.",
      f"Add to it: heads={{'{argument}': head('select', classes={columns})}}",
    )
  if selected is None and len(theirs) == len(ours):
    sides = ", ".join(
      f"{i} {a} / {b}"
      for i, (a, b) in enumerate(zip(theirs[:SHOWN], ours[:SHOWN], strict=True))
    )
    more = f" and {len(ours) - SHOWN} more" if len(ours) > SHOWN else ""
    terminal.warn(
      f"the classes of the teacher '{key}' and of the data have other"
      f" names: {sides}{more}. Their order must be the same."
    )


def _listed(names: Sequence[str]) -> str:
  more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
  return ", ".join(names[:SHOWN]) + more

"""The metric that chooses a stage's best variables, and its direction."""

from kdjax import registry
from kdjax.errors import UserError
from kdjax.stage.stage import Stage


def check(stage: Stage) -> None:
  """Raises `UserError` where `select_mode` would choose the worst variables."""
  select, mode = stage.config["select"], stage.config["select_mode"]
  better = _better_mode(stage, select)
  if better and mode != better:
    order = "lower" if better == "min" else "higher"
    raise UserError(
      f"`select` is '{select}', where a {order} value is better, and"
      f" `select_mode` is '{mode}'.",
      f'Set select_mode="{better}".',
    )


def _better_mode(stage: Stage, select: str) -> str | None:
  """The mode that fits; None of a metric whose file has no LOWER."""
  if select.startswith("loss/"):
    return "min"
  group, _, metric = select.rpartition("/")
  lower = []
  for key, options in stage.config["metrics"].items():
    if group == ("" if key == options["name"] else key):
      module = registry.find("metrics", options["name"])
      lower.append(getattr(module, "LOWER", None))
  if any(names is not None and metric in names for names in lower):
    return "min"
  return None if None in lower else "max"

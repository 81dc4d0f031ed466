"""The split of each record of a manifest: stated, or drawn by key or group."""

from kdjax.data import _columns, _layout, _splits
from kdjax.data._columns import FILES
from kdjax.data._whole import Options, Whole
from kdjax.errors import UserError
from kdjax.preprocess import tables


def divide(whole: Whole, chosen: Options, table: tables.Table) -> None:
  """Sets each record's split; a record whose split is unknown is in train."""
  keys: list[str | None] = [str(row) for row in range(len(whole.rows))]
  if _layout.FILE in table.columns and not chosen.of_tables:
    keys = [row.file for row in whole.rows]
  if chosen.record_key:
    keys = _keys(whole, chosen.record_key, chosen.group_column)
  if chosen.group_column:
    keys = _groups(whole, chosen.group_column)
    whole.groups, whole.values[_splits.GROUP] = _splits.numbered(keys)
  shares = (chosen.validation, chosen.test)
  name = _split_column(whole, chosen, table)
  if chosen.folds:
    if name:
      raise UserError(
        f"folds={chosen.folds!r}, and the column '{name}' divides the records.",
        'Set split_column="", or no folds.',
      )
    whole.split = _splits.folded(keys, chosen.folds, chosen.seed)
  elif not name:
    whole.split = _splits.drawn(keys, *shares)
  else:
    for row, cell in enumerate(whole.column(name)):
      split = None if cell is None else _splits.named(str(cell))
      whole.split[row] = split or "train"
      whole.stated[row] = split not in ("train", None)
      if split is None:
        keys[row] = None
      if split is None and not whole.has_fault(row, name):
        whole.add_fault(
          row,
          name,
          "it is empty"
          if cell is None
          else f"no split is called {_columns.shown(cell)}",
        )
    whole.split = _splits.filled(whole.split, keys, *shares)
  for column in whole.columns:
    if column.kind in FILES:
      _remark_shared(whole, column.names[0], f"files of '{column.names[0]}'")
  if chosen.group_column:
    _remark_shared(whole, chosen.group_column, f"'{chosen.group_column}'")


def _split_column(whole: Whole, chosen: Options, table: tables.Table) -> str:
  """The column that states splits; "" where they are drawn."""
  if chosen.split_column != "split":
    return chosen.split_column
  used = {name for column in whole.columns for name in column.names}
  used |= {chosen.record_key, chosen.group_column}
  names = [name for name in table.columns if name not in used]
  return _splits.find_column(
    {name: whole.column(name) for name in names}, f"'{chosen.path}'"
  )


def _remark_shared(whole: Whole, name: str, what: str) -> None:
  """Remarks on files or groups that are in several splits."""
  splits: dict[str, set[str]] = {}
  for cell, split in zip(whole.column(name), whole.split, strict=True):
    if isinstance(cell, str | int | float):
      splits.setdefault(str(cell), set()).add(str(split))
  several = [cell for cell, found in splits.items() if len(found) > 1]
  if several:
    whole.remarks.append(
      f"{len(several)} of {len(splits)} {what} are in several splits, such as"
      f" {_columns.shown(several[0])}: a network is tested on what it was"
      " trained on. group_column= keeps the records of one value together in"
      " drawn splits."
    )


def _keys(whole: Whole, name: str, group: str) -> list[str | None]:
  """The key of each record; a missing or repeated key is a fault."""
  lines: dict[str, int] = {}
  keys: list[str | None] = []
  hint = "" if group else f"; several records of one: group_column='{name}'"
  for row, cell in enumerate(whole.column(name)):
    key = None if cell is None else str(cell)
    keys.append(key)
    if key in lines:
      shown = _columns.shown(key)
      whole.add_fault(
        row, name, f"{shown} is the key of line {lines[key]} too{hint}"
      )
    elif key is not None:
      lines[key] = whole.rows[row].line
    elif not whole.has_fault(row, name):
      whole.add_fault(row, name, "it is empty, and is the key")
  return keys


def _groups(whole: Whole, name: str) -> list[str | None]:
  """The group of each record; a missing one is a fault."""
  cells = whole.column(name)
  for row, cell in enumerate(cells):
    if cell is None and not whole.has_fault(row, name):
      whole.add_fault(row, name, "it is empty, and is the group")
  return [None if cell is None else str(cell) for cell in cells]

"""Patterns of paths as tables: shards, a table a split, a folder a class.

  {split}.csv              train.csv and test.csv
  data/{split}-*.parquet   the shards of each split
  {split}/{label}/*        train/cat/1.jpg: a record is a file
  {speaker}/{label}_*.wav  each field in braces is a column

`*` is any part of a name, `**` also of several folders. Hidden files are passed
over. Of files that are records, the column `file` is the path.
"""

import os
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kdjax.data import _splits
from kdjax.errors import UserError
from kdjax.preprocess import audio, images, tables

# The column of a record's path.
FILE = "file"

_FIELD = re.compile(r"\{(\w+)\}|(\*\*)|(\*)")


class Match(NamedTuple):
  """A file that a pattern matches.

  Attributes:
    path: relative to the root, with "/".
    fields: (field in braces, its part of the path) pairs.
    stamp: time of change in ns, and size.
  """

  path: str
  fields: tuple[tuple[str, str], ...]
  stamp: tuple[int, int]


def is_pattern(root: str, table: str) -> bool:
  """Whether a table's name is a pattern of several files."""
  return bool(_FIELD.search(table)) and not os.path.isfile(
    os.path.join(root, table)
  )


def matches(root: str, pattern: str) -> tuple[Match, ...]:
  """The files that a pattern matches, by path; those of no split are left out.

  Raises:
    UserError: a field stands twice, or no file matches.
  """
  fields = [name for name, _, _ in _FIELD.findall(pattern) if name]
  twice = next((name for name in fields if fields.count(name) > 1), None)
  if twice:
    raise UserError(f"The table '{pattern}' has the field '{twice}' twice.")
  expression = _expression(pattern)
  found, other = [], []
  any_media = not os.path.splitext(pattern)[1]
  for path, stamp in files(root):
    match = expression.fullmatch(path)
    if not match or (any_media and not kind_of(path)):
      continue
    parts = match.groupdict()
    if "split" in parts and _splits.named(parts["split"]) is None:
      other.append(path)
      continue
    found.append(Match(path, tuple(parts.items()), stamp))
  if not found:
    there = [path for path, _ in files(root)][:1000]
    raise UserError(
      f"No file below '{root}' is as table='{pattern}' says"
      + (
        f"; '{other[0]}' names no split, train, validation or test."
        if other
        else "."
      ),
      "{split}, {label} or another {field}, and *, are parts of its path.",
      exists=there,
      near=pattern,
    )
  return tuple(found)


def read(
  root: str,
  pattern: str,
  found: Iterable[Match],
  of_tables: bool,
  **options: Any,
) -> tables.Table:
  """The records of all files that match, as one table.

  Args:
    root: of the paths.
    pattern: with the ending of a table, or else each file is a record.
    found: from `matches`.
    of_tables: whether the files are tables.
    **options: of `tables.read`.
  """
  if not of_tables:
    fields = [name for name, _, _ in _FIELD.findall(pattern) if name]
    rows = (
      tables.Row(1, {FILE: match.path, **dict(match.fields)}, file=match.path)
      for match in found
    )
    return tables.Table((FILE, *fields), tuple(rows))
  columns: dict[str, None] = {}
  rows = []
  classes: dict[str, tuple[str, ...]] = {}
  for match in found:
    table = tables.read(pathlib.Path(root, match.path), **options)
    fields = {
      name: part for name, part in match.fields if name not in table.columns
    }
    columns |= dict.fromkeys((*table.columns, *fields))
    for name, names in table.classes.items():
      if classes.setdefault(name, names) != names:
        raise UserError(
          f"'{match.path}' has other classes of '{name}' than the files"
          " before.",
          "Set `classes` to the names of all.",
        )
    rows += [
      tables.Row(row.line, {**fields, **row.cells}, row.faults, match.path)
      for row in table.rows
    ]
  return tables.Table(tuple(columns), tuple(rows), classes)


def is_of_tables(pattern: str) -> bool:
  """Whether the files of a pattern are tables; else each is a record."""
  name = pattern.removesuffix(".gz").lower()
  return name.endswith(tables.FORMATS)


def kind_of(path: str) -> str:
  """The kind of column of a file by its ending; "" if it has none."""
  ending = os.path.splitext(path)[1].lower()
  if ending in images.endings():
    return "image"
  if ending in audio.ENDINGS:
    return "audio"
  return "sequence" if ending == ".npy" else ""


def discover(root: str) -> tuple[str, dict[str, Any]]:
  """The data set of a folder or file as it lies there: (name, options).

  Raises:
    UserError: it is none of the layouts that are known.
  """
  if os.path.isfile(root):
    folder, name = os.path.split(os.path.abspath(root))
    if name.endswith(".npz"):
      return "arrays", {"root": root}
    return "manifest", {"root": folder, "table": name}
  if not os.path.isdir(root):
    raise UserError(f"No file or folder '{root}'.")
  paths = [path for path, _ in files(root)]
  for name in ("manifest.csv", "metadata.csv", "metadata.jsonl"):
    if name in paths:
      return "manifest", {"root": root, "table": name}
  of_tables = [path for path in paths if is_of_tables(path)]
  for pattern in _table_patterns(of_tables):
    expression = _expression(pattern)
    splits = {
      _splits.named(match["split"])
      for match in map(expression.fullmatch, of_tables)
      if match
    }
    if "train" in splits:
      return "manifest", {"root": root, "table": pattern}
  if len(of_tables) == 1:
    return "manifest", {"root": root, "table": of_tables[0]}
  if of_tables:
    raise UserError(
      f"Which table of '{root}'? It has {len(of_tables)}.",
      "Name it, as in --data=folder/table.csv.",
      exists=of_tables[:100],
    )
  return _of_media(root, paths)


def _of_media(root: str, paths: Iterable[str]) -> tuple[str, dict[str, Any]]:
  """The data set of a folder of images, recordings or arrays."""
  media = [path for path in paths if kind_of(path)]
  if not media:
    raise UserError(
      f"'{root}' has no table, image, recording or array.",
      "Expected a table (.csv, .tsv, .jsonl, .parquet), a folder a class,"
      " train/ and test/ with a folder a class each, or an .npz file.",
      exists=[*paths][:100],
    )
  depths = {path.count("/") for path in media}
  if len(depths) > 1:
    raise UserError(
      f"Files of '{root}' lie in {min(depths)} to {max(depths)} folders.",
      "Expected {label}/* or {split}/{label}/*; table= states another.",
    )
  tops = {path.partition("/")[0] for path in media}
  divided = max(depths) > 0 and all(map(_splits.named, tops))
  levels = ["{split}"] * divided
  levels += ["{label}"] * (max(depths) > divided)
  levels += ["*"] * (max(depths) - len(levels)) + ["*"]
  if "{label}" not in levels and media[0].endswith(".npy"):
    return "arrays", {"root": root}
  return "manifest", {"root": root, "table": "/".join(levels)}


def _table_patterns(paths: Iterable[str]) -> list[str]:
  """Patterns with {split} that tables' names could be of."""
  found: dict[str, None] = {}
  for path in paths:
    folder, _, name = path.rpartition("/")
    stem, dot, ending = name.partition(".")
    match = re.fullmatch(r"([A-Za-z]+)([-_.]\d[-\w]*)?", stem)
    words = match and _splits.named(match[1])
    if words:
      shard = f"{match[2][0]}*" if match[2] else ""
      before = f"{folder}/" if folder else ""
      found[f"{before}{{split}}{shard}{dot}{ending}"] = None
    elif folder and _splits.named(folder.rpartition("/")[2]):
      above = folder.rpartition("/")[0]
      before = f"{above}/" if above else ""
      found[f"{before}{{split}}/*{dot}{ending}"] = None
  return list(found)


def _expression(pattern: str) -> re.Pattern:
  """A pattern as a regular expression of whole paths."""
  end, parts = 0, []
  for match in _FIELD.finditer(pattern):
    parts.append(re.escape(pattern[end : match.start()]))
    field, folders, _ = match.groups()
    parts.append(
      f"(?P<{field}>[^/]+?)" if field else (".*" if folders else "[^/]*")
    )
    end = match.end()
  return re.compile("".join(parts) + re.escape(pattern[end:]), re.DOTALL)


def files(root: str) -> Iterator[tuple[str, tuple[int, int]]]:
  """(path, stamp) of every file that is not hidden, by path."""
  found, seen = [], set()
  for folder, folders, names in os.walk(root, followlinks=True):
    place = os.path.realpath(folder)
    if place in seen:  # a link to a folder above, or the same folder twice
      folders.clear()
      continue
    seen.add(place)
    folders[:] = [it for it in folders if it[0] != "." and it != "__MACOSX"]
    for name in names:
      if name[0] == ".":
        continue
      whole = os.path.join(folder, name)
      try:
        state = os.stat(whole)
      except OSError:  # a link to nothing
        continue
      path = os.path.relpath(whole, root).replace(os.sep, "/")
      found.append((path, (state.st_mtime_ns, state.st_size)))
  return iter(sorted(found))

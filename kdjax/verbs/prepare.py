"""Makes the files of a data set from its public source.

  kdjax prepare mnist                         downloads
  kdjax prepare fsdd --from=fsdd-master.zip   an archive, or an unpacked folder
  kdjax prepare emoji --from=noto,json,lib    several of them

Writes below --out what the configs read. The values are compared with those
that the numbers of this repository were measured with; a source of today may
differ, and the last line says so. Makers and licences that must be named are
printed, and written beside the files.
"""

import pathlib

from absl import flags

from kdjax.config import progress
from kdjax.errors import UserError


def define(values: flags.FlagValues, argv: list[str]) -> None:
  """Defines --from and --out."""
  del argv
  flags.DEFINE_list(
    "from",
    [],
    "a folder, archives or addresses; without, the public ones are fetched",
    flag_values=values,
  )
  flags.DEFINE_string(
    "out", "data", "the folder of all data sets", flag_values=values
  )


def main(values: flags.FlagValues, arguments: list[str]) -> None:
  """Prepares one data set."""
  from kdjax import prepare
  from kdjax.prepare import _sources

  known = prepare.sets()
  if len(arguments) != 1 or arguments[0] not in known:
    word = arguments[0] if arguments else ""
    raise UserError(
      f"kdjax prepare needs a data set, and '{' '.join(arguments)}' is none.",
      "For example: kdjax prepare mnist --out=data",
      exists=known,
      near=word,
    )
  module = known[arguments[0]]
  sources = values["from"].value or list(module.SOURCE)
  out = pathlib.Path(values.out)
  task = progress.waiting(f"prepare {arguments[0]}")
  with _sources.opened(sources) as folder, task:
    found = _sources.digest(module.prepare(folder, out))
  print(f"Wrote {out / arguments[0]}.")
  credit = getattr(module, "ATTRIBUTION", "")
  if credit:
    _sources.write(out / arguments[0] / "ATTRIBUTION.md", credit.encode())
    print(f"Its makers and licences, also in ATTRIBUTION.md:\n{credit}", end="")
  if module.DIGEST and found != module.DIGEST:
    print(
      f"Its content, {found}, is not that of the published set,"
      f" {module.DIGEST}: numbers may differ."
    )

"""Files of the data sets, made from their public sources.

A file of this folder is a data set: `SOURCE` has the addresses of its public
files, `prepare(source, out)` writes what `kdjax/data` reads and returns arrays
of its content, whose hash is `DIGEST` for the set that our numbers were
measured with ("" if that is not fixed). `ATTRIBUTION`, if it has one, is
printed and written beside the files: makers, licences and changes. Knows
`errors` and `preprocess`, no data set. Read `fsdd.py` first.
"""

import importlib
import pkgutil
from types import ModuleType


def sets() -> dict[str, ModuleType]:
  """name -> module of each data set that can be prepared."""
  return {
    it.name: importlib.import_module(f"{__name__}.{it.name}")
    for it in pkgutil.iter_modules(__path__)
    if not it.name.startswith("_")
  }

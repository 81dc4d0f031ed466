"""Exports a trained student: one folder with files, measurements and a card.

`formats/` has a file for each format, which writes the student as one program
(`program.py`). `runner.py` runs the files and imports nothing of kdjax: it
checks each export in a process of its own, and is what `loaded.py` calls. Read
`exporting.py` first.
"""

from kdjax.export.exporting import export
from kdjax.export.loaded import load

__all__ = ["export", "load"]

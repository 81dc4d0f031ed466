"""A trained student as an object: named inputs in, named results out.

`signature.py` says what a student takes and gives, `trained.py` reads one from
a workdir, `decoding.py` reads files as the data set does. `records.py` and
`written.py` are what `kdjax predict` reads and writes. Read `student.py` first.
"""

from kdjax.students.student import Student
from kdjax.students.trained import student

__all__ = ["Student", "student"]

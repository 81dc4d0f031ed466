"""Which layer of a teacher teaches which layer of a student."""

from kdjax.config import head, same_head
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def matched(
  output: str, student_depth: int, teacher_depth: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Addresses of every layer of the student, and of those that teach them.

  Layer i of N learns from the last of the i-th N-th of the teacher's M layers:
  (i + 1) M / N - 1, counted from 0.

  Args:
    output: what is read of a layer: block, scores, attention, query ..
    student_depth: N, which divides M.
    teacher_depth: M.
  """
  if student_depth < 1 or teacher_depth % student_depth:
    raise UserError(
      f"{student_depth} layers of a student and {teacher_depth} of a teacher.",
      "The teacher must have a whole multiple.",
    )
  every = teacher_depth // student_depth
  return (
    tuple(f"student/{output}{i:02d}" for i in range(student_depth)),
    tuple(
      f"teacher/{output}{(i + 1) * every - 1:02d}" for i in range(student_depth)
    ),
  )


def pairs(
  student: tuple[str, ...], teacher: tuple[str, ...]
) -> list[dict[str, str]]:
  """The reads of one term a layer."""
  if len(student) != len(teacher):
    raise UserError(
      f"{len(student)} layers of a student and {len(teacher)} of a teacher.",
      "Each layer of the student needs one to learn from.",
    )
  return [
    {"student": own, "teacher": other}
    for own, other in zip(student, teacher, strict=True)
  ]


def masked(reads: dict, token_mask: str | None) -> dict:
  """The same reads, and a mask of tokens where there is one."""
  return reads if token_mask is None else {**reads, "mask": token_mask}


def projected(
  project: bool, shared: str | None = None
) -> dict[str, ConfigDict]:
  """The heads of a term whose student may be of another width.

  Args:
    project: whether there is a head.
    shared: the term whose head it is, if not the term's own.
  """
  if not project:
    return {}
  return {"student": same_head(shared) if shared else head("linear")}

"""Pairs of student and teacher layers, for methods for Transformers."""

from kdjax.config import head, same_head
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def matched(
  output: str, student_depth: int, teacher_depth: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Addresses of all student layers, and of the teacher layer for each.

  Layer i of the student's N learns from layer (i + 1) M / N - 1 of the
  teacher's M, counted from 0.

  Args:
    output: the output that is read from a layer: block, scores, query ..
    student_depth: N, a divisor of M.
    teacher_depth: M.

  Raises:
    UserError: N does not divide M.
  """
  if student_depth < 1 or teacher_depth % student_depth:
    raise UserError(
      f"The student has {student_depth} layers, the teacher {teacher_depth}.",
      "Expected a teacher depth that is a multiple of the student's.",
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
  """The `reads` of one term for each layer."""
  if len(student) != len(teacher):
    raise UserError(
      f"{len(student)} student layers are paired with {len(teacher)} of the"
      " teacher.",
      "Expected as many teacher layers as student layers.",
    )
  return [
    {"student": ours, "teacher": theirs}
    for ours, theirs in zip(student, teacher, strict=True)
  ]


def masked(reads: dict, token_mask: str | None) -> dict:
  """`reads` with a token mask; None is the term's default, "" no mask."""
  return reads if token_mask is None else {**reads, "mask": token_mask}


def projected(
  project: bool, shared: str | None = None
) -> dict[str, ConfigDict]:
  """The `heads` of a term that projects the student to the teacher's width.

  Args:
    project: whether there is a head.
    shared: the term that shares its head; None is a separate head.
  """
  if not project:
    return {}
  return {"student": same_head(shared) if shared else head("linear")}

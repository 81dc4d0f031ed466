"""Instance relationship graph."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def irg(
  stage: ConfigDict,
  *,
  vertex_weight: float = 0.1,
  edge_weight: float = 5.0,
  transform_weight: float = 5.0,
  student_maps: tuple[str, str] = ("student/stage0", "student/stage1"),
  teacher_maps: tuple[str, str] = ("teacher/stage0", "teacher/stage1"),
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """The graph that the examples of a batch make, and how layers change it.

    loss = CE(student, label) + vertex_weight V + edge_weight E
           + transform_weight T

  with V the squared error of the logits, E that of the distances of all pairs,
  a mean over three layers, and T that of what every example moves from one
  layer to the next.

  Liu et al., "Knowledge Distillation via Instance Relationship Graph", CVPR
  2019. Defaults: Knowledge-Distillation-Zoo's.
  Needs: two maps and an embedding of each network, of any widths and sizes, and
  logits of the same classes.
  Costs: distances of the batch by the batch at three layers; it learns nothing.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    vertex_weight: of the logits.
    edge_weight: of the distances, a third of it for each layer.
    transform_weight: of the moves from map to map.
    student_maps: the student's two maps, addresses.
    teacher_maps: the teacher's.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the terms `irg_vertex`, `irg_edge0`, `irg_edge1`,
    `irg_edge2` and `irg_transform`.
  """
  students = (*student_maps, student_embedding)
  teachers = (*teacher_maps, teacher_embedding)
  terms = {"irg_vertex": term("mse", weight=vertex_weight)}
  for place, (ours, theirs) in enumerate(zip(students, teachers, strict=True)):
    terms[f"irg_edge{place}"] = term(
      "irg_edge",
      weight=edge_weight / len(students),
      reads={"student": ours, "teacher": theirs},
    )
  terms["irg_transform"] = term(
    "irg_transform",
    weight=transform_weight,
    reads={"student": tuple(student_maps), "teacher": tuple(teacher_maps)},
  )
  return [extended(stage, terms)]

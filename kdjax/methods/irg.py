"""IRG: instance relationship graph."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def irg(
  stage: ConfigDict,
  *,
  vertex_weight: float = 0.1,
  edge_weight: float = 5.0,
  transform_weight: float = 5.0,
  student_maps: tuple[str, str] = (
    "student/stage0|middle",
    "student/stage1|last",
  ),
  teacher_maps: tuple[str, str] = (
    "teacher/stage0|middle",
    "teacher/stage1|last",
  ),
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """IRG: match the distances between a batch's examples, across layers.

    loss = CE(student, label) + vertex_weight V + edge_weight E
           + transform_weight T

  with V the squared error of logits, E that of the distances of all pairs,
  a mean over three layers, and T that of each example's displacement from one
  layer to the next.

  Liu et al., "Knowledge Distillation via Instance Relationship Graph", CVPR
  2019. Defaults: Knowledge-Distillation-Zoo's.
  Needs: two maps and an embedding of each network, of any widths and sizes, and
  student and teacher with the same classes.
  Costs: a matrix of batch by batch for each of three layers; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    vertex_weight: weight of V.
    edge_weight: weight of E; each layer has a third.
    transform_weight: weight of T.
    student_maps: addresses of the student's two maps.
    teacher_maps: addresses of the teacher's maps.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the terms `irg_vertex`, `irg_edge0`, `irg_edge1`,
    `irg_edge2` and `irg_transform`.
  """
  students = (*student_maps, student_embedding)
  teachers = (*teacher_maps, teacher_embedding)
  terms = {"irg_vertex": term("mse", weight=vertex_weight)}
  for layer, (ours, theirs) in enumerate(zip(students, teachers, strict=True)):
    terms[f"irg_edge{layer}"] = term(
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

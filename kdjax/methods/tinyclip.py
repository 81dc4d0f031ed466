"""TinyCLIP: image-text affinities as soft labels."""

from kdjax.config import term
from kdjax.config.fields import ConfigDict
from kdjax.methods._towers import (
  TARGETS,
  both_networks,
  of_towers,
  one_network,
)


def tinyclip(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  task: float = 0.0,
  labels: float = 0.0,
  student_image: str = "student/image/embedding|tower",
  student_text: str = "student/text/embedding|tower",
  student_scale: str = "student/scale|tower",
  teacher_image: str = "teacher/image/embedding|tower",
  teacher_text: str = "teacher/text/embedding|tower",
  teacher_scale: str = "teacher/scale|tower",
) -> list[ConfigDict]:
  """TinyCLIP: match the teacher's affinities of images and texts.

    loss = weight [CE(rows) + CE(columns)] / 2 [+ task CLIP + labels CE]

  Wu et al., "TinyCLIP: CLIP Distillation via Affinity Mimicking and Weight
  Inheritance", ICCV 2023, arXiv:2309.12314. Defaults: affinities alone, with
  the authors' weight; their student's scale starts at 50, which is
  `temperature=0.02` of a `two_tower`.
  Differs from the authors' code: the student does not inherit the teacher's
  weights; set its `init_from` for that.
  Needs: a two-tower student and teacher; widths may differ.
  Costs: the loss uses the batch of all devices; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the affinities.
    task: weight of CLIP's loss of the student.
    labels: weight of cross-entropy, if the student has logits.
    student_image: address of the student's image embedding.
    student_text: address of its text embedding.
    student_scale: address of the factor of its cosines.
    teacher_image: address of the teacher's image embedding.
    teacher_text: address of its text embedding.
    teacher_scale: address of the factor of its cosines.

  Returns:
    One stage: `stage` with the term `affinity` and, unless `task` is 0, `clip`.
  """
  student = (student_image, student_text, student_scale)
  teacher = (teacher_image, teacher_text, teacher_scale)
  terms = {
    "affinity": term(
      "clip_soft",
      weight=weight,
      reads=both_networks(student, teacher),
      targets=TARGETS,
      group="kd",
    )
  }
  if task:
    terms["clip"] = term("clip", weight=task, reads=one_network(student))
  return of_towers(stage, terms, labels)

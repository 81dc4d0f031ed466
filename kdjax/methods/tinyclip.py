"""TinyCLIP: affinities of two towers as soft labels."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict


def tinyclip(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  task: float = 0.0,
  labels: float = 0.0,
  student_image: str = "student/image/embedding",
  student_text: str = "student/text/embedding",
  student_scale: str = "student/scale",
  teacher_image: str = "teacher/image/embedding",
  teacher_text: str = "teacher/text/embedding",
  teacher_scale: str = "teacher/scale",
) -> list[ConfigDict]:
  """The teacher's affinities of images and texts, mimicked.

    loss = weight [CE(rows) + CE(columns)] / 2 [+ task CLIP + labels CE]

  Wu et al., "TinyCLIP: CLIP Distillation via Affinity Mimicking and Weight
  Inheritance", ICCV 2023, arXiv:2309.12314. Defaults: affinities alone, with
  the authors' weight; their student's scale starts at 50, which is
  `temperature=0.02` of a `two_tower`.
  Differs from the authors' code: weights are not inherited; a student that is
  cut out of its teacher is an `init_from` of its own.
  Needs: student and teacher of two towers, of any widths.
  Costs: the loss sees the batch of all devices.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the affinities.
    task: weight of the student's own contrast.
    labels: weight of the labels, where the student has logits.
    student_image: address of an embedding.
    student_text: likewise.
    student_scale: address of what multiplies its cosines.
    teacher_image: address of an embedding.
    teacher_text: likewise.
    teacher_scale: address of what multiplies its cosines.

  Returns:
    One stage: this one, with the terms `affinity` and, if asked for, `clip`.
  """
  terms = {
    "affinity": term(
      "clip_soft",
      weight=weight,
      reads={
        "student": (student_image, student_text),
        "teacher": (teacher_image, teacher_text),
        "student_scale": student_scale,
        "teacher_scale": teacher_scale,
      },
      targets=("teacher", "teacher_scale"),
      group="kd",
    )
  }
  if task:
    reads = {
      "image": student_image,
      "text": student_text,
      "scale": student_scale,
    }
    terms["clip"] = term("clip", weight=task, reads=reads)
  made = extended(stage, terms, labels=labels)
  # Towers need not have logits.
  if not labels and "cross_entropy" not in stage.terms:
    del made.terms.cross_entropy
  return [made]

"""SemCKD: cross-layer distillation with semantic calibration."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def semckd(
  stage: ConfigDict,
  *,
  weight: float = 400.0,
  logits: float = 1.0,
  temperature: float = 4.0,
  student_maps: tuple = ("student/stage0|middle", "student/stage1|last"),
  teacher_maps: tuple = ("teacher/stage0|middle", "teacher/stage1|last"),
) -> list[ConfigDict]:
  """SemCKD: each student layer learns from all teacher layers, by attention.

    loss = CE(student, label) + logits T^2 KL(teacher || student)
           + weight 1/M sum_mn a_mn MSE(projected_mn, teacher_n)

  over the M student layers m and all teacher layers n, with sum_n a_mn = 1.

  Chen et al., "Cross-Layer Distillation with Semantic Calibration", AAAI 2021,
  arXiv:2012.03236. Defaults: the authors'.
  Needs: maps of both networks, of any number and size; a batch no larger than
  the `batch_size` that the stage has when the method is applied.
  Costs: for each pair of layers convolutions of size 1, 3 and 1 with BatchNorm,
  for each layer a matrix of batch by batch and an MLP on it.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the feature term.
    logits: weight of KD.
    temperature: T, for student and teacher.
    student_maps: addresses of the student's maps.
    teacher_maps: addresses of the teacher's maps.

  Returns:
    One stage: `stage` with the terms `semckd` and `kd`.
  """
  students, teachers = tuple(student_maps), tuple(teacher_maps)
  terms = {
    "kd": term("kd", weight=logits, temperature=temperature),
    "semckd": term(
      "semckd",
      weight=weight,
      layers=len(students),
      reads={
        "student": students,
        "teacher": teachers,
        "weights": (*students, *teachers),
      },
      heads={
        "student": head("semckd"),
        "weights": head(
          "semckd_weights",
          students=len(students),
          batch_size=int(stage.batch_size),
        ),
      },
    ),
  }
  return [extended(stage, terms)]

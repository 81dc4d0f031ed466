"""OFD: a comprehensive overhaul of feature distillation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def ofd(
  stage: ConfigDict,
  *,
  weight: float = 1e-3,
  student_preacts: tuple = ("student/preact0|middle", "student/preact1|last"),
  teacher_preacts: tuple = ("teacher/preact0|middle", "teacher/preact1|last"),
  teacher_norms: tuple = (
    "teacher/params/norm0|middle",
    "teacher/params/norm1|last",
  ),
) -> list[ConfigDict]:
  """OFD: match pre-ReLU maps with a partial distance and channel margins.

    loss = CE(student, label) + weight sum_i 1/2^(n-1-i) OFD_i

  over n maps, shallow to deep; OFD_i is the sum over C, H and W of the partial
  distance to the teacher's response, clipped below at the channel's margin.

  Heo et al., "A Comprehensive Overhaul of Feature Distillation", ICCV 2019,
  arXiv:1904.01866. Defaults: the authors' for CIFAR-100; they have 1e-4 for
  ImageNet and 1e-5 for detection and segmentation.
  Needs: pre-ReLU maps of both networks, and the teacher's BatchNorm layers
  before them, for the margins.
  Costs: a convolution of size 1 with BatchNorm on each map.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the deepest map; each shallower map has half of it.
    student_preacts: addresses of the student's maps, shallow to deep.
    teacher_preacts: addresses of the teacher's, as many.
    teacher_norms: addresses of the parameters of their BatchNorms.

  Returns:
    One stage: `stage` with the terms `ofd0`, `ofd1`, ...
  """
  counts = [len(student_preacts), len(teacher_preacts), len(teacher_norms)]
  if len(set(counts)) > 1:
    raise UserError(
      "There are {} student maps, {} teacher maps and {} teacher norms.".format(
        *counts
      ),
      "Expected equal numbers.",
    )
  terms = {}
  for i, norm in enumerate(teacher_norms):
    terms[f"ofd{i}"] = term(
      "ofd",
      weight=weight / 2 ** (len(teacher_norms) - 1 - i),
      reads={
        "student": student_preacts[i],
        "teacher": teacher_preacts[i],
        "margin": (f"{norm}/scale", f"{norm}/bias"),
      },
      heads={
        "student": head("connector"),
        "teacher": head("pool"),
        "margin": head("ofd_margin"),
      },
      targets=("teacher", "margin"),
    )
  return [extended(stage, terms)]

"""Matryoshka: embeddings of two towers that may be cut after training."""

from kdjax.config import term
from kdjax.config.fields import ConfigDict
from kdjax.methods._towers import (
  TARGETS,
  both_networks,
  of_towers,
  one_network,
)


def matryoshka(
  stage: ConfigDict,
  *,
  task: float = 1.0,
  weight: float = 1.0,
  labels: float = 0.0,
  prefixes: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512, 1024, 2048),
  student_image: str = "student/image/embedding|tower",
  student_text: str = "student/text/embedding|tower",
  student_scale: str = "student/scale|tower",
  teacher_image: str = "teacher/image/embedding|tower",
  teacher_text: str = "teacher/text/embedding|tower",
  teacher_scale: str = "teacher/scale|tower",
) -> list[ConfigDict]:
  """Matryoshka: every prefix of the student's embedding retrieves by itself.

    loss = sum_m [task CLIP(image_:m, text_:m)
                  + weight KL(teacher's similarities || those of the first m)]
           [+ labels CE]

  over the prefixes m, so that a store may keep fewer values of an embedding.

  Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022,
  arXiv:2205.13147, with equal weights of the prefixes. The divergence is
  `clip_kd`'s (Yang et al., CVPR 2024, arXiv:2307.12732), whose teacher may have
  any width. Defaults: weight 1 and the paper's prefixes; those beyond the
  student's width are the whole embedding, once.
  Needs: a two-tower student and teacher; widths may differ. The metric is
  `metric("retrieval", reads={..}, prefixes=(8, 16))`.
  Costs: products of all pairs for each prefix; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    task: weight of CLIP's loss of the student.
    weight: weight of the divergence from the teacher's similarities.
    labels: weight of cross-entropy, if the student has logits.
    prefixes: numbers of first values of the student's embeddings.
    student_image: address of the student's image embedding.
    student_text: address of its text embedding.
    student_scale: address of the factor of its cosines.
    teacher_image: address of the teacher's image embedding.
    teacher_text: address of its text embedding.
    teacher_scale: address of the factor of its cosines.

  Returns:
    One stage: `stage` with the terms `matryoshka` and `matryoshka_kd`.
  """
  student = (student_image, student_text, student_scale)
  teacher = (teacher_image, teacher_text, teacher_scale)
  terms = {
    "matryoshka": term(
      "clip",
      weight=task,
      reads=one_network(student),
      prefixes=prefixes,
    ),
    "matryoshka_kd": term(
      "clip_ckd",
      weight=weight,
      reads=both_networks(student, teacher),
      targets=TARGETS,
      prefixes=prefixes,
    ),
  }
  return of_towers(stage, terms, labels)

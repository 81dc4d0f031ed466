"""PKD: patient distillation of [CLS] states of several layers."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _layers


def pkd(
  stage: ConfigDict,
  *,
  weight: float = 100.0,
  labels: float = 0.5,
  kd: float = 0.5,
  temperature: float = 10.0,
  depths: tuple | None = None,
  student_hidden: tuple = ("student/block00|middle", "student/block01|last"),
  teacher_hidden: tuple = ("teacher/block01|middle", "teacher/block03|last"),
  project: bool = True,
) -> list[ConfigDict]:
  """PKD: match normalised [CLS] states layer by layer, KD, and labels.

    loss = labels CE + kd T^2 KL
         + weight/N sum_layers |u(student) - u(teacher)|^2 / D

  with u the normalised hidden state of the first token, and N layers.

  Sun et al., "Patient Knowledge Distillation for BERT Model Compression", EMNLP
  2019, arXiv:1908.09355, Eq. (4) to (7).
  Defaults: the middle of the paper's search ranges; its code averages over
  layers and width. Layers: its "skip", every M/N-th of the teacher.
  Needs: two Transformers that pool the first token (`pooling="cls"` of the
  network 'patch_transformer'). The paper has equal widths (`project=False`).
  Costs: a linear head for each layer.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the [CLS] terms.
    labels: weight of cross-entropy with labels.
    kd: weight of KD.
    temperature: T, for student and teacher.
    depths: numbers of blocks of student and teacher, (N, M): layer i learns
      from layer (i + 1) M / N - 1, and the next two options are not used.
    student_hidden: addresses of the student's hidden states.
    teacher_hidden: addresses of the teacher's, as many.
    project: whether each student layer has a linear head.

  Returns:
    One stage: `stage` with the terms `pkd0`, `pkd1`, ... and `pkd_kd`.
  """
  if depths is not None:
    student_hidden, teacher_hidden = _layers.matched("block", *depths)
  layers = _layers.pairs(student_hidden, teacher_hidden)
  terms = {
    f"pkd{i}": term(
      "pkd",
      weight=weight / len(layers),
      reads=reads,
      heads=_layers.projected(project),
      reduction="mean",
    )
    for i, reads in enumerate(layers)
  }
  terms["pkd_kd"] = term("kd", weight=kd, temperature=temperature, group="kd")
  return [extended(stage, terms, labels=labels)]

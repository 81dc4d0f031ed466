"""Patient distillation: the first token's states of several layers."""

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
  student_hidden: tuple = ("student/block00", "student/block01"),
  teacher_hidden: tuple = ("teacher/block01", "teacher/block03"),
  project: bool = True,
) -> list[ConfigDict]:
  """Directions of [CLS] layer by layer, softened classes, and labels.

    loss = labels CE + kd T^2 KL
         + weight/N sum_layers |u(student) - u(teacher)|^2 / D

  with u the direction of the first token's hidden state, and N layers.

  Sun et al., "Patient Knowledge Distillation for BERT Model Compression", EMNLP
  2019, arXiv:1908.09355, Eq. (4) to (7).
  Defaults: the middle of what the paper searches; its code takes the mean over
  layers and width. Which layers: its "skip", every M/N-th of the teacher.
  Needs: two Transformers whose first token stands for the whole
  (`pooling="cls"` of the network 'patch_transformer'). The paper's are equally
  wide: `project=False`; a linear head adapts others.
  Costs: next to nothing, and a linear head a layer.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the directions.
    labels: of cross-entropy with labels.
    kd: of the softened classes.
    temperature: T; of both.
    depths: blocks of the student and of the teacher, (N, M): then layer i
      learns from layer (i + 1) M / N - 1, and the layers below are not used.
    student_hidden: hidden states of the layers that learn.
    teacher_hidden: of the layers that they learn from.
    project: whether a linear head stands on each layer of the student.

  Returns:
    One stage.
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

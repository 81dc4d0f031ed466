"""Distillation at every token of a sequence."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _layers


def token_kd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  labels: float = 0.8,
  temperature: float = 2.0,
  student_logits: str = "student/logits",
  teacher_logits: str = "teacher/logits",
  token_mask: str | None = None,
) -> list[ConfigDict]:
  """Softened classes of every token, averaged over all tokens of a batch.

    loss = labels CE + weight T^2 / N sum_it KL(teacher_it || student_it)

  over the N tokens t of all examples i that the mask leaves.

  Gandhi, von Platen and Rush, "Distil-Whisper: Robust Knowledge Distillation
  via Large-Scale Pseudo Labelling", 2023, arXiv:2311.00430, Eq. (6).
  Defaults: of the authors' code.
  Needs: logits of every token [B T K] of both, and the stage's own
  cross-entropy of what its labels are of. Logits of whole examples do too: then
  it is 'kd'.
  Costs: next to nothing; with a large vocabulary, memory for two more logits.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the softened classes.
    labels: of cross-entropy with labels.
    temperature: T; of both.
    student_logits: of every token.
    teacher_logits: the same.
    token_mask: where tokens are no padding; None is everywhere.

  Returns:
    One stage.
  """
  reads = {"student": student_logits, "teacher": teacher_logits}
  softened = term(
    "kd",
    weight=weight,
    temperature=temperature,
    reads=_layers.masked(reads, token_mask),
    group="kd",
  )
  return [extended(stage, {"token_kd": softened}, labels=labels)]

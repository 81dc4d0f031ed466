"""KD at each token of a sequence."""

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
  """KD per token, averaged over all tokens of a batch.

    loss = labels CE + weight T^2 / N sum_it KL(teacher_it || student_it)

  over the N unmasked tokens t of all examples i.

  Gandhi, von Platen and Rush, "Distil-Whisper: Robust Knowledge Distillation
  via Large-Scale Pseudo Labelling", 2023, arXiv:2311.00430, Eq. (6).
  Defaults: those of the authors' code.
  Needs: logits [B T K] of both networks, and a cross-entropy in the stage that
  fits its labels. With logits [B K] it equals `kd`.
  Costs: the teacher's forward pass; for a large vocabulary, memory for two more
  logit arrays.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of KD.
    labels: weight of cross-entropy with labels.
    temperature: T, for student and teacher.
    student_logits: address of the student's logits.
    teacher_logits: address of the teacher's.
    token_mask: address of a mask, False at padding; None is that of the
      modality of the tokens, "" no mask.

  Returns:
    One stage: `stage` with the term `token_kd`.
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

"""Sequence-level KD: the student learns the texts that the teacher writes."""

from kdjax.config import extended, generated, term
from kdjax.config.fields import ConfigDict

# The view in which the text is the teacher's.
VIEW = "written"


def sequence_kd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  labels: float = 0.0,
  teacher_writes: str = "teacher/beam",
  modality: str = "text",
) -> list[ConfigDict]:
  """Seq-KD: cross-entropy with the text that the teacher's beam search finds.

    loss = labels CE(student, text) - weight log p_student(y | x)

  with y the text of the highest probability of the teacher in its beam, and
  both averaged over tokens, the end included.

  Kim and Rush, "Sequence-Level Knowledge Distillation", EMNLP 2016,
  arXiv:1606.07947, Section 3.2. Defaults: the paper's Seq-KD, without the texts
  of the data. Differs from it: a mean over the tokens of a batch, not over its
  texts.
  Needs: networks that write texts (`encoder_decoder`), and a cross-entropy in
  the stage that reads the data's texts.
  Costs: the teacher's beam search, once for each example where the teacher is
  cached (`teacher(.., cache="auto")`); a second pass of the student if `labels`
  is not 0.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the teacher's texts.
    labels: weight of cross-entropy with the texts of the data.
    teacher_writes: address of the ids that the teacher writes.
    modality: the text that they replace.

  Returns:
    One stage: `stage` with the term `sequence_kd`, and the view "written".
  """
  reads = {
    "student": f"student@{VIEW}/logits",
    "label": f"batch/{modality}@{VIEW}",
  }
  found = term("cross_entropy", weight=weight, reads=reads, group="kd")
  written = {**stage.generated, VIEW: generated(modality, teacher_writes)}
  terms = {"sequence_kd": found}
  return [extended(stage, terms, labels=labels, generated=written)]

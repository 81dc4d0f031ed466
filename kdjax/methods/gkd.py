"""GKD: on-policy distillation, on texts that the student writes."""

from kdjax.config import extended, generated, term
from kdjax.config.fields import ConfigDict

# The view in which the text is the student's.
VIEW = "sample"


def gkd(
  stage: ConfigDict,
  *,
  share: float = 0.5,
  teacher_share: float = 0.5,
  weight: float = 1.0,
  labels: float = 0.0,
  student_writes: str = "student/sampled",
  modality: str = "text",
) -> list[ConfigDict]:
  """GKD: match the teacher at each token of texts that the student samples.

    loss = labels CE(student, text)
           + weight JSD(teacher(. | y, x) || student(. | y, x))

  averaged over tokens. The text y is sampled by the student in this step with
  probability `share`, and is that of the data otherwise; no gradient passes
  through the sampling. The divergence is the loss `jsd`.

  Agarwal et al., "On-Policy Distillation of Language Models: Learning from
  Self-Generated Mistakes", ICLR 2024, arXiv:2306.13649, Algorithm 1. Defaults:
  those of TRL's trainer, with both shares 0.5. Differs from it: each example
  draws whether its text is the student's, not each batch.
  Needs: networks that write texts (`encoder_decoder`), of the same vocabulary,
  and a cross-entropy in the stage that reads the data's texts.
  Costs: sampling a text, and a forward pass of student and teacher on it, in
  every step; the teacher cannot be cached.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    share: lambda, the share of texts that the student writes, in (0, 1].
    teacher_share: the teacher's share in the mixture of the divergence; near 0
      it is the forward, near 1 the reverse Kullback-Leibler divergence.
    weight: weight of the divergence.
    labels: weight of cross-entropy with the texts of the data.
    student_writes: address of the ids that the student writes.
    modality: the text that they replace.

  Returns:
    One stage: `stage` with the term `gkd`, and the view "sample".
  """
  reads = {
    "student": f"student@{VIEW}/logits",
    "teacher": f"teacher@{VIEW}/logits",
  }
  divergence = term("jsd", weight=weight, share=teacher_share, reads=reads)
  made = generated(modality, student_writes, share=share)
  written = {**stage.generated, VIEW: made}
  return [
    extended(stage, {"gkd": divergence}, labels=labels, generated=written)
  ]

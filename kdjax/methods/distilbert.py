"""DistilBERT: KD, labels and a cosine of hidden states."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _layers


def distilbert(
  stage: ConfigDict,
  *,
  weight: float = 5.0,
  labels: float = 2.0,
  cosine: float = 1.0,
  temperature: float = 2.0,
  student_hidden: tuple = ("student/block00|middle", "student/block01|last"),
  teacher_hidden: tuple = ("teacher/block01|middle", "teacher/block03|last"),
  token_mask: str | None = None,
  project: bool = True,
) -> list[ConfigDict]:
  """DistilBERT: KD, the task loss and a cosine of hidden states.

    loss = labels CE + weight T^2 KL + cosine (1 - cos(student, teacher))

  with the cosine of the last layer's hidden states, at each token.

  Sanh et al., "DistilBERT, a distilled version of BERT: smaller, faster,
  cheaper and lighter", NeurIPS EMC2 Workshop 2019, arXiv:1910.01108, Section 3.
  Defaults: those of the authors' training command. Their task is masked
  language modelling; here it is the stage's cross-entropy.
  Needs: two Transformers with equal numbers of tokens. The paper's have equal
  widths (`project=False`), and its student is initialised from every other
  layer of the teacher, which is not part of this method.
  Costs: a linear head.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of KD.
    labels: weight of cross-entropy with labels.
    cosine: weight of the cosine term.
    temperature: T, for student and teacher.
    student_hidden: addresses of hidden states; the last one is matched.
    teacher_hidden: the teacher's.
    token_mask: address of a mask, False at padding; None is that of the
      modality of the tokens, "" no mask.
    project: whether the student's hidden state passes through a linear head.

  Returns:
    One stage: `stage` with the terms `distilbert_kd` and `distilbert_cosine`.
  """
  reads = {"student": student_hidden[-1], "teacher": teacher_hidden[-1]}
  terms = {
    "distilbert_kd": term(
      "kd", weight=weight, temperature=temperature, group="kd"
    ),
    "distilbert_cosine": term(
      "cosine",
      weight=cosine,
      reads=_layers.masked(reads, token_mask),
      heads=_layers.projected(project),
    ),
  }
  return [extended(stage, terms, labels=labels)]

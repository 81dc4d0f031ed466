"""Match hidden states of several Transformer layers."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError
from kdjax.methods import _layers


def hidden_states(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  labels: float = 1.0,
  distance: str = "mse",
  depths: tuple | None = None,
  student_hidden: tuple = ("student/block00|middle", "student/block01|last"),
  teacher_hidden: tuple = ("teacher/block01|middle", "teacher/block03|last"),
  token_mask: str | None = None,
  project: bool = True,
) -> list[ConfigDict]:
  """Match hidden states layer by layer, after a linear projection.

    loss = labels CE + weight/N sum_layers mean_tokens d(W student, teacher)

  with d the mean square over the width, or 1 - cosine, and N layers.

  Goddard et al., "DistillKit", Arcee AI 2024, its `hs_mse` and `hs_cosine`;
  after Jiao et al., "TinyBERT", arXiv:1909.10351, Eq. (8).
  Defaults: those of DistillKit, which averages over layers and tokens.
  Needs: two Transformers with equal numbers of tokens; different widths need
  `project`.
  Costs: a linear head for each layer.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the mean over layers.
    labels: weight of cross-entropy with labels.
    distance: "mse" or "cosine".
    depths: numbers of blocks of student and teacher, (N, M): layer i learns
      from layer (i + 1) M / N - 1, and the next two options are not used.
    student_hidden: addresses of the student's hidden states.
    teacher_hidden: addresses of the teacher's, as many.
    token_mask: address of a mask, False at padding; None is that of the
      modality of the tokens, "" no mask.
    project: whether each student layer has a linear head.

  Returns:
    One stage: `stage` with the terms `hidden_states0`, `hidden_states1`, ...
  """
  losses = {"mse": "hidden_mse", "cosine": "cosine"}
  if distance not in losses:
    raise UserError(f"No distance '{distance}'.", exists=losses, near=distance)
  if depths is not None:
    student_hidden, teacher_hidden = _layers.matched("block", *depths)
  layers = _layers.pairs(student_hidden, teacher_hidden)
  terms = {
    f"hidden_states{i}": term(
      losses[distance],
      weight=weight / len(layers),
      reads=_layers.masked(reads, token_mask),
      heads=_layers.projected(project),
    )
    for i, reads in enumerate(layers)
  }
  return [extended(stage, terms, labels=labels)]

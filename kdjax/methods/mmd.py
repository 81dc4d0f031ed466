"""Match token similarities of several Transformer layers."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _layers


def mmd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  labels: float = 1.0,
  student_hidden: tuple = ("student/block00|middle", "student/block01|last"),
  teacher_hidden: tuple = ("teacher/block01|middle", "teacher/block03|last"),
  token_mask: str | None = None,
) -> list[ConfigDict]:
  """Match the similarities between the tokens of a layer.

    loss = labels CE + weight sum_layers |S S' / D_s - T T' / D_t|^2 / tokens^2

  After Huang and Wang, "Like What You Like: Knowledge Distill via Neuron
  Selectivity Transfer", 2017, arXiv:1707.01219, in the form for Transformers of
  Yang et al., "TextBrewer", ACL 2020 demo, arXiv:2002.12620.
  Defaults: TextBrewer's, a weight of 1 for each pair of layers.
  Needs: two Transformers with equal numbers of tokens; widths may differ.
  Costs: a matrix of tokens by tokens for each layer; no parameters.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of each layer.
    labels: weight of cross-entropy with labels.
    student_hidden: addresses of the student's hidden states.
    teacher_hidden: addresses of the teacher's, as many.
    token_mask: address of a mask, False at padding; None is that of the
      modality of the tokens, "" no mask.

  Returns:
    One stage: `stage` with the terms `mmd0`, `mmd1`, ...
  """
  terms = {}
  for i, pair in enumerate(_layers.pairs(student_hidden, teacher_hidden)):
    # A layer with itself; the loss can also relate two layers.
    reads = {side: (layer, layer) for side, layer in pair.items()}
    reads = _layers.masked(reads, token_mask)
    terms[f"mmd{i}"] = term("mmd", weight=weight, reads=reads)
  return [extended(stage, terms, labels=labels)]

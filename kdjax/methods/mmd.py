"""Similarities of tokens in matched layers."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _layers


def mmd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  labels: float = 1.0,
  student_hidden: tuple = ("student/block00", "student/block01"),
  teacher_hidden: tuple = ("teacher/block01", "teacher/block03"),
  token_mask: str | None = None,
) -> list[ConfigDict]:
  """Which tokens of a layer are alike, as the teacher's layer says it.

    loss = labels CE + weight sum_layers |S S' / D_s - T T' / D_t|^2 / tokens^2

  After Huang and Wang, "Like What You Like: Knowledge Distill via Neuron
  Selectivity Transfer", 2017, arXiv:1707.01219, as Yang et al., "TextBrewer",
  ACL 2020 demo, arXiv:2002.12620, have it for Transformers.
  Defaults: TextBrewer's, a weight of 1 for every pair of layers.
  Needs: two Transformers with as many tokens, of any widths.
  Costs: the square of the tokens a layer; nothing to learn.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of each layer.
    labels: of cross-entropy with labels.
    student_hidden: hidden states of the layers that learn.
    teacher_hidden: of the layers that they learn from.
    token_mask: where tokens are no padding; None is everywhere.

  Returns:
    One stage: this one, with a term `mmd0`, `mmd1` .. for each layer.
  """
  terms = {}
  for i, pair in enumerate(_layers.pairs(student_hidden, teacher_hidden)):
    # Each layer with itself; the loss can also relate two.
    reads = {side: (layer, layer) for side, layer in pair.items()}
    reads = _layers.masked(reads, token_mask)
    terms[f"mmd{i}"] = term("mmd", weight=weight, reads=reads)
  return [extended(stage, terms, labels=labels)]

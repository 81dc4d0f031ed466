"""TinyBERT: attention and hidden states of every layer, then the classes."""

from kdjax.config import earlier, extended, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _layers


def tinybert(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  labels: float = 0.0,
  temperature: float = 1.0,
  share: float = 1.0,
  floor: float | None = -100.0,
  depths: tuple | None = None,
  student_scores: tuple = ("student/scores00", "student/scores01"),
  teacher_scores: tuple = ("teacher/scores01", "teacher/scores03"),
  student_hidden: tuple = ("student/block00", "student/block01"),
  teacher_hidden: tuple = ("teacher/block01", "teacher/block03"),
  student_embedded: str | None = "student/embedded",
  teacher_embedded: str | None = "teacher/embedded",
  token_mask: str | None = None,
) -> list[ConfigDict]:
  """Layer by layer first, then the teacher's classes.

    loss = sum_layers MSE(scores) + sum_layers MSE(W hidden, hidden)
         + MSE(W' embedded, embedded),                            first
    loss = labels CE + weight softCE_T(student, teacher) / K,     then

  Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding",
  Findings of EMNLP 2020, arXiv:1909.10351, Eq. (7) to (11).
  Defaults: the paper's; the mean over classes is its code's, which shares one W
  among all layers, as the paper does.
  Needs: two Transformers with as many heads, tokens and classes; any widths.
  Costs: a second stage of `share` of the steps, and attention maps unfused.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the softened classes, in the last stage.
    labels: of cross-entropy with labels, in the last stage.
    temperature: T; of both.
    share: how long the first stage is, as a share of the given one's steps,
      which are taken when the method is applied; a later flag does not reach
      it.
    floor: scores at or below it count as 0; None is no floor.
    depths: blocks of the student and of the teacher, (N, M): then layer i
      learns from layer (i + 1) M / N - 1, and the four options below, which
      name layers by hand, are not used.
    student_scores: attention before its softmax, of the layers that learn.
    teacher_scores: of the layers that they learn from.
    student_hidden: hidden states of the layers that learn.
    teacher_hidden: of the layers that they learn from.
    student_embedded: what enters the student's first block; None leaves it.
    teacher_embedded: what enters the teacher's.
    token_mask: where tokens are no padding; None averages over all, as the
      paper's code does.

  Returns:
    Two stages: the layers', and the classes' that starts from it.
  """
  if depths is not None:
    student_scores, teacher_scores = _layers.matched("scores", *depths)
    student_hidden, teacher_hidden = _layers.matched("block", *depths)
  masked = lambda reads: _layers.masked(reads, token_mask)
  terms = {}
  for i, reads in enumerate(_layers.pairs(student_scores, teacher_scores)):
    name = f"tinybert_scores{i}"
    terms[name] = term("attention_mse", reads=masked(reads), floor=floor)
  first = None
  for i, reads in enumerate(_layers.pairs(student_hidden, teacher_hidden)):
    name = f"tinybert_hidden{i}"
    heads = _layers.projected(True, shared=first)
    terms[name] = term("hidden_mse", reads=masked(reads), heads=heads)
    first = first or name
  if student_embedded is not None and teacher_embedded is not None:
    reads = masked({"student": student_embedded, "teacher": teacher_embedded})
    heads = _layers.projected(True)
    terms["tinybert_embedded"] = term("hidden_mse", reads=reads, heads=heads)
  # Measured at its end alone: by accuracy, which it never trains, its best
  # step would be any.
  steps = max(int(stage.steps * share), 1)
  layers = extended(stage, terms, labels=0.0, steps=steps, eval_every=0)
  classes = term(
    "soft_cross_entropy",
    weight=weight,
    default_temperature=temperature,
    reduction="mean",
  )
  last = extended(stage, {"tinybert": classes}, labels=labels)
  last.networks.student.init_from = earlier(0)
  return [layers, last]

"""TinyBERT: attention and hidden states of all layers, then logits."""

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
  student_scores: tuple = ("student/scores00|middle", "student/scores01|last"),
  teacher_scores: tuple = ("teacher/scores01|middle", "teacher/scores03|last"),
  student_hidden: tuple = ("student/block00|middle", "student/block01|last"),
  teacher_hidden: tuple = ("teacher/block01|middle", "teacher/block03|last"),
  student_embedded: str | None = "student/embedded|first",
  teacher_embedded: str | None = "teacher/embedded|first",
  token_mask: str | None = None,
) -> list[ConfigDict]:
  """TinyBERT: match layers in a first stage, then softened classes.

    loss = sum_layers MSE(scores) + sum_layers MSE(W hidden, hidden)
         + MSE(W' embedded, embedded),                            first
    loss = labels CE + weight softCE_T(student, teacher) / K,     then

  Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding",
  Findings of EMNLP 2020, arXiv:1909.10351, Eq. (7) to (11).
  Defaults: the paper's; the mean over classes is its code's. All layers share
  one W, as in paper and code.
  Needs: two Transformers with equal numbers of heads, tokens and classes;
  widths may differ.
  Costs: a first stage of `share` of the steps, and unfused attention.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the softened classes, in the last stage.
    labels: weight of cross-entropy, in the last stage.
    temperature: T, for student and teacher.
    share: steps of the first stage, as a fraction of the steps that `stage` has
      when the method is applied; a later flag for `steps` does not change it.
    floor: scores at or below it count as 0; None is no floor.
    depths: numbers of blocks of student and teacher, (N, M): layer i learns
      from layer (i + 1) M / N - 1, and the next four options are not used.
    student_scores: addresses of the student's attention before its softmax.
    teacher_scores: addresses of the teacher's, as many.
    student_hidden: addresses of the student's hidden states.
    teacher_hidden: addresses of the teacher's, as many.
    student_embedded: address of the input of the student's first block; None
      omits it.
    teacher_embedded: address of the teacher's.
    token_mask: address of a mask, False at padding; None is that of the
      modality of the tokens, "" averages over all tokens, as the paper's code
      does.

  Returns:
    Two stages: one for the layers, and one for the classes that starts from it.
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
  # Evaluated only at its end: it does not train the accuracy, which cannot
  # select a best step.
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

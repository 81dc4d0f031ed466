"""DOT: KD with separate momenta for labels and distillation."""

from kdjax.config import extended, term
from kdjax.config.fields import ConfigDict, own


def dot(
  stage: ConfigDict,
  *,
  temperature: float = 4.0,
  weight: float = 0.9,
  delta: float = 0.075,
  learning_rate: float | None = 0.05,
  weight_decay: float | None = 5e-4,
) -> list[ConfigDict]:
  """DOT: KD with a larger momentum for its gradient than for the labels'.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || student)
    v_task = (m - delta) v_task + gradient of cross-entropy + decay
    v_kd = (m + delta) v_kd + gradient of the KD term
    parameters -= learning_rate (v_task + v_kd)

  Zhao et al., "DOT: A Distillation-Oriented Trainer", ICCV 2023,
  arXiv:2307.08436. Defaults: the authors' for CIFAR-100 (mdistiller), with m
  0.9; on ImageNet delta is 0.09.
  Needs: student and teacher with the same classes. Other methods use it through
  the stage's `optimizer("dot", ...)`.
  Costs: those of KD, one more backward pass and one more momentum buffer.

  The stage's optimizer becomes 'dot', a form of SGD. Learning rate and decay
  are options here, as those for AdamW do not fit. A schedule keeps its kind and
  warm-up; its value becomes `learning_rate`, and its end keeps its ratio to the
  value. Gradients are not clipped: `clip_norm` becomes 0.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    temperature: T, for student and teacher.
    weight: weight of KD; labels get 1 - weight.
    delta: distance of both momenta from the optimizer's, m.
    learning_rate: peak of the learning rate; None is the stage's.
    weight_decay: decay, added to the labels' gradient; None is the stage's.

  Returns:
    One stage: `stage` with the term `kd` and the optimizer 'dot'.
  """
  optimizer = own(stage.optimizer)
  optimizer.name = "dot"
  optimizer.delta = delta
  optimizer.clip_norm = 0.0
  if weight_decay is not None:
    optimizer.weight_decay = float(weight_decay)
  if learning_rate is not None:
    _set_peak(optimizer, float(learning_rate))
  soft = term("kd", weight=weight, temperature=temperature, group="kd")
  return [
    extended(stage, {"kd": soft}, labels=1.0 - weight, optimizer=optimizer)
  ]


def _set_peak(optimizer: ConfigDict, peak: float) -> None:
  """Sets the learning rate, or its schedule's peak."""
  rate = optimizer.learning_rate
  if not isinstance(rate, ConfigDict):
    optimizer.learning_rate = peak
    return
  if rate.value:
    rate.end = rate.end * peak / rate.value
  rate.value = peak

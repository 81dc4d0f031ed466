"""DOT: distillation with a momentum for labels and another for the teacher."""

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
  """DOT: KD, whose gradient lasts longer than that of the labels.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(teacher || student)
    v_task = (m - delta) v_task + gradient of the labels + decay
    v_kd = (m + delta) v_kd + gradient of the teacher's part
    parameters -= learning_rate (v_task + v_kd)

  Zhao et al., "DOT: A Distillation-Oriented Trainer", ICCV 2023,
  arXiv:2307.08436. Defaults: the authors' for CIFAR-100 (mdistiller), with m
  0.9; on ImageNet delta is 0.09.
  Needs: logits of the same classes. Any other method has it by the stage's
  `optimizer("dot", ...)`.
  Costs: what KD costs, and a backward pass and a buffer of momenta more.

  The stage's optimizer becomes 'dot', which is an SGD: a learning rate and a
  decay for AdamW do not fit, so that both are options here. Of a schedule the
  kind, the warm-up and the rest stay; its value becomes `learning_rate`, and
  its end keeps its ratio to it. It clips no gradients: `clip_norm` becomes 0.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    temperature: T, of both.
    weight: of the softened part; labels have what is left.
    delta: how far both momenta are from the optimizer's, m.
    learning_rate: its peak; None is the stage's.
    weight_decay: added to the labels' gradient; None is the stage's.

  Returns:
    One stage: this one, with the term `kd` and the optimizer 'dot'.
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
  """Gives the learning rate, or its schedule, another height."""
  rate = optimizer.learning_rate
  if not isinstance(rate, ConfigDict):
    optimizer.learning_rate = peak
    return
  if rate.value:
    rate.end = rate.end * peak / rate.value
  rate.value = peak

"""TAKD: KD through a teacher assistant."""

from kdjax.config import earlier, extended, teacher, term
from kdjax.config.fields import ConfigDict, own


def teacher_assistant(
  stage: ConfigDict,
  *,
  assistant: ConfigDict | None = None,
  weight: float = 0.9,
  temperature: float = 4.0,
) -> list[ConfigDict]:
  """TAKD: an assistant learns from the teacher, the student from the assistant.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(above || student)

  with `above` the teacher for the assistant, and the assistant for the student.

  Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant", AAAI
  2020, arXiv:1902.03393. Defaults: those of `kd`; the authors tune both
  options for each pair of networks; their divergence is a mean over classes.
  Needs: an `assistant` with a size between student and teacher.
  Costs: the training of the assistant.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    assistant: from `network()`; None is the student's architecture.
    weight: weight of KD; labels get 1 - weight.
    temperature: T, for student and teacher.

  Returns:
    Two stages: the assistant's and the student's.
  """
  soft = {"weight": weight, "temperature": temperature, "group": "kd"}
  first = extended(stage, {"kd": term("kd", **soft)}, labels=1.0 - weight)
  if assistant is not None:
    first.networks.student = own(assistant)
  second = extended(
    stage,
    {"kd": term("kd", reads={"teacher": "assistant/logits"}, **soft)},
    labels=1.0 - weight,
    teachers={"assistant": teacher(earlier(0))},
  )
  return [first, second]

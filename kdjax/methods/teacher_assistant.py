"""TAKD: by way of a teacher assistant between teacher and student."""

from kdjax.config import earlier, extended, teacher, term
from kdjax.config.fields import ConfigDict, own


def teacher_assistant(
  stage: ConfigDict,
  *,
  assistant: ConfigDict | None = None,
  weight: float = 0.9,
  temperature: float = 4.0,
) -> list[ConfigDict]:
  """TAKD: an assistant learns from the teacher, the student from it.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(above || student)

  with the teacher above the assistant, and the assistant above the student.

  Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant", AAAI
  2020, arXiv:1902.03393. Defaults: of KD here; the authors search both for
  every pair of networks, and their divergence is a mean over the classes too.
  Needs: a size between the two networks', for which `assistant` stands.
  Costs: the assistant is trained first.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    assistant: the network in between, from `network()`; None is one like the
      student.
    weight: of the network above; labels have what is left.
    temperature: T, of both.

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

"""Born-again networks (BAN): generations of the same network."""

from kdjax.config import earlier, extended, teacher, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def born_again(
  stage: ConfigDict,
  *,
  generations: int = 2,
  weight: float = 1.0,
  temperature: float = 1.0,
) -> list[ConfigDict]:
  """BAN: each generation learns from labels and from the previous one.

    loss = CE(student, label) + weight T^2 KL(previous || student)

  Furlanello et al., "Born Again Neural Networks", ICML 2018, arXiv:1805.04770,
  Section 3.1. Defaults: the plain sum of both parts, as in the paper.
  Needs: no teacher; a teacher of the stage is ignored.
  Costs: `generations` + 1 trainings of the student.

  Args:
    stage: with a network `student`.
    generations: number of students that learn from a previous one.
    weight: weight of the previous generation.
    temperature: T, for student and teacher.

  Returns:
    The first student's stage, and one for each generation.
  """
  if generations < 1:
    raise UserError(
      f"'born_again' has generations={generations}.", "Expected 1 or more."
    )
  stages = [extended(stage, {})]
  for number in range(generations):
    new_term = term(
      "kd",
      weight=weight,
      temperature=temperature,
      reads={"teacher": "previous/logits"},
      group="kd",
    )
    stages.append(
      extended(
        stage,
        {"born_again": new_term},
        teachers={"previous": teacher(earlier(number))},
      )
    )
  return stages

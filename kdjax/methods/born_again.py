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
  """BAN: every generation learns from labels and from the one before it.

    loss = CE(student, label) + weight T^2 KL(previous || student)

  Furlanello et al., "Born Again Neural Networks", ICML 2018, arXiv:1805.04770,
  Section 3.1. Defaults: the sum of both parts, as printed.
  Needs: no teacher; one that the stage has is not read.
  Costs: the student is trained `generations` times, and once before.

  Args:
    stage: with a network `student`.
    generations: how many learn from another, after the first, which does not.
    weight: of the previous generation.
    temperature: T, of both.

  Returns:
    The first network's stage, and one for every generation.
  """
  if generations < 1:
    raise UserError(f"generations={generations}.", "There must be 1 or more.")
  stages = [extended(stage, {})]
  for place in range(generations):
    learned = term(
      "kd",
      weight=weight,
      temperature=temperature,
      reads={"teacher": "previous/logits"},
      group="kd",
    )
    stages.append(
      extended(
        stage,
        {"born_again": learned},
        teachers={"previous": teacher(earlier(place))},
      )
    )
  return stages

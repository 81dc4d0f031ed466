"""Be your own teacher (BYOT): the last stage teaches the earlier ones."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def self_distillation(
  stage: ConfigDict,
  *,
  weight: float = 0.3,
  hint: float = 0.03,
  temperature: float = 3.0,
  student_maps: tuple[str, ...] = ("student/stage0", "student/stage1"),
) -> list[ConfigDict]:
  """BYOT: classifiers on earlier stages learn from the last, and from labels.

    loss = CE(student, label) + sum over earlier stages i of
             (1 - weight) CE(c_i, label) + weight KL(student || c_i)
             + hint |conv_i(map_i) - map_last|

  Zhang et al., "Be Your Own Teacher: Improve the Performance of Convolutional
  Neural Networks via Self Distillation", ICCV 2019, arXiv:1905.08094,
  Section 3. Defaults: 0.3, 0.03 and T = 3 are those of the code that the
  authors released later (pytorch-self-distillation-final). It has no factor
  T^2, and the norm where the paper has its square. What differs from that code:
  its norm is one of the whole batch, about the root of the batch size times
  this mean over examples; it is of features through a linear layer, here of
  maps through a convolution; one exit of it has no hint (the next to the last;
  a comment there calls it the shallowest), here each has one, as in the paper.
  Its classifiers stand on a bottleneck of their own, here on the mean of a map.
  Needs: two maps or more of the student, the last one last; no teacher.
  Costs: a classifier and a convolution for every earlier map, dropped after
  training.

  Args:
    stage: with a network `student`.
    weight: of the last stage's classes; labels have what is left.
    hint: of the distance to the last stage's map; 0 leaves it out.
    temperature: T, of both.
    student_maps: addresses, from the first stage to the last.

  Returns:
    One stage.
  """
  if len(student_maps) < 2:
    raise UserError(
      f"'self_distillation' is given {len(student_maps)} maps.",
      "It needs the last and at least one before it.",
    )
  terms = {}
  for i, read in enumerate(student_maps[:-1]):
    name = f"self_distillation{i}"
    terms[name] = term(
      "kd",
      weight=weight,
      temperature=temperature,
      scale=False,
      reads={"student": read, "teacher": "student/logits"},
      heads={"student": head("proxy")},
      group="kd",
    )
    terms[f"cross_entropy{i}"] = term(
      "cross_entropy",
      weight=1.0 - weight,
      reads={"student": f"heads/{name}/student"},
    )
    if hint:
      terms[f"hint{i}"] = term(
        "mse",
        weight=hint,
        reduction="norm",
        reads={"student": read, "teacher": student_maps[-1]},
        heads={"student": head("conv")},
        group="kd",
      )
  return [extended(stage, terms)]

"""BYOT: self-distillation from the last layer to earlier ones."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def self_distillation(
  stage: ConfigDict,
  *,
  weight: float = 0.3,
  hint: float = 0.03,
  temperature: float = 3.0,
  student_maps: tuple[str, ...] = (
    "student/stage0|middle",
    "student/stage1|last",
  ),
) -> list[ConfigDict]:
  """BYOT: classifiers on earlier layers learn from the last, and from labels.

    loss = CE(student, label) + sum over earlier maps i of
             (1 - weight) CE(c_i, label) + weight KL(student || c_i)
             + hint |conv_i(map_i) - map_last|

  Zhang et al., "Be Your Own Teacher: Improve the Performance of Convolutional
  Neural Networks via Self Distillation", ICCV 2019, arXiv:1905.08094,
  Section 3. Defaults: 0.3, 0.03 and T = 3 are those of the code that the
  authors released later (pytorch-self-distillation-final). That code has no
  factor T^2, and a norm where the paper has its square. Differs from that code:
  its norm is over the whole batch, about sqrt(batch size) times the mean over
  examples here; it is of features after a linear layer, here of maps after a
  convolution; its exit next to the last has no hint (a comment there calls it
  the shallowest), here each has one, as in the paper. Its classifiers follow a
  bottleneck, here they read the mean of a map.
  Needs: two or more maps of the student, deepest last; no teacher.
  Costs: a classifier and a convolution for each earlier map, dropped after
  training.

  Args:
    stage: with a network `student`.
    weight: weight of KD from the last layer; labels get 1 - weight.
    hint: weight of the distance to the last map; 0 omits it.
    temperature: T, for student and teacher.
    student_maps: addresses of the student's maps, shallow to deep.

  Returns:
    One stage: `stage` with `self_distillation<i>`, `cross_entropy<i>` and
    `hint<i>` for each earlier map i.
  """
  if len(student_maps) < 2:
    raise UserError(
      f"'self_distillation' has {len(student_maps)} `student_maps`.",
      "Expected two or more, the deepest last.",
    )
  terms = {}
  for i, address in enumerate(student_maps[:-1]):
    name = f"self_distillation{i}"
    terms[name] = term(
      "kd",
      weight=weight,
      temperature=temperature,
      scale=False,
      reads={"student": address, "teacher": "student/logits"},
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
        reads={"student": address, "teacher": student_maps[-1]},
        heads={"student": head("conv")},
        group="kd",
      )
  return [extended(stage, terms)]

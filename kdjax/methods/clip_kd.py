"""CLIP-KD: a two-tower student and a larger two-tower teacher."""

from kdjax.config import head, same_head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods._towers import (
  TARGETS,
  both_networks,
  of_towers,
  one_network,
)

# name of a term -> its loss, the heads that terms share, options
PARTS = {
  "clip": ("clip", (), {}),
  "ckd": ("clip_ckd", (), {}),
  "icl": ("clip_icl", ("student", "scale"), {}),
  "cross_kd": ("clip_cross_kd", ("student", "scale"), {}),
  "fd": ("clip_fd", ("student",), {}),
  "mfd": ("clip_fd", ("student",), {}),
  "gd": ("clip_gd", ("student",), {"form": "code"}),
  "afd": ("clip", (), {}),
}


def clip_kd(
  stage: ConfigDict,
  *,
  task: float = 1.0,
  ckd: float = 1.0,
  icl: float = 1.0,
  fd: float = 2000.0,
  cross_kd: float = 0.0,
  gd: float = 0.0,
  mfd: float = 0.0,
  afd: float = 0.0,
  labels: float = 0.0,
  masked_view: str = "masked",
  student_image: str = "student/image/embedding|tower",
  student_text: str = "student/text/embedding|tower",
  student_scale: str = "student/scale|tower",
  teacher_image: str = "teacher/image/embedding|tower",
  teacher_text: str = "teacher/text/embedding|tower",
  teacher_scale: str = "teacher/scale|tower",
) -> list[ConfigDict]:
  """CLIP-KD: CLIP's loss, the teacher's similarities and its embeddings.

    loss = task CLIP + ckd KL of similarities + icl CLIP with the teacher
           + fd MSE of directions [+ cross_kd + gd + mfd + afd + labels CE]

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation", CVPR
  2024, arXiv:2307.12732. Defaults: those of its final method. For the other
  terms the paper has gd 1e8, mfd 2000 and afd 1; its code has cross_kd 1 too.
  Differs from the authors' code: the scale of `icl` is the exponential of its
  parameter and at most 100, as are the other scales (`largest` of the head
  'scale'); `mfd` reads the masked image, with 75 % hidden, not the whole one.
  `gd` has the form of the code, as its weight requires.
  Needs: a two-tower student and teacher; for `mfd` a view of the image with
  75 % zeroed, one of the data set's `views`.
  Costs: a linear layer for each tower if widths differ; the losses use the
  batch of all devices.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    task: weight of CLIP's loss of the student.
    ckd: weight of the divergence between similarities within each network.
    icl: weight of the contrast of student with teacher embeddings.
    fd: weight of the squared distance of normalised embeddings.
    cross_kd: weight of the divergence of similarities across networks.
    gd: weight of the distance of the gradients of CLIP's loss.
    mfd: weight of `fd` for a masked image.
    afd: weight of CLIP's loss of embeddings fused with the teacher's.
    labels: weight of cross-entropy, if the student has logits.
    masked_view: the view of the image that `mfd` reads.
    student_image: address of the student's image embedding.
    student_text: address of its text embedding.
    student_scale: address of the factor of its cosines.
    teacher_image: address of the teacher's image embedding.
    teacher_text: address of its text embedding.
    teacher_scale: address of the factor of its cosines.

  Returns:
    One stage: `stage` with a term for each weight that is not 0.
  """
  weights = {
    "clip": task,
    "ckd": ckd,
    "icl": icl,
    "cross_kd": cross_kd,
    "fd": fd,
    "mfd": mfd,
    "gd": gd,
    "afd": afd,
  }
  network, _, output = student_image.partition("/")
  reads = _reads(
    (student_image, student_text, student_scale),
    (teacher_image, teacher_text, teacher_scale),
    f"{network}@{masked_view}/{output}",
  )
  chosen = {name: weight for name, weight in weights.items() if weight}
  return of_towers(stage, _terms(chosen, reads), labels)


def _reads(ours: tuple, theirs: tuple, masked: str) -> dict[str, dict]:
  """The `reads` of each term, from (image, text, scale) of both networks."""
  both = both_networks(ours, theirs)
  student, teacher = both["student"], both["teacher"]
  sides = {"student": student, "teacher": teacher}
  # The head 'scale' has a parameter and uses its input's number of rows alone.
  number = {"scale": ours[0]}
  return {
    "clip": one_network(ours),
    "ckd": both,
    "icl": {**sides, **number},
    "cross_kd": {**sides, **number, "teacher_scale": both["teacher_scale"]},
    "fd": sides,
    "mfd": {**sides, "student": (masked, student[1])},
    "gd": both,
    "afd": {
      "image": (student[0], teacher[0]),
      "text": (student[1], teacher[1]),
      **number,
    },
  }


def _terms(weights: dict, reads: dict[str, dict]) -> dict[str, ConfigDict]:
  """A term for each weight."""
  owners, terms = {}, {}
  for name, weight in weights.items():
    loss, shared, options = PARTS[name]
    heads = _heads(owners, name, shared)
    if name == "afd":
      kinds = {"image": "fuse", "text": "fuse", "scale": "scale"}
      heads = {argument: head(kind) for argument, kind in kinds.items()}
    terms[name] = term(
      loss,
      weight=weight,
      reads=reads[name],
      heads=heads,
      targets=tuple(key for key in TARGETS if key in reads[name]),
      group="task" if name == "clip" else "kd",
      **options,
    )
  return terms


def _heads(owners: dict, name: str, arguments: tuple[str, ...]) -> dict:
  """The heads of a term; the first term that needs one shares it."""
  kinds = {"student": "project", "scale": "scale"}
  return {
    argument: head(kinds[argument])
    if owners.setdefault(argument, name) == name
    else same_head(owners[argument], argument=argument)
    for argument in arguments
  }

"""CLIP-KD: two towers taught by two larger ones."""

from kdjax.config import extended, head, same_head, term
from kdjax.config.fields import ConfigDict

# Arguments that are the teacher's, whatever they are called.
TARGETS = ("teacher", "teacher_scale")

# name of a term -> its loss, the heads that it shares with others, options
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
  student_image: str = "student/image/embedding",
  student_text: str = "student/text/embedding",
  student_scale: str = "student/scale",
  teacher_image: str = "teacher/image/embedding",
  teacher_text: str = "teacher/text/embedding",
  teacher_scale: str = "teacher/scale",
) -> list[ConfigDict]:
  """Pairs, the teacher's relations between them, and its embeddings.

    loss = task CLIP + ckd KL of similarities + icl CLIP with the teacher
           + fd MSE of directions [+ cross_kd + gd + mfd + afd + labels CE]

  Yang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation", CVPR
  2024, arXiv:2307.12732. Defaults: those of its final method. Of the others the
  paper has gd 1e8, mfd 2000 and afd 1; its code has cross_kd 1 too.
  Differs from the authors' code: the scale of `icl` is the exponential of what
  is learned, and kept at or below 100, as the other scales (`largest` of the
  head 'scale'); `mfd` reads the masked image, which is three quarters hidden,
  and not the whole one. `gd` has the code's form, whose weight it is.
  Needs: student and teacher of two towers; for `mfd` a view of the image with
  75 % of it zeroed, of the data set's `views`.
  Costs: a linear layer a tower where the widths differ; the loss sees the batch
  of all devices.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    task: weight of the student's own contrast.
    ckd: weight of the relations inside of each network.
    icl: weight of the student's embeddings among the teacher's.
    fd: weight of the distance of directions.
    cross_kd: weight of the relations across the networks.
    gd: weight of the gradients of the contrast.
    mfd: weight of the distance of directions, from a masked image.
    afd: weight of the contrast of embeddings fused with the teacher's.
    labels: weight of the labels, where the student has logits.
    masked_view: the view of the image that `mfd` reads.
    student_image: address of an embedding.
    student_text: likewise.
    student_scale: address of what multiplies its cosines.
    teacher_image: address of an embedding.
    teacher_text: likewise.
    teacher_scale: address of what multiplies its cosines.

  Returns:
    One stage: this one, with a term for every weight that is not 0.
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
  made = extended(stage, _terms(chosen, reads), labels=labels)
  # Towers need not have logits.
  if not labels and "cross_entropy" not in stage.terms:
    del made.terms.cross_entropy
  return [made]


def _reads(own: tuple, other: tuple, masked: str) -> dict[str, dict]:
  """What every term reads of (image, text, scale) of both networks."""
  *student, student_scale = own
  *teacher, teacher_scale = other
  sides = {"student": tuple(student), "teacher": tuple(teacher)}
  scales = {"student_scale": student_scale, "teacher_scale": teacher_scale}
  # A head makes the number; of what it reads, only how many rows there are
  # matters.
  number = {"scale": own[0]}
  return {
    "clip": dict(zip(("image", "text", "scale"), own, strict=True)),
    "ckd": {**sides, **scales},
    "icl": {**sides, **number},
    "cross_kd": {**sides, **number, "teacher_scale": teacher_scale},
    "fd": sides,
    "mfd": {**sides, "student": (masked, student[1])},
    "gd": {**sides, **scales},
    "afd": {
      "image": (student[0], teacher[0]),
      "text": (student[1], teacher[1]),
      **number,
    },
  }


def _terms(weights: dict, reads: dict[str, dict]) -> dict[str, ConfigDict]:
  """The terms that have a weight."""
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
  """Heads of a term: of the first that needs one, and shared by the others."""
  kinds = {"student": "project", "scale": "scale"}
  return {
    argument: head(kinds[argument])
    if owners.setdefault(argument, name) == name
    else same_head(owners[argument], argument=argument)
    for argument in arguments
  }

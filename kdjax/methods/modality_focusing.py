"""The modality focusing hypothesis (MFH): what both modalities know."""

from kdjax.config import earlier, extended, head, teacher, term
from kdjax.config.fields import ConfigDict, own


def modality_focusing(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  labels: float = 1.0,
  temperature: float = 1.0,
  reduction: str = "mean",
  share: float = 0.25,
  which: str = "general",
  fill: str = "mean",
  teacher_network: ConfigDict | None = None,
  teacher_embedding: str = "teacher/embedding",
  classifier: tuple[str, ...] = (
    "teacher/params/head/kernel",
    "teacher/params/head/bias",
  ),
) -> list[ConfigDict]:
  """MFH: a teacher left with the channels that a companion can follow.

    loss = CE(teacher, label) + CE(companion, label)
           + mean (teacher - companion)^2                   (the first stage)
    loss = labels CE(student, label) + weight T^2 KL(focused || student)

  with `focused` the teacher's logits from the share of its channels that are
  most general: those whose permutation most parts it from the companion, a
  network like the student.

  Xue, Gao, Ren and Zhao, "The Modality Focusing Hypothesis: Towards
  Understanding Crossmodal Knowledge Distillation", ICLR 2023, arXiv:2206.06487,
  Algorithm 1. Defaults: of the authors' synthetic experiments, with labels and
  teacher at weight 1 and a divergence that is a mean over the classes too; and
  of RAVDESS, where three quarters of the channels become their mean. There the
  labels' weight is 0; VGGSound has the "sum" over classes.
  Needs: a teacher with a linear classifier on its embedding. The paper trains
  the teacher beside the companion: give its config as `teacher_network`;
  without one the stage's own teacher is frozen, and the companion alone learns
  to follow it.
  Costs: two stages of the given length.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the focused teacher.
    labels: of the labels.
    temperature: T, of both.
    reduction: of the divergence over the classes, "mean" or "sum".
    share: of the channels that are kept.
    which: "general", "least_general" or "random" channels, for comparison.
    fill: what the others become, their "mean" or "zero".
    teacher_network: from `network()`, a teacher that is trained beside the
      companion in place of the stage's frozen one; or None.
    teacher_embedding: the teacher's features, an address.
    classifier: addresses of the kernel and the bias on them.

  Returns:
    Two stages; the companion is the first one's student.
  """
  first, last, terms, networks = own(stage), own(stage), {}, {}
  if teacher_network is not None:
    if "teacher" in first.teachers:
      del first.teachers["teacher"]
    networks["teacher"] = teacher_network
    terms["cross_entropy_teacher"] = term(
      "cross_entropy", reads={"student": "teacher/logits"}
    )
    last.teachers["teacher"] = teacher(earlier(0), network="teacher")
  # Where the teacher learns, it too comes nearer.
  targets = ("teacher",) if teacher_network is None else ()
  terms["companion"] = term("mse", targets=targets)
  read = (teacher_embedding, "companion/logits", *classifier)
  focused = term(
    "kd",
    weight=weight,
    temperature=temperature,
    reduction=reduction,
    reads={"teacher": read},
    heads={
      "teacher": head("modality_focus", share=share, which=which, fill=fill)
    },
    group="kd",
  )
  return [
    extended(first, terms, networks=networks),
    extended(
      last,
      {"modality_focusing": focused},
      labels=labels,
      teachers={"companion": teacher(earlier(0))},
    ),
  ]

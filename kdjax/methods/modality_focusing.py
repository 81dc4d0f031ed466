"""MFH, the modality focusing hypothesis: distil shared features alone."""

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
  """MFH: KD from the teacher channels that both modalities share.

    loss = CE(teacher, label) + CE(companion, label)
           + mean (teacher - companion)^2                   (the first stage)
    loss = labels CE(student, label) + weight T^2 KL(focused || student)

  with `focused` the teacher's logits from a fraction of its channels, the most
  general ones: a permutation of these changes the distance to the companion
  most. The companion is a network like the student.

  Xue, Gao, Ren and Zhao, "The Modality Focusing Hypothesis: Towards
  Understanding Crossmodal Knowledge Distillation", ICLR 2023, arXiv:2206.06487,
  Algorithm 1. Defaults: those of the authors' synthetic experiments, with
  labels and teacher at weight 1 and a divergence that is also a mean over
  classes; and those of RAVDESS, where three quarters of the channels become
  their mean. RAVDESS has weight 0 for labels, VGGSound the "sum" over classes.
  Needs: a teacher with a linear classifier on its embedding. The paper trains
  the teacher together with the companion: pass its config as
  `teacher_network`. Without one the stage's teacher is frozen and only the
  companion is trained.
  Costs: two stages of the same number of steps.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of KD from the focused teacher.
    labels: weight of cross-entropy with labels.
    temperature: T, for student and teacher.
    reduction: of the divergence over classes, "mean" or "sum".
    share: fraction of the channels that are kept.
    which: the channels that are kept, "general", or for comparison
      "least_general" or "random".
    fill: the value of the other channels, their "mean" or "zero".
    teacher_network: from `network()`, a teacher that is trained together with
      the companion and replaces the stage's frozen one; or None.
    teacher_embedding: address of the teacher's features.
    classifier: addresses of the classifier's kernel and bias.

  Returns:
    Two stages; the companion is the first stage's student.
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
  # A trained teacher gets this term's gradient too.
  targets = ("teacher",) if teacher_network is None else ()
  terms["companion"] = term("mse", targets=targets)
  addresses = (teacher_embedding, "companion/logits", *classifier)
  focused = term(
    "kd",
    weight=weight,
    temperature=temperature,
    reduction=reduction,
    reads={"teacher": addresses},
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

"""Several teachers, mixed by a learned gate (router)."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def soft_router(
  stage: ConfigDict,
  *,
  weight: float = 0.5,
  router: float = 1.0,
  temperature: float = 4.0,
  follow: bool = False,
  guides: tuple[str, ...] = ("student/embedding",),
  teachers: tuple[str, ...] = ("teacher/logits",),
) -> list[ConfigDict]:
  """KD from a mixture of teachers with learned weights per example.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(mixture || student)
           + router CE(mixture, label)

  The mixture weights are per example. They learn from the labels; with `follow`
  they also get the gradient of the distillation term.

  After Li et al., "MST-Distill: Mixture of Specialized Teachers for Cross-Modal
  Knowledge Distillation", 2025, arXiv:2507.07015: its router selects the
  best teachers and gets no gradient from the distillation; this is a soft form,
  without its masks and its balancing. Defaults: T and weight are those of its
  baseline.
  Needs: two or more teachers with the student's classes. An example that lacks
  the modality of some is taught by the others.
  Costs: a forward pass of each teacher, and a linear layer.

  Args:
    stage: with a network `student` and all teachers.
    weight: weight of the distillation term; labels get 1 - weight.
    router: weight of the mixture's cross-entropy, which trains the router.
    temperature: T, for student and teacher.
    follow: whether distillation trains the router too.
    guides: addresses of vectors that the router reads in addition to the
      teachers' logits.
    teachers: addresses of the teachers' logits.

  Returns:
    One stage: `stage` with the terms `router` and `soft_router`.
  """
  terms = {
    "router": term(
      "cross_entropy",
      weight=router,
      reads={"student": (*teachers, *guides)},
      heads={"student": head("router", guides=len(guides))},
      # This term trains the router alone, not the network that it reads.
      targets=("student",),
    ),
    "soft_router": term(
      "kd",
      weight=weight,
      temperature=temperature,
      reads={"teacher": "heads/router/student"},
      targets=() if follow else ("teacher",),
      group="kd",
    ),
  }
  return [extended(stage, terms, labels=1.0 - weight)]

"""Several teachers, gated: a router learns whom to ask."""

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
  """Softened classes of a learned, gated mixture of teachers.

    loss = (1 - weight) CE(student, label) + weight T^2 KL(mixture || student)
           + router CE(mixture, label)

  The mixture's shares, an example its own, learn from the labels, and where
  they follow also from what the student finds easy.

  After Li et al., "MST-Distill: Mixture of Specialized Teachers for Cross-Modal
  Knowledge Distillation", 2025, arXiv:2507.07015: its router picks the best
  teachers and gets no gradient from the distillation; this one is a soft form
  of it, without its masks and its balance. Defaults: T and weight are those of
  its baseline.
  Needs: two or more teachers of the same classes.
  Costs: a forward pass of every teacher, and a linear layer to learn.

  Args:
    stage: with a network `student` and all teachers.
    weight: of the mixture; labels have what is left.
    router: of the mixture's own cross-entropy, which trains the shares.
    temperature: T, of both.
    follow: whether distillation trains the shares too.
    guides: what they go by beside the teachers' classes, addresses of vectors.
    teachers: addresses of their logits.

  Returns:
    One stage: this one, with the terms `router` and `soft_router`.
  """
  terms = {
    "router": term(
      "cross_entropy",
      weight=router,
      reads={"student": (*teachers, *guides)},
      heads={"student": head("router", guides=len(guides))},
      # Only the shares learn here, not the network that guides them.
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

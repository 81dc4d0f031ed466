"""C2KD: cross-modal distillation between proxies of both networks."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict, own


def c2kd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  threshold: float = 0.0,
  target: str = "minus_infinity",
  teacher_network: ConfigDict | None = None,
  student_map: str = "student/stage1|last",
  teacher_map: str = "teacher/stage1|last",
) -> list[ConfigDict]:
  """C2KD: bidirectional distillation between proxies, for selected examples.

    loss = L(student, teacher) + L(teacher, student)
    L(a, b) = CE(a, label) + weight (KL(a || ~a) + KL(~a || a) + NT(~b, ~a))

  with ~a the logits of a proxy on the last map of a, no gradient for the first
  side of each divergence, and NT the divergence between the non-label classes,
  for examples in which Kendall's tau of the proxies exceeds the threshold.

  Huo et al., "C2KD: Bridging the Modality Gap for Cross-Modal Knowledge
  Distillation", CVPR 2024. Defaults: the authors'; their code sets the label's
  logit to "zero", the paper omits it.
  Needs: a map (or an embedding) of each network. The paper trains the teacher
  too: pass its config as `teacher_network`. Without one the teacher is frozen
  and only its proxy is trained.
  Costs: a small classifier on each side, dropped after training, and the
  teacher's training, if it is trained.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of all terms but cross-entropy.
    threshold: lower limit of tau.
    target: what replaces the label's logit, "minus_infinity" or "zero".
    teacher_network: from `network()`, a teacher that is trained together with
      the student and replaces the stage's frozen one; or None.
    student_map: address of the student's map or embedding.
    teacher_map: address of the teacher's map.

  Returns:
    One stage: `stage` with the terms `c2kd_student`, `c2kd_student_self`, ...
  """
  stage = own(stage)
  networks, terms = {}, {}
  for side, address in (("student", student_map), ("teacher", teacher_map)):
    terms |= _side(side, address, weight, threshold, target)
  if teacher_network is None:
    # A frozen teacher cannot follow its proxy.
    del terms["c2kd_teacher_self"]
  else:
    if "teacher" in stage.teachers:
      del stage.teachers["teacher"]
    networks["teacher"] = teacher_network
    terms["cross_entropy_teacher"] = term(
      "cross_entropy", reads={"student": "teacher/logits"}
    )
  return [extended(stage, terms, networks=networks)]


def _side(
  side: str, address: str, weight: float, threshold: float, target: str
) -> dict[str, ConfigDict]:
  """The terms that train one network and its proxy."""
  other = {"student": "teacher", "teacher": "student"}[side]
  proxy, logits = f"c2kd_{side}_proxy", f"{side}/logits"
  soft = {"weight": weight, "temperature": 1.0, "group": "kd"}
  return {
    proxy: term(
      "kd",
      reads={"student": address, "teacher": logits},
      heads={"student": head("proxy")},
      **soft,
    ),
    f"c2kd_{side}_self": term(
      "kd",
      reads={"student": logits, "teacher": f"heads/{proxy}/student"},
      **soft,
    ),
    f"c2kd_{side}": term(
      "non_target_kl",
      reads={
        "student": f"heads/{proxy}/student",
        "teacher": f"heads/c2kd_{other}_proxy/student",
      },
      threshold=threshold,
      target=target,
      **soft,
    ),
  }

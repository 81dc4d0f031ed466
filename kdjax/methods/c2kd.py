"""C2KD: teacher and student of two modalities meet in proxies."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict, own


def c2kd(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  threshold: float = 0.0,
  target: str = "minus_infinity",
  teacher_network: ConfigDict | None = None,
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """Proxies of both networks agree where their rankings do, both ways.

    loss = L(student, teacher) + L(teacher, student)
    L(a, b) = CE(a, label) + weight (KL(a || ~a) + KL(~a || a) + NT(~b, ~a))

  with ~a the logits of a proxy on the last map of a, the first side of every
  divergence still, and NT the divergence of the classes that are not the
  label's, in examples in which Kendall's tau of the proxies is above the
  threshold.

  Huo et al., "C2KD: Bridging the Modality Gap for Cross-Modal Knowledge
  Distillation", CVPR 2024. Defaults: the authors'; their code has the label's
  logit "zero" where the paper leaves it out.
  Needs: a map (or an embedding) of both. The paper's teacher learns too: give
  its config as `teacher_network`; without one the teacher is frozen and only
  its proxy adapts.
  Costs: a small classifier on each side, dropped after training, and where the
  teacher learns, its training.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of everything but the labels.
    threshold: what tau must exceed.
    target: what becomes of the label's logit, "minus_infinity" or "zero".
    teacher_network: from `network()`, a teacher that is trained beside the
      student in place of the stage's frozen one; or None.
    student_map: the student's features, an address.
    teacher_map: the teacher's.

  Returns:
    One stage.
  """
  stage = own(stage)
  networks, terms = {}, {}
  for side, read in (("student", student_map), ("teacher", teacher_map)):
    terms |= _side(side, read, weight, threshold, target)
  if teacher_network is None:
    # Nothing of a frozen teacher follows its proxy.
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
  side: str, read: str, weight: float, threshold: float, target: str
) -> dict[str, ConfigDict]:
  """The terms of one network: its proxy, itself, and the other's proxy."""
  other = {"student": "teacher", "teacher": "student"}[side]
  proxy, logits = f"c2kd_{side}_proxy", f"{side}/logits"
  soft = {"weight": weight, "temperature": 1.0, "group": "kd"}
  return {
    proxy: term(
      "kd",
      reads={"student": read, "teacher": logits},
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

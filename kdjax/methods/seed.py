"""SEED: similarities to a queue of teacher embeddings, without labels."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict


def seed(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  local: float = 0.0,
  labels: float = 0.0,
  size: int = 65536,
  temperature: float = 0.01,
  student_temperature: float = 0.2,
  two_queues: bool = False,
  local_temperature: float = 0.1,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
  student_map: str = "student/stage1",
  teacher_map: str = "teacher/stage1",
) -> list[ConfigDict]:
  """SEED: resemble recent examples as the teacher does; no label is read.

    loss = weight KL(softmax(cos(t, q) / T) || softmax(cos(f(s), q) / T_s))
           + local KL of the same between the positions of each input
           [+ labels CE(student, label)]

  with q the teacher's embeddings of recent examples, and of the example.

  Fang et al., "SEED: Self-supervised Distillation For Visual Representation",
  ICLR 2021, arXiv:2101.04731. Defaults: the paper's, without `local`, which is
  the same of positions (arXiv:1903.04197 has their pairs). CompRess
  (Koohpayegani et al., NeurIPS 2020, arXiv:2010.14713): `temperature` and
  `student_temperature` 0.04, `size` 128000, and `two_queues` for its 2q.
  Needs: an embedding of each network; for `local`, maps or tokens with equal
  positions. No labels, and no classes: metrics of what was learned are
  `metric("knn", reads={"student": "student/embedding"})` and "linear_probe".
  Costs: two linear layers, dropped after training, and a queue of `size`
  embeddings of the teacher's width.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the similarities to the queue.
    local: weight of the similarities between positions.
    labels: weight of cross-entropy. 0 reads no label in training; the term is
      then left out, unless `stage` has it, to be measured.
    size: of the queue.
    temperature: T, which divides the teacher's cosines.
    student_temperature: T_s, which divides the student's.
    two_queues: whether the student is compared with its own recent embeddings.
    local_temperature: divides the cosines between positions.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.
    student_map: address of the student's map or tokens, for `local`.
    teacher_map: address of the teacher's.

  Returns:
    One stage: `stage` with the terms `seed` and, with `local`, `seed_local`.
  """
  terms = {}
  if weight:
    terms["seed"] = term(
      "kd",
      weight=weight,
      reads={"student": student_embedding, "teacher": teacher_embedding},
      heads={"student": head("anchors", size=size, two_queues=two_queues)},
      temperature=temperature,
      student_temperature=student_temperature,
      scale=False,
    )
  if local:
    terms["seed_local"] = term(
      "local_similarity",
      weight=local,
      reads={"student": student_map, "teacher": teacher_map},
      temperature=local_temperature,
    )
  result = extended(stage, terms, labels=labels)
  if not labels and "cross_entropy" not in stage.terms:
    del result.terms.cross_entropy
  return [result]

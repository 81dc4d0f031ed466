"""Correlation congruence."""

from kdjax.config import extended, head, term
from kdjax.errors import UserError
from kdjax.fields import ConfigDict


def cc(
  stage: ConfigDict,
  *,
  weight: float = 0.02,
  form: str = "adjacent",
  width: int = 128,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """Correlations of the examples of a batch, of embeddings of one width.

    loss = CE(student, label) + weight C(W_s student + b_s, W_t teacher + b_t)

  with C of neighbours in the batch ("adjacent"), or of all pairs under a kernel
  ("gaussian", the paper's, or "bilinear").

  Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019,
  arXiv:1904.01802. Defaults: RepDistiller's, with the weight of its form. Of
  the kernels torchdistill's weight is 0.003, where C is a root.
  Needs: an embedding of each network, of any widths.
  Costs: a linear layer on each side, both learned; "adjacent" also depends on
  the order of the batch.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the correlations.
    form: "adjacent", "gaussian" or "bilinear".
    width: of the embeddings after their linear layers.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the term `cc`.
  """
  forms = ("adjacent", "gaussian", "bilinear")
  if form not in forms:
    raise UserError(f"No form '{form}'.", exists=forms, near=form)
  adjacent = form == "adjacent"
  made = term(
    "cc_adjacent" if adjacent else "cc",
    weight=weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    heads={
      "student": head("linear", width=width),
      "teacher": head("linear", width=width),
    },
    **({} if adjacent else {"form": form}),
  )
  return [extended(stage, {"cc": made})]

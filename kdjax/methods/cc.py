"""Correlation congruence."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError

# form -> the weight that goes with the size of its values
WEIGHTS = {"adjacent": 0.02, "gaussian": 0.003, "bilinear": 0.003}


def cc(
  stage: ConfigDict,
  *,
  weight: float | None = None,
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
  arXiv:1904.01802. Defaults: RepDistiller's form and its weight. For a kernel
  they are torchdistill's: its weight, of the root of the sum over all pairs,
  divided by B^2, of embeddings that are not given length 1.
  Needs: an embedding of each network, of any widths.
  Costs: a linear layer on each side, both learned; "adjacent" also depends on
  the order of the batch.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the correlations; None is 0.02 for "adjacent" and 0.003 for a
      kernel.
    form: "adjacent", "gaussian" or "bilinear".
    width: of the embeddings after their linear layers.
    student_embedding: the student's features, an address.
    teacher_embedding: the teacher's.

  Returns:
    One stage: this one, with the term `cc`.
  """
  if form not in WEIGHTS:
    raise UserError(f"No form '{form}'.", exists=WEIGHTS, near=form)
  adjacent = form == "adjacent"
  kernel = {"form": form, "normalize": False, "reduction": "root_mean"}
  made = term(
    "cc_adjacent" if adjacent else "cc",
    weight=WEIGHTS[form] if weight is None else weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    heads={
      "student": head("linear", width=width),
      "teacher": head("linear", width=width),
    },
    **({} if adjacent else kernel),
  )
  return [extended(stage, {"cc": made})]

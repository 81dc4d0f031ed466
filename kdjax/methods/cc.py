"""CC: correlation congruence."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError

# form -> its default weight: the forms differ in scale
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
  """CC: match the correlations between the examples of a batch.

    loss = CE(student, label) + weight C(W_s student + b_s, W_t teacher + b_t)

  with C over neighbours in the batch ("adjacent"), or over all pairs with a
  kernel ("gaussian", the paper's, or "bilinear").

  Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019,
  arXiv:1904.01802. Defaults: RepDistiller's form and weight. For a kernel they
  are torchdistill's: its weight, with the root of the sum over all pairs
  divided by B^2, for embeddings that are not normalised.
  Needs: an embedding of each network; widths may differ.
  Costs: a linear layer on each side, both trained; "adjacent" also depends on
  the order of the batch.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the term; None is 0.02 for "adjacent" and 0.003 for a
      kernel.
    form: "adjacent", "gaussian" or "bilinear".
    width: width of the embeddings after the linear layers.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the term `cc`.
  """
  if form not in WEIGHTS:
    raise UserError(f"No form '{form}'.", exists=WEIGHTS, near=form)
  adjacent = form == "adjacent"
  kernel = {"form": form, "normalize": False, "reduction": "root_mean"}
  new_term = term(
    "cc_adjacent" if adjacent else "cc",
    weight=WEIGHTS[form] if weight is None else weight,
    reads={"student": student_embedding, "teacher": teacher_embedding},
    heads={
      "student": head("linear", width=width),
      "teacher": head("linear", width=width),
    },
    **({} if adjacent else kernel),
  )
  return [extended(stage, {"cc": new_term})]

"""Contrastive representation distillation."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.errors import UserError


def crd(
  stage: ConfigDict,
  *,
  weight: float = 0.8,
  memory: str = "bank",
  data_size: int = 50000,
  negatives: int = 16384,
  width: int = 128,
  temperature: float = 0.07,
  other_classes: bool = True,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
) -> list[ConfigDict]:
  """Each example's two embeddings told from those of other examples.

    loss = CE(student, label) + weight [NCE(student) + NCE(teacher)]

  with NCE over scores of one's embedding among those of the other, which are
  kept of every example ("bank"), of the newest ("queue"), or are those of the
  batch ("batch").

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699. Defaults: RepDistiller's for CIFAR-100; MST-Distill
  draws 4096 negatives.
  Needs: an index for every example, below `data_size`; any widths.
  Costs: a linear layer for each side, and for "bank" two embeddings of every
  example of the data set, in the training state: 1 KiB an example, on every
  device and for every seed.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: of the contrast.
    memory: where the negatives come from, "bank", "queue" or "batch".
    data_size: above every index of the data, for "bank" rows of the memory.
    negatives: of each example for "bank"; of all for "queue", where they are
      the rows of the memory.
    width: of the embeddings that are compared.
    temperature: what scores are divided by.
    other_classes: whether negatives known to be of the example's own class are
      left out.
    student_embedding: address.
    teacher_embedding: address.

  Returns:
    One stage: this one, with the term `crd`.
  """
  common = {"width": width, "temperature": temperature}
  if memory == "bank":
    made = head("memory_bank", size=data_size, negatives=negatives, **common)
  elif memory == "queue":
    made = head("memory_queue", size=negatives, data_size=data_size, **common)
  elif memory == "batch":
    made = head("in_batch", data_size=data_size, **common)
  else:
    exists = ("bank", "queue", "batch")
    raise UserError(f"No memory '{memory}'.", exists=exists, near=memory)
  labels = ("batch/label",) if other_classes else ()
  contrast = term(
    "crd",
    weight=weight,
    reads={
      "student": (student_embedding, "batch/index", *labels),
      "teacher": teacher_embedding,
    },
    heads={"student": made},
    group="kd",
    data_size=data_size,
  )
  return [extended(stage, {"crd": contrast})]

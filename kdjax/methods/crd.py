"""CRD: contrastive representation distillation."""

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
  """CRD: contrast student and teacher embeddings with other examples'.

    loss = CE(student, label) + weight [NCE(student) + NCE(teacher)]

  with NCE over the similarities of one network's embedding to the other
  network's: those stored for all examples ("bank"), for the newest ("queue"),
  or those of the batch ("batch").

  Tian, Krishnan and Isola, "Contrastive Representation Distillation", ICLR
  2020, arXiv:1910.10699. Defaults: RepDistiller's for CIFAR-100; MST-Distill
  draws 4096 negatives.
  Needs: example indices below `data_size`; widths may differ.
  Costs: a linear layer for each side, and for "bank" two embeddings of each
  example of the data set in the training state: 1 KiB per example, on each
  device and for each seed.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the contrastive term.
    memory: source of the negatives, "bank", "queue" or "batch".
    data_size: number of examples; rows of the memory for "bank".
    negatives: negatives per example for "bank"; rows of the memory for
      "queue".
    width: width of the embeddings that are compared.
    temperature: divisor of the similarities.
    other_classes: whether negatives with the example's label are excluded.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.

  Returns:
    One stage: `stage` with the term `crd`.
  """
  common = {"width": width, "temperature": temperature}
  if memory == "bank":
    contrast_head = head(
      "memory_bank", size=data_size, negatives=negatives, **common
    )
  elif memory == "queue":
    contrast_head = head(
      "memory_queue", size=negatives, data_size=data_size, **common
    )
  elif memory == "batch":
    contrast_head = head("in_batch", data_size=data_size, **common)
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
    heads={"student": contrast_head},
    group="kd",
    data_size=data_size,
  )
  return [extended(stage, {"crd": contrast})]

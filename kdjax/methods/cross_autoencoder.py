"""A modality's features decoded from another's, for when it is missing."""

from kdjax.config import extended, head, term
from kdjax.config.fields import ConfigDict
from kdjax.methods import _predictions


def cross_autoencoder(
  stage: ConfigDict,
  *,
  weight: float = 1.0,
  task: float = 1.0,
  labels: float = 0.0,
  code: int | None = None,
  student_embedding: str = "student/embedding",
  teacher_embedding: str = "teacher/embedding",
  classifier: tuple = (
    "teacher/params/head/kernel",
    "teacher/params/head/bias",
  ),
) -> list[ConfigDict]:
  """Decode the teacher's features; the teacher's classifier reads them at test.

    loss = weight MSE(decode(encode(student)), teacher)
           + task CE(classifier(decode(encode(student))), label)
           [+ labels CE(student, label)]

  The student reads the modality that is there at test, the teacher the one that
  is missing, or both. An example without the teacher's modality has the second
  term alone. The evaluated prediction is that of the decoded features, which
  stand for the missing modality's and do not depend on it.

  After Ngiam et al., "Multimodal Deep Learning", ICML 2011, Section 3.3: their
  autoencoder decodes both modalities from one, and is trained layer by layer.
  Defaults: weights 1, choices of this codebase; the code has half of the
  embedding's width.
  Needs: an embedding of each network, and the teacher's classifier of its own.
  Costs: three linear layers that the student keeps.

  Args:
    stage: with a network `student` and a teacher `teacher`.
    weight: weight of the distance of decoded features.
    task: weight of cross-entropy of the decoded features' predictions.
    labels: weight of cross-entropy of the student's own logits.
    code: width of the code; None is half of the embedding's.
    student_embedding: address of the student's features.
    teacher_embedding: address of the teacher's features.
    classifier: addresses of the teacher classifier's kernel and bias.

  Returns:
    One stage: `stage` with the terms `cross_autoencoder` and `decoded`, and
    with metrics of the predictions from decoded features.
  """
  decoded = "heads/cross_autoencoder/student"
  terms = {
    "cross_autoencoder": term(
      "mse",
      weight=weight,
      reads={"student": student_embedding, "teacher": teacher_embedding},
      heads={"student": head("autoencoder", code=code)},
    ),
    "decoded": term(
      "cross_entropy",
      weight=task,
      reads={"student": (decoded, *classifier)},
      heads={"student": head("classifier")},
    ),
  }
  result = extended(stage, terms, labels=labels)
  _predictions.through_classifier(result, decoded, classifier)
  return [result]

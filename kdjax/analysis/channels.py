"""Which channels of a teacher are general to both modalities (MFH)."""

import jax
import jax.numpy as jnp
import numpy as np

from kdjax.analysis._subject import STUDENT, NotApplicableError, Subject
from kdjax.heads.modality_focus import permute_valid, saliency


def channels(subject: Subject) -> dict[str, np.ndarray]:
  """Saliency of each channel of the teacher's embedding for the student.

  The saliency of a channel is the distance of the teacher's logits to those of
  the student, which has its own modality alone, with the channel permuted over
  a batch. Channels whose permutation increases the distance most are general
  to both modalities: Xue et al., "The Modality Focusing Hypothesis", ICLR 2023,
  arXiv:2206.06487, Algorithm 1. There the other network is a companion that is
  trained with the teacher; here it is the student. The method
  `modality_focusing` distils from the most general channels alone.

  Returns:
    teacher: its name.
    saliency: f64 [D], the increase of the distance: that with the channel
      permuted minus that without, mean over batches. Below 0, the teacher is
      nearer to the student without the channel.
    distance: f64 [], the mean squared distance of the logits.

  Raises:
    NotApplicableError: the teacher has no linear classifier on its embedding,
      or the student has other classes.
  """
  teacher = subject.teacher()
  kernel, bias = _classifier(subject, teacher)

  def read(flow, viewed):
    del viewed
    embedding = subject.run(flow, teacher)["embedding"].astype(jnp.float32)
    logits = subject.run(flow, STUDENT)["logits"].astype(jnp.float32)
    mask = subject.present(flow, teacher, "embedding")
    mask &= subject.present(flow, STUDENT, "logits")
    order = permute_valid(jax.random.key(0), mask)
    base, moved = (
      saliency(embedding, other, logits, kernel, bias, mask)
      for other in (embedding, embedding[order])
    )
    return base, moved, jnp.sum(mask)

  total, distance, rows = 0.0, 0.0, 0
  for (base, moved, count), _ in subject.stream(read):
    count = int(count)
    total = total + count * (np.asarray(moved, np.float64) - base)
    distance += count * float(base[0])
    rows += count
  return {
    "teacher": np.array(teacher),
    "saliency": total / max(rows, 1),
    "distance": np.array(distance / max(rows, 1)),
  }


def summary(found: dict[str, np.ndarray]) -> str:
  """How concentrated the saliency is."""
  values = np.clip(np.sort(found["saliency"])[::-1], 0, None)
  count = max(1, round(0.25 * len(values)))
  share = values[:count].sum() / max(values.sum(), 1e-12)
  return (
    f"{count} of {len(values)} channels of {found['teacher']} have"
    f" {100 * share:.0f} % of the saliency for the student."
  )


def _classifier(subject: Subject, teacher: str):
  """Kernel [D K] and bias [K] of the teacher's classifier."""
  shapes = subject.shapes(teacher)
  if not (subject.has_scores(teacher) and subject.has_scores(STUDENT)):
    raise NotApplicableError(
      f"'{teacher}' or the student of '{subject.name}' predicts no classes."
    )
  kinds = {**subject.variables["networks"], **subject.fixed.teachers}
  head = kinds[teacher].get("params", {}).get("head", {})
  wanted = (shapes["embedding"].shape[-1], shapes["logits"].shape[-1])
  kernel = head.get("kernel")
  if kernel is None or kernel.shape != wanted or "bias" not in head:
    raise NotApplicableError(
      f"'{teacher}' has no linear classifier on its embedding."
    )
  if subject.shapes(STUDENT)["logits"].shape[-1] != wanted[1]:
    raise NotApplicableError(
      f"'{teacher}' has other classes than the student of '{subject.name}'."
    )
  return kernel, head["bias"]

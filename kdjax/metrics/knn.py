"""k nearest neighbours: how well embeddings separate classes, untrained."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError
from kdjax.metrics._masking import embeddings_with_labels
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ()

# Queries per block of the similarity matrix, which bounds memory.
BLOCK = 1024


def rows(
  student: Float[Array, "B D"],
  label: Int[Array, "B"],
  mask: Bool[Array, "B"],
  *,
  k: int = 20,
  temperature: float = 0.07,
) -> dict[str, Array]:
  """The collected values of each example.

  Args:
    student: embeddings, for example `student/embedding`.
    label: the class; rows with -1 are ignored.
    mask: True for valid rows; the values of other rows are ignored.
    k: the number of neighbours that vote.
    temperature: a neighbour's vote counts exp(cosine / temperature).

  Returns:
    student: f32 [B D].
    label: i32 [B], -1 where it is not known.
    k: i32 [B] and temperature: f32 [B], the options.
  """
  if k < 1:
    raise UserError(f"k is {k}.", "Expected 1 or more neighbours.")
  return {
    **embeddings_with_labels(student, label, mask),
    "k": jnp.full(label.shape, k, jnp.int32),
    "temperature": jnp.full(label.shape, temperature, jnp.float32),
  }


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The accuracy of a vote of the nearest others of the evaluated split.

  Each example is classified by the k other examples of the split with the
  largest cosines (leave one out): no example of the training split is read. Of
  equal cosines earlier rows come first, of equal votes the smaller class. An
  embedding that is not finite is wrong and no neighbour. The cost is N^2 D
  products.

  Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance
  Discrimination", CVPR 2018, arXiv:1805.01978, Section 3.4; k of Caron et al.,
  "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021,
  arXiv:2104.14294.

  Args:
    rows: as collected, [N ..] each.

  Returns:
    knn_accuracy: NaN with fewer than two labelled rows.
  """
  known = np.asarray(rows["label"]) >= 0
  label = np.asarray(rows["label"])[known]
  if len(label) < 2:
    return {"knn_accuracy": float("nan")}
  embedding = np.asarray(rows["student"], np.float64)[known]
  finite = np.isfinite(embedding).all(axis=1)
  embedding = np.where(finite[:, None], embedding, 0.0)
  length = np.linalg.norm(embedding, axis=1, keepdims=True)
  embedding /= np.where(length == 0.0, 1.0, length)
  k = min(int(rows["k"][0]), len(label) - 1)
  temperature = float(rows["temperature"][0])
  classes = np.eye(label.max() + 1)[label]
  right = []
  for start in range(0, len(label), BLOCK):
    block = np.arange(start, min(start + BLOCK, len(label)))
    cosine = embedding[block] @ embedding.T
    cosine[:, ~finite] = -np.inf
    cosine[np.arange(len(block)), block] = -np.inf
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    near = np.take_along_axis(cosine, nearest, axis=1)
    # Relative to the nearest, so that no vote overflows.
    best = np.where(np.isfinite(near[:, :1]), near[:, :1], 0.0)
    votes = np.exp((near - best) / temperature)[:, :, None] * classes[nearest]
    right.append(votes.sum(axis=1).argmax(axis=1) == label[block])
  return {"knn_accuracy": float(np.mean(np.concatenate(right) & finite))}

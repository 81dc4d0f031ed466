"""Cross-modal retrieval: recall at k and median rank."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import UserError, same_shape
from kdjax.metrics._masking import zero_masked
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ("query_to_key_median_rank", "key_to_query_median_rank")

# Similarities in float64 that differ by less are equal up to rounding.
ROUNDING = 1e-12

# The cosine of equal embeddings is 1 up to this, the rounding of float32.
EQUAL = 1e-10

# Start of the names of rows that hold a prefix's width in their name.
PREFIX = "prefix_"

# Queries per block of the similarity matrix, which bounds memory.
BLOCK = 1024


def rows(
  query: Float[Array, "B D"],
  key: Float[Array, "B D"],
  mask: Bool[Array, "B"],
  group: Int[Array, "B"] | None = None,
  *,
  prefixes: tuple[int, ...] = (),
) -> dict[str, Array]:
  """The collected values of each example.

  Args:
    query: embeddings of one side; they are compared by cosine.
    key: embeddings of the other side; key i matches query i.
    mask: True for valid rows; the values of other rows are ignored.
    group: rows of equal value also match each other, except -1. Keys of a group
      that are equal count once, such as the image of several captions. None: a
      query matches its own key only.
    prefixes: numbers of first values of the embeddings, such as (32, 64), by
      which retrieval is measured too.

  Returns:
    query, key: f32 [B D].
    group: i32 [B], if not None.
    prefix_<d>: f32 [B], zeros; the name passes d on to `result`.

  Raises:
    UserError: a prefix is not from 1 to D.
  """
  same_shape(query=query, key=key)
  for prefix in prefixes:
    if not 1 <= prefix <= query.shape[1]:
      raise UserError(
        f"The prefix {prefix} of embeddings of width {query.shape[1]}.",
        f"Expected numbers from 1 to {query.shape[1]}.",
      )
  kept = {"query": zero_masked(mask, query), "key": zero_masked(mask, key)}
  if group is not None:
    kept["group"] = jnp.where(mask, group, -1).astype(jnp.int32)
  zeros = jnp.zeros(mask.shape, jnp.float32)
  return kept | {f"{PREFIX}{prefix}": zeros for prefix in prefixes}


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics over all rows; NaN without any.

  Keys are ranked by cosine. The rank of a query is that of its first matching
  key, from 1. Ties are pessimistic: other keys with the same cosine come first,
  so that constant embeddings have no recall. The cost is N^2 D products.

  Args:
    rows: `query` and `key` [N D], and optionally `group` [N], of all valid
      rows.

  Returns:
    query_to_key_recall_<1, 5, 10>: the fraction of queries with at most this
      rank.
    query_to_key_median_rank: the median of the ranks.
    key_to_query_...: the same for keys as queries.
    mean_recall: the mean of the six recalls.
    mean_recall_at_<d>: the same by the first d values of the embeddings, for
      each of the prefixes.
  """
  group = np.asarray(rows.get("group", np.full(len(rows["query"]), -1)))
  metrics = _metrics(rows["query"], rows["key"], group)
  for name in rows:
    if name.startswith(PREFIX):
      prefix = int(name.removeprefix(PREFIX))
      cut = (rows[side][:, :prefix] for side in ("query", "key"))
      recall = _metrics(*cut, group)["mean_recall"]
      metrics[f"mean_recall_at_{prefix}"] = recall
  return metrics


def _metrics(
  query: np.ndarray, key: np.ndarray, group: np.ndarray
) -> dict[str, float]:
  """The metrics of whole embeddings."""
  query, key = directions(query), directions(key)
  metrics = {}
  for name, ranks in (
    ("query_to_key", _ranks(query, key, group)),
    ("key_to_query", _ranks(key, query, group)),
  ):
    for k in (1, 5, 10):
      metrics[f"{name}_recall_{k}"] = _mean(ranks <= k)
    metrics[f"{name}_median_rank"] = (
      float(np.median(ranks)) if ranks.size else float("nan")
    )
  recalls = [value for name, value in metrics.items() if "recall" in name]
  return {**metrics, "mean_recall": _mean(np.array(recalls))}


def _mean(values: np.ndarray) -> float:
  return float(np.mean(values)) if values.size else float("nan")


def directions(embedding: np.ndarray) -> np.ndarray:
  """f64 [.. D]: rows normalised to length 1; zero rows stay zero."""
  embedding = np.asarray(embedding, np.float64)
  length = np.linalg.norm(embedding, axis=-1, keepdims=True)
  return embedding / np.where(length == 0.0, 1.0, length)


def _ranks(query: np.ndarray, key: np.ndarray, group: np.ndarray) -> np.ndarray:
  """int [N]: the rank of the first matching key of each query."""
  ranks, repeats = [], _repeats(key, group)
  for start in range(0, len(query), BLOCK):
    block = np.arange(start, min(start + BLOCK, len(query)))
    similarity = query[block] @ key.T
    matches = block[:, None] == np.arange(len(key))[None]
    matches |= (group[block, None] == group[None]) & (group[block, None] >= 0)
    best = np.max(np.where(matches, similarity, -np.inf), axis=1, keepdims=True)
    # Negated, so that NaN ranks before all other keys.
    behind = similarity < best - ROUNDING
    ranks.append(1 + np.sum(~behind & ~matches & ~repeats, axis=1))
  return np.concatenate(ranks) if ranks else np.zeros(0, int)


def _repeats(key: np.ndarray, group: np.ndarray) -> np.ndarray:
  """bool [N]: keys that an earlier one of their group equals, up to float32."""
  repeats = np.zeros(len(key), bool)
  order = np.argsort(group, kind="stable")
  for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
    if len(rows) > 1 and group[rows[0]] >= 0:
      equal = key[rows] @ key[rows].T > 1 - EQUAL
      repeats[rows] = np.tril(equal, -1).any(axis=1)
  return repeats

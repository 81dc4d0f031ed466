"""How well the two sides of a pair find each other: recall and median rank."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from kdjax.errors import same_shape
from kdjax.metrics._labelled import shown
from kdjax.types import Array

# Similarities, in float64, that differ by less are equal but for rounding.
ROUNDING = 1e-12

# Rows whose similarities to all others are held at once.
BLOCK = 1024


def rows(
  query: Float[Array, "B D"],
  key: Float[Array, "B D"],
  mask: Bool[Array, "B"],
  group: Int[Array, "B"] | None = None,
) -> dict[str, Array]:
  """What is kept of each example.

  Args:
    query: embeddings of one side, of any length: compared are directions.
    key: of the other side; row i belongs to row i.
    mask: rows with False count nowhere, whatever they hold.
    group: rows of equal numbers belong to each other too; -1 to none but
      their own. None: a row belongs to its own alone.

  Returns:
    query, key: f32 [B D].
    group: i32 [B], where there are groups.
  """
  same_shape(query=query, key=key)
  kept = {"query": shown(mask, query), "key": shown(mask, key)}
  if group is not None:
    kept["group"] = jnp.where(mask, group, -1).astype(jnp.int32)
  return kept


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics among all rows; nan where there is none.

  Rows are ranked by cosine. The rank of a query is that of the first key that
  belongs to it, from 1, and pessimistic: every other key that is as similar
  stands before it, so that embeddings that are all the same find nothing.

  Args:
    rows: `query` and `key` [N D], and maybe `group` [N], of the rows that
      count. It takes the time of N^2 D products.

  Returns:
    query_to_key_recall_<1, 5, 10>: the share of queries of that rank or less.
    query_to_key_median_rank: the median of the ranks.
    key_to_query_...: likewise, of the keys among the queries.
    mean_recall: of all six recalls.
  """
  query, key = _directions(rows["query"]), _directions(rows["key"])
  group = np.asarray(rows.get("group", np.full(len(query), -1)))
  found = {}
  for name, ranks in (
    ("query_to_key", _ranks(query, key, group)),
    ("key_to_query", _ranks(key, query, group)),
  ):
    for first in (1, 5, 10):
      hits = ranks <= first
      found[f"{name}_recall_{first}"] = _mean(hits)
    found[f"{name}_median_rank"] = (
      float(np.median(ranks)) if ranks.size else float("nan")
    )
  recalls = [value for name, value in found.items() if "recall" in name]
  return {**found, "mean_recall": _mean(np.array(recalls))}


def _mean(values: np.ndarray) -> float:
  return float(np.mean(values)) if values.size else float("nan")


def _directions(embedding: np.ndarray) -> np.ndarray:
  """Rows of length 1; of length 0 where they are 0."""
  embedding = np.asarray(embedding, np.float64)
  length = np.linalg.norm(embedding, axis=1, keepdims=True)
  return embedding / np.where(length == 0.0, 1.0, length)


def _ranks(query: np.ndarray, key: np.ndarray, group: np.ndarray) -> np.ndarray:
  """int [N]: the rank of the first key that belongs to each query."""
  ranks = []
  for start in range(0, len(query), BLOCK):
    at = np.arange(start, min(start + BLOCK, len(query)))
    similarity = query[at] @ key.T
    own = at[:, None] == np.arange(len(key))[None]
    own |= (group[at, None] == group[None]) & (group[at, None] >= 0)
    best = np.max(np.where(own, similarity, -np.inf), axis=1, keepdims=True)
    # As a negation: what is not a number stands before all else.
    behind = similarity < best - ROUNDING
    ranks.append(1 + np.sum(~behind & ~own, axis=1))
  return np.concatenate(ranks) if ranks else np.zeros(0, int)

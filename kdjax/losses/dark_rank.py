"""DarkRank: the ranking of a batch's examples by distance."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.losses._relations import (
  default_mask,
  masked_rows,
  squared_distances,
  valid_count,
)
from kdjax.numerics import l2_normalize
from kdjax.types import Array


def dark_rank(
  student: Float[Array, "B D *map"],
  teacher: Float[Array, "B D_teacher *map_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  scale: float = 3.0,
  power: float = 3.0,
  length: int = 4,
  normalize: bool = False,
  eps: float = 1e-12,
) -> Float[Array, ""]:
  """Matches the order of the nearest neighbours of each example.

    loss = -1/B sum_i sum_l log(exp s_il / sum_{m >= l} exp s_im)
    s_il = -scale |student_i - student_j|^power

  with j the l-th nearest neighbour of i in the teacher's features, and l and m
  from 1 to `length`. It is the negative log-likelihood of the teacher's order
  under the student, DarkRank's hard form.

  Chen, Wang and Zhang, "DarkRank: Accelerating Deep Metric Learning via Cross
  Sample Similarities Transfer", AAAI 2018, arXiv:1707.01220, Section 3.3.
  Differs from the authors' code: it follows the code of Park et al. (RKD) and
  its constants. An example is not its own neighbour; with fewer than `length`
  others in the batch, all are ranked.

  Args:
    student: features of any shape.
    teacher: features of any shape.
    mask: True for valid examples; None is all.
    scale: the paper's alpha.
    power: the paper's beta.
    length: the number of ranked neighbours.
    normalize: whether to normalise features to length 1 first. Set it unless
      the network does so itself; the powers of long features are large.
      Distances are cut off where they exceed float32, without a gradient.
    eps: the minimum squared distance of two different examples.
  """
  mask = default_mask(student, mask)
  length = min(length, student.shape[0] - 1)
  if length < 1:
    return jnp.zeros(())
  features = lambda x: (
    l2_normalize(masked_rows(x, mask)) if normalize else masked_rows(x, mask)
  )
  square = squared_distances(features(teacher), mask, eps)
  # Positive only between two different valid examples.
  nearness = jnp.where(square > 0.0, -square, -jnp.inf)
  nearest, order = jax.lax.top_k(nearness, length)
  ranked = jnp.isfinite(nearest)
  # The student's distances in this order, by a selection matrix, not a gather.
  selection = jax.nn.one_hot(order, student.shape[0], dtype=bool)
  square = squared_distances(features(student), mask, eps)
  square = jnp.sum(jnp.where(selection, square[:, None], 0.0), axis=-1)
  # The power of a longer distance, or the sum of all, is no float32.
  log_largest = 88.0 - jnp.log(8.0 * scale * order.size)
  longest = jnp.exp(jnp.minimum(2.0 / power * log_largest, 88.0))
  square = jnp.minimum(square, longest)
  score = -scale * jnp.where(ranked, square, 1.0) ** (0.5 * power)
  # Finite, because the gradient of logsumexp over -inf alone is NaN.
  score = jnp.where(ranked, score, jnp.finfo(jnp.float32).min)
  total = jax.lax.cumlogsumexp(score, axis=1, reverse=True)
  return jnp.sum(jnp.where(ranked, total - score, 0.0)) / valid_count(mask)

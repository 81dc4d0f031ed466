"""The teacher's nearest neighbours, in the student's embedding space."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from kdjax.errors import UserError
from kdjax.losses._relations import (
  default_mask,
  masked_rows,
  pair_mask,
  valid_count,
)
from kdjax.numerics import kl_divergence, l2_normalize
from kdjax.types import Array


def knn_graph(
  student: Float[Array, "B *shape"],
  teacher: Float[Array, "B *shape_teacher"],
  mask: Bool[Array, "B"] | None = None,
  *,
  k: int = 8,
  temperature: float = 0.1,
  among: str = "all",
) -> Float[Array, ""]:
  """Makes the teacher's neighbours of an example those of the student.

    loss = 1/B sum_i KL(p_i || q_i)
    p_ij = softmax_j(cos(teacher_i, teacher_j) / tau)  over j in N(i)
    q_ij = softmax_j(cos(student_i, student_j) / tau)  over j != i       "all"
                                                       over j in N(i)    "graph"

  N(i) are the k other examples of the batch with the largest cosines of the
  teacher. With "all", an example that is no neighbour is pushed away; "graph"
  compares the neighbours with each other alone. Without another example the
  loss is 0.

  Yang et al., "Distilling Knowledge from Graph Convolutional Networks", CVPR
  2020, arXiv:2003.10555, Section 3.1, the local structure of a node, with the
  graph of the teacher's neighbours in a batch.
  Differs from the authors' code: there the graph is of the data, the divergence
  is the other way round, its similarity is of distances, and "all" is not
  there.

  Args:
    student: embeddings.
    teacher: embeddings, of any width.
    mask: True for valid examples; None is all.
    k: the number of neighbours; all others, if there are fewer.
    temperature: tau, of both networks.
    among: the examples that the student's neighbours are told from, "all" or
      "graph".
  """
  if among not in ("all", "graph"):
    raise UserError(f"No among '{among}'.", exists=("all", "graph"))
  if k < 1:
    raise UserError(f"k is {k}.", "Expected 1 or more neighbours.")
  mask = default_mask(student, mask)
  others = pair_mask(mask) & ~jnp.eye(len(mask), dtype=bool)
  theirs, ours = _cosines(teacher, mask), _cosines(student, mask)
  ranked = jnp.where(others, theirs, -jnp.inf)
  _, nearest = jax.lax.top_k(ranked, min(k, len(mask)))
  near = jnp.any(jax.nn.one_hot(nearest, len(mask), dtype=bool), axis=1)
  near &= others
  log = lambda cosines, over: jax.nn.log_softmax(
    # Finite, so that a row without others is no NaN; it does not count.
    jnp.where(over, cosines / temperature, -1e30)
  )
  log_p = log(theirs, near)
  log_q = log(ours, near if among == "graph" else others)
  counts = jnp.any(near, axis=1)
  loss = jnp.where(counts, kl_divergence(log_p, log_q), 0.0)
  return jnp.sum(loss) / valid_count(counts)


def _cosines(
  x: Float[Array, "B ..."], mask: Bool[Array, "B"]
) -> Float[Array, "B B"]:
  """Cosines of every two examples; masked ones are 0."""
  x = l2_normalize(masked_rows(x, mask))
  return jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)

"""Cross-entropy for classes of which some occur far more often."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.losses._classes import is_own, labelled
from kdjax.losses._weights import counted
from kdjax.types import Array


def logit_adjustment(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  counts: Float[Array, "K"],
  *,
  strength: float = 1.0,
) -> Float[Array, "B"]:
  """Matches the student's softmax, shifted by how often classes occur.

    loss_i = -log softmax(student_i + a log pi)[y_i],  pi_k = n_k / sum_j n_j

  and 0 where y_i = -1, with a the strength. The shift belongs to the training
  set: the student's own logits then favour no class.

  Menon et al., "Long-tail learning via logit adjustment", ICLR 2021,
  arXiv:2007.07314, Eq. (10); with strength 1 the balanced softmax of Ren et
  al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020,
  arXiv:2007.10740, Theorem 1.
  Differs from the authors' code: a class of which there is none counts as one;
  that of Menon et al. adds 1e-12 to every pi^a.

  Args:
    student: logits.
    label: the class, -1 where unlabelled: no loss, and no gradient at all.
    counts: n, of the examples of each class in the training set.
    strength: a, the paper's tau; 0 is cross-entropy.
  """
  known, label, student = labelled(label, student)
  prior = jax.nn.log_softmax(jnp.log(counted(counts, student.shape[1])))
  log_q = jax.nn.log_softmax(student + strength * prior[None], axis=1)
  own = is_own(label, student)
  return jnp.where(known, -jnp.sum(jnp.where(own, log_q, 0.0), axis=1), 0.0)

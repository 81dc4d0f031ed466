"""Logit-adjusted cross-entropy for imbalanced classes."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from kdjax.losses._class_weights import class_counts
from kdjax.losses._classes import mask_unlabelled, target_mask
from kdjax.types import Array


def logit_adjustment(
  student: Float[Array, "B K"],
  label: Int[Array, "B"],
  counts: Float[Array, "K"],
  *,
  strength: float = 1.0,
) -> Float[Array, "B"]:
  """Matches the student's softmax, with logits shifted by class frequencies.

    loss_i = -log softmax(student_i + a log pi)[y_i],  pi_k = n_k / sum_j n_j

  and 0 where y_i = -1, with a the strength. The shift absorbs the class prior
  of the training set, so that the student's logits favour no class.

  Menon et al., "Long-tail learning via logit adjustment", ICLR 2021,
  arXiv:2007.07314, Eq. (10); with strength 1 the balanced softmax of Ren et
  al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020,
  arXiv:2007.10740, Theorem 1.
  Differs from the authors' code: a class without examples counts as one with 1
  example; the code of Menon et al. adds 1e-12 to each pi^a.

  Args:
    student: logits.
    label: the class; -1 if unlabelled, which gives no loss and no gradient.
    counts: n, the number of training examples of each class.
    strength: a, the paper's tau; 0 is cross-entropy.
  """
  labelled, label, student = mask_unlabelled(label, student)
  prior = jax.nn.log_softmax(jnp.log(class_counts(counts, student.shape[1])))
  log_q = jax.nn.log_softmax(student + strength * prior[None], axis=1)
  is_target = target_mask(label, student)
  loss = -jnp.sum(jnp.where(is_target, log_q, 0.0), axis=1)
  return jnp.where(labelled, loss, 0.0)

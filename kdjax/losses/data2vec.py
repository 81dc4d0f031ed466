"""data2vec: the averaged, normalized hidden states of a teacher."""

import jax.numpy as jnp
from jaxtyping import Float

from kdjax.errors import ShapeError, UserError, same_shape
from kdjax.numerics import safe_abs
from kdjax.types import Array


def data2vec(
  student: Float[Array, "B T D"],
  teacher: tuple[Float[Array, "B T D"], ...],
  *,
  delta: float = 1.0,
  epsilon: float = 1e-5,
) -> Float[Array, "B T"]:
  """Matches a prediction with the mean of a teacher's last blocks.

    loss_it = 1/D sum_d h(student_itd - y_itd)
    y_it    = 1/N sum_n norm(teacher_n,it)
    norm(v) = (v - mean v) / sqrt(var v + e)
    h(r)    = r^2 / (2 d)  where |r| <= d,  |r| - d / 2  elsewhere

  with mean and variance over the D values of a position, d = delta and
  e = epsilon.
  As pretraining the student is a linear head on the tokens of a masked view,
  the teacher the moving average of the student on the whole view, and the
  term's `mask` what was hidden.

  Baevski et al., "data2vec: A General Framework for Self-supervised Learning in
  Speech, Vision and Language", ICML 2022, arXiv:2202.03555, Section 3.3.
  Differs from the authors' code: not compared with it. The paper averages the
  outputs of MLPs before the last residual sum, this those of whole blocks;
  delta is the paper's beta, which has a value for each modality there.

  Args:
    student: predictions for all positions.
    teacher: outputs of the last blocks.
    delta: the difference up to which the loss is quadratic, > 0.
    epsilon: added to the variance.
  """
  if not teacher:
    raise UserError(
      "The loss 'data2vec' got no outputs of the teacher.",
      "Expected those of one block or more.",
    )
  widths = {block.shape for block in teacher}
  if len(widths) > 1:
    raise ShapeError(
      f"The teacher's blocks are {', '.join(map(str, sorted(widths)))}.",
      "Expected equal shapes.",
    )
  same_shape(student=student, teacher=teacher[0])
  target = sum(_normalized(block, epsilon) for block in teacher) / len(teacher)
  gap = safe_abs(student.astype(jnp.float32) - target)
  small = jnp.minimum(gap, delta)
  return jnp.mean(small**2 / (2.0 * delta) + (gap - small), axis=-1)


def _normalized(
  x: Float[Array, "B T D"], epsilon: float
) -> Float[Array, "B T D"]:
  """Each position with mean 0 and variance 1, in float32."""
  x = x.astype(jnp.float32)
  x -= jnp.mean(x, axis=-1, keepdims=True)
  return x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + epsilon)

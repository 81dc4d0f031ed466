"""Patches that a view shows: only they are computed."""

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from kdjax.errors import ShapeError
from kdjax.types import Array


def chosen(
  x: Float[Array, "B P D"],
  hidden: Bool[Array, "B P"],
  count: int,
  valid: Bool[Array, "B P"] | None = None,
) -> tuple[Float[Array, "B V D"], Bool[Array, "B V"], Int[Array, "B V"]]:
  """The first `count` visible patches of each example, in their order.

  He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022,
  arXiv:2111.06377, Section 3: the encoder sees a small subset of the patches,
  which have their position embeddings already.

  Args:
    x: all patches.
    hidden: True at those that are not to be seen.
    count: V. An example with more visible patches loses its last ones.
    valid: False at padding; None is True.

  Returns:
    The patches, 0 where an example has fewer; True at patches; and the number
    of each in x, P where it is none.

  Raises:
    ShapeError: `hidden` is of other patches, or count is above P.
  """
  B, P, _ = x.shape
  if hidden.shape != (B, P):
    raise ShapeError(
      f"The network has {P} patches, the view hides some of"
      f" {hidden.shape[-1]}.",
      "Give the transform the network's `patch`, and the network a `stride`"
      " of `patch` if it has one.",
    )
  if count > P:
    raise ShapeError(
      f"The network has visible={count} and {P} patches.",
      f"Expected at most {P}.",
    )
  seen = ~hidden if valid is None else valid & ~hidden
  places = jnp.argsort(~seen, axis=1, stable=True)[:, :count]
  seen = jnp.take_along_axis(seen, places, axis=1)
  x = jnp.take_along_axis(x, places[..., None], axis=1)
  x = jnp.where(seen[..., None], x, 0)
  return x, seen, jnp.where(seen, places, P).astype(jnp.int32)

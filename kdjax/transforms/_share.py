"""The share of an example in a mixture with a partner."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Key

from kdjax.types import Array

# Below it, the gamma variates of a Beta draw are 0 in float32.
_LEAST = 1e-3


def share_of(
  key: Key[Array, ""], concentration: float | Float[Array, ""]
) -> Float[Array, ""]:
  """A draw of Beta(concentration, concentration); 1 if concentration is 0."""
  safe = jnp.maximum(jnp.asarray(concentration, jnp.float32), _LEAST)
  return jnp.where(
    concentration > 0.0, jax.random.beta(key, safe, safe), 1.0
  ).astype(jnp.float32)

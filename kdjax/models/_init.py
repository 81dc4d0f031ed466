"""Parameter initializers of the reference implementations.

PyTorch's kernels are [out in/groups H W], Flax's [H W in/groups out]. The fans
are equal: fan_in is H W in/groups and fan_out is H W out, with groups too.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

# PyTorch's default for convolutions and linear layers: `kaiming_uniform` with
# a=sqrt(5), which is uniform within +-1/sqrt(fan_in).
PYTORCH = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

# He et al., "Delving deep into rectifiers", ICCV 2015, arXiv:1502.01852,
# Eq. (14): normal with variance 2/fan_out.
HE_NORMAL = nn.initializers.variance_scaling(2, "fan_out", "normal")

# For the classifiers of VGG and MobileNetV2.
SMALL = nn.initializers.normal(0.01)


def pytorch_bias(fan_in: int) -> Callable:
  """PyTorch's default for biases: uniform within +-1/sqrt(fan_in)."""
  bound = fan_in**-0.5

  def init(key, shape, dtype):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def dense(x: jax.Array, width: int, name: str, **options) -> jax.Array:
  """A linear layer with PyTorch's initialization.

  Call it inside an `nn.compact` method; it creates the parameters.

  Args:
    x: [... D].
    width: output size.
    name: of the parameters.
    options: of `nn.Dense`; they may replace the initializers.
  """
  default = {"kernel_init": PYTORCH, "bias_init": pytorch_bias(x.shape[-1])}
  return nn.Dense(width, name=name, **{**default, **options})(x)

"""How the reference implementations start their parameters.

PyTorch's kernels are [out in/groups H W], Flax's [H W in/groups out]; the fans
are the same: fan_in is H W in/groups, and fan_out is H W out, of a grouped
convolution too.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

# PyTorch's own, of convolutions and linear layers: `kaiming_uniform(sqrt(5))`,
# which is uniform within +-1/sqrt(fan_in).
PYTORCH = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

# He et al., "Delving deep into rectifiers", ICCV 2015, arXiv:1502.01852,
# Eq. (14): normal with variance 2/fan_out.
HE_NORMAL = nn.initializers.variance_scaling(2, "fan_out", "normal")

# Of a classifier, in VGG and MobileNetV2.
SMALL = nn.initializers.normal(0.01)


def pytorch_bias(fan_in: int) -> Callable:
  """PyTorch's own biases: uniform within +-1/sqrt(fan_in) of their kernel."""
  bound = fan_in**-0.5

  def init(key, shape, dtype):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def dense(x: jax.Array, width: int, name: str, **options) -> jax.Array:
  """A linear layer that starts as PyTorch's.

  Called inside of a network's `nn.compact` method, whose parameters it makes.

  Args:
    x: [... D].
    width: how many numbers come out.
    name: of the parameters.
    options: of `nn.Dense`, which may say another start.
  """
  given = {"kernel_init": PYTORCH, "bias_init": pytorch_bias(x.shape[-1])}
  return nn.Dense(width, name=name, **{**given, **options})(x)

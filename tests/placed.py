"""What is placed on devices, as a test looks at it."""

import numpy as np


def collected(placement, tree):
  """A whole batch of one group, of all devices."""
  axis = 1 if placement.stacked else 0
  if placement.kind == "mesh":
    return {key: np.asarray(leaf) for key, leaf in tree.items()}
  return {
    key: np.concatenate(list(np.asarray(leaf)), axis=axis)
    for key, leaf in tree.items()
  }

"""Which classes have no example in a split."""

from collections.abc import Mapping, Sequence

import numpy as np

# Classes that are named in a sentence.
_NAMED = 5


def absent(names: Sequence[str], labels: Mapping[str, np.ndarray]) -> list[str]:
  """A sentence for each split in which a class has no example.

  Args:
    names: of the classes.
    labels: split -> [N] or [N K] labels; a split without any is passed over.
  """
  sentences = []
  for split, values in labels.items():
    if values.ndim == 2:
      present = (values > 0).any(axis=0)[: len(names)]
      labelled = bool((values >= 0).any())
    else:
      known = values[(values >= 0) & (values < len(names))]
      present = np.bincount(known, minlength=len(names)) > 0
      labelled = bool(len(known))
    missing = [names[row] for row in np.flatnonzero(~present)]
    if labelled and missing:
      more = len(missing) - _NAMED
      listed = ", ".join(f"'{name}'" for name in missing[:_NAMED])
      listed += f" and {more} more" if more > 0 else ""
      sentences.append(
        f"No example of the split '{split}' has the class {listed}, of"
        f" {len(names)} classes."
      )
  return sentences

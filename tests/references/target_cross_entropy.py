"""mixup, Zhang et al. 2018, Section 2: a cross-entropy with soft labels."""

import numpy as np

OPTIONS = ({"label_smoothing": 0.1},)


def target_cross_entropy(student, target, *, label_smoothing=0.0):
  """Of each example the two cross-entropies: with its target, and uniform."""
  losses = []
  for logits, wanted in zip(student, target, strict=True):
    log_z = logits.max() + np.log(np.exp(logits - logits.max()).sum())
    own = sum(p * (log_z - x) for p, x in zip(wanted, logits, strict=True))
    uniform = np.mean(log_z - logits) * sum(wanted)
    losses.append((1 - label_smoothing) * own + label_smoothing * uniform)
  return np.array(losses)

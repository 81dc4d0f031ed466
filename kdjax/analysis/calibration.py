"""Calibration before and after temperature scaling."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy import optimize, special

from kdjax.analysis._subject import NotApplicableError, Subject
from kdjax.metrics import calibration as metric

# Bins of the reliability diagram, and the temperatures that are searched.
BINS, LEAST, MOST = 15, 0.02, 50.0


def nll(
  logits: Float[np.ndarray, "N K"],
  label: Int[np.ndarray, "N"],
  temperature: float = 1.0,
) -> float:
  """The mean negative log-likelihood of labels, in nats."""
  scaled = np.asarray(logits, np.float64) / temperature
  chosen = np.take_along_axis(scaled, np.asarray(label)[:, None], 1)[:, 0]
  return float(np.mean(special.logsumexp(scaled, axis=1) - chosen))


def temperature(
  logits: Float[np.ndarray, "N K"], label: Int[np.ndarray, "N"]
) -> float:
  """The temperature T with the least NLL of softmax(logits / T).

  Guo et al., "On Calibration of Modern Neural Networks", ICML 2017,
  arXiv:1706.04599, Section 4.2. The NLL is convex in 1 / T, so that its only
  minimum is found; predicted classes do not change.

  Args:
    logits: of validation examples.
    label: their classes.

  Returns:
    T, from 0.02 to 50.
  """
  found = optimize.minimize_scalar(
    lambda log: nll(logits, label, np.exp(log)),
    bounds=(np.log(LEAST), np.log(MOST)),
    method="bounded",
    options={"xatol": 1e-6},
  )
  return float(np.exp(found.x))


def calibration(subject: Subject) -> dict[str, np.ndarray]:
  """Reliability of student and teachers, before and after scaling.

  T is fitted on validation examples; the rest is of as many test examples.

  Returns:
    networks: their names. count: test examples. For each network:
    <network>/temperature: f64 []; <network>/nll and <network>/ece: f64 [2],
    before and after; <network>/confidence, /accuracy, /rows: f64 [2 bins], as
    in the metric `calibration`.

  Raises:
    NotApplicableError: no network predicts labelled classes.
  """
  networks = [it for it in subject.networks if subject.has_scores(it)]

  def read(flow, viewed):
    del viewed
    return {
      name: subject.run(flow, name)["logits"].astype(jnp.float32)
      for name in networks
    }

  splits = {
    split: subject.collect(read, split) for split in ("validation", "test")
  }
  result, fitted = {}, []
  for name in networks:
    found = {split: _labelled(it, name) for split, it in splits.items()}
    if not all(len(label) for _, label in found.values()):
      continue
    fitted.append(name)
    best = temperature(*found["validation"])
    logits, label = found["test"]
    measured = [_measured(logits / scale, label) for scale in (1.0, best)]
    result[f"{name}/temperature"] = np.array(best)
    for key in measured[0]:
      result[f"{name}/{key}"] = np.stack([it[key] for it in measured])
    result["count"] = np.array(len(label))
  if not fitted:
    raise NotApplicableError(
      f"No network of the stage '{subject.name}' predicts labelled classes."
    )
  return {"networks": np.array(fitted), **result}


def summary(found: dict[str, np.ndarray]) -> str:
  """T, and the calibration error before and after."""
  parts = []
  for name in found["networks"]:
    before, after = found[f"{name}/ece"]
    best = float(found[f"{name}/temperature"])
    parts.append(f"{name}: T = {best:.2f}, ECE {before:.3f} to {after:.3f}")
  return f"{'; '.join(parts)} on {int(found['count'])} test examples."


def _labelled(found, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Logits and labels of the labelled rows."""
  logits = found[name]
  label = found.get("label", np.full(len(logits), -1))
  known = (label >= 0) & (label < logits.shape[1])
  return logits[known], label[known]


def _measured(logits, label) -> dict[str, np.ndarray]:
  mask = jnp.ones(len(label), bool)
  sums = metric.sums(jnp.asarray(logits), jnp.asarray(label), mask, bins=BINS)
  found = metric.result({key: np.asarray(it) for key, it in sums.items()})
  return {
    "nll": np.array(nll(logits, label)),
    "ece": np.array(found["ece"]),
    "confidence": found["reliability_confidence"],
    "accuracy": found["reliability_accuracy"],
    "rows": found["reliability_count"],
  }

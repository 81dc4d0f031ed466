"""The interval of a gain over test examples and seeds, by a paired bootstrap.

Student's interval of a gain over seeds holds for these test examples. Here the
examples are drawn anew as well: each resample draws N of the N test examples,
the same for both stages and all seeds, and S - 1 of the S seeds, both with
replacement. S of S seeds would have a variance that is too small by the factor
(S - 1) / S (Rao and Wu, "Resampling inference with complex survey data", JASA,
1988). Examples and seeds are drawn independently of each other, as in Owen,
"The pigeonhole bootstrap", Annals of Applied Statistics, 2007, arXiv:0712.1111,
whose variance is too large rather than too small.

Percentiles of few seeds are too narrow: the interval is the gain plus and minus
the deviation V^(1/2) of the resamples times a quantile of Student's t. Its
degrees of freedom are those of Welch and Satterthwaite, of V as the sum of the
variance of the mean over seeds, s^2 / S, and a rest of N examples.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from kdjax.report import example_scores
from kdjax.report.example_scores import Scores
from kdjax.report.intervals import COVERAGE
from kdjax.report.records import Record

RESAMPLES = 1000

# More examples are not resampled: their weights take a byte per resample.
EXAMPLES = 100_000

# Numbers of the weights that are floats at the same time.
AT_ONCE = 4_000_000

# The metric of stored predictions may differ so much from that of result.json,
# which was computed in float32.
TOLERANCE = 1e-3


class Bootstrap:
  """The intervals of gains; the predictions of a stage are read once.

  Args:
    records: name -> a run.
  """

  def __init__(self, records: Mapping[str, Record]):
    self.records = dict(records)
    self._resampled = functools.cache(self._read)

  def gain(
    self, better: tuple[str, str], worse: tuple[str, str], metric: str
  ) -> dict[str, Any] | None:
    """The interval of the difference of two stages.

    Args:
      better: run and stage.
      worse: run and stage.
      metric: of which the difference is taken.

    Returns:
      interval: [low, high], `COVERAGE` of the resamples; examples, seeds: how
      many there are; resamples. None where predictions are not stored, or are
      of other examples, and for a metric that they do not have.
    """
    one, other = (self._resampled(*it, metric) for it in (better, worse))
    if one is None or other is None or not np.array_equal(one[1], other[1]):
      return None
    common = [it for it in one[0] if it in other[0]]
    if not common:
      return None
    values = [
      of_seeds[[seeds.index(it) for it in common]]
      for seeds, _, of_seeds in (one, other)
    ]
    examples = len(one[1])
    return {
      "interval": [*interval(values[0] - values[1], examples)],
      "examples": examples,
      "seeds": len(common),
      "resamples": RESAMPLES,
    }

  def _read(
    self, run: str, stage: str, metric: str
  ) -> tuple[list[int], np.ndarray, np.ndarray] | None:
    """The seeds, the sorted indices, and the metric [S 1 + R] of a stage."""
    arrays = self.records[run].arrays(stage)
    scores = example_scores.of(arrays, metric) if arrays else None
    if scores is None or not 0 < len(scores.index) <= EXAMPLES:
      return None
    result = self.records[run].results[stage]
    known = np.asarray(result["test"]["best"].get(metric, ()), np.float64)
    again = scores.metric()
    # The option of a metric, a threshold say, may make it another one.
    if again.shape != known.shape or not np.allclose(
      again, known, rtol=TOLERANCE, atol=TOLERANCE
    ):
      return None
    order = np.argsort(scores.index, kind="stable")
    drawn = resampled(scores, np.argsort(order))
    values = np.concatenate([again[:, None], drawn], axis=1)
    return list(result["seeds"]), scores.index[order], values


def interval(
  differences: Float[np.ndarray, "S R"], examples: int
) -> tuple[float, float]:
  """The interval of the mean difference over seeds and examples.

  Args:
    differences: of every seed: first on all examples, then on those of every
      resample.
    examples: their number.
  """
  of_seeds, resamples = differences[:, 0], differences[:, 1:]
  S, R = resamples.shape
  drawn = np.random.default_rng(1).integers(S, size=(max(S - 1, 1), R))
  means = np.take_along_axis(resamples, drawn, axis=0).mean(axis=0)
  over_seeds = of_seeds.var(ddof=1) / S if S > 1 else 0.0
  # That of the resamples is at least the one over seeds, up to its own error.
  variance = max(means.var(ddof=1), over_seeds)
  rest = variance - over_seeds
  spread = over_seeds**2 / max(S - 1, 1) + rest**2 / max(examples - 1, 1)
  half = 0.0
  if variance > 0:
    freedom = variance**2 / spread
    half = special.stdtrit(freedom, (1 + COVERAGE) / 2) * variance**0.5
  mean = of_seeds.mean()
  return float(mean - half), float(mean + half)


def resampled(
  scores: Scores, place: Int[np.ndarray, "N"]
) -> Float[np.ndarray, "S R"]:
  """The metric of every seed on the examples of every resample.

  Args:
    scores: of a stage.
    place: of each example among the sorted ones; stages with the same examples
      have the same resamples.
  """
  weights = _weights(len(place))
  rows = max(1, AT_ONCE // len(place))
  parts = [
    scores.resampled(weights[start : start + rows, place].astype(np.float32))
    for start in range(0, len(weights), rows)
  ]
  return np.concatenate(parts, axis=1)


@functools.lru_cache(maxsize=1)
def _weights(count: int) -> np.ndarray:
  """How often each resample draws each example, u8 [R N]."""
  rng = np.random.default_rng(0)
  draws = (rng.integers(count, size=count) for _ in range(RESAMPLES))
  return np.stack(
    [np.bincount(it, minlength=count).astype(np.uint8) for it in draws]
  )

"""Metrics of written texts equal public implementations on random texts."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from kdjax.errors import ShapeError
from kdjax.metrics import _texts, captions, perplexity

WORDS, LENGTH, UNKNOWN = 12, 9, 1


def texts(rows, references, seed=0, least=1):
  """Ids of generated texts [B L] and of their references [B K L].

  Each is partly its first reference, so that long n-grams match too.
  """
  random = np.random.default_rng(seed)
  ids = random.integers(2, WORDS, size=(rows, references + 1, LENGTH))
  ids[:, 0] = np.where(
    random.random((rows, LENGTH)) < 0.6, ids[:, 1], ids[:, 0]
  )
  length = random.integers(least, LENGTH + 1, size=(rows, references + 1, 1))
  ids = np.where(np.arange(LENGTH) < length, ids, 0)
  return ids[:, 0], ids[:, 1:]


def measured(generated, reference, **more):
  options = {key: more.pop(key) for key in ("unknown",) if key in more}
  mask = more.pop("mask", np.ones(len(generated), bool))
  rows = captions.rows(
    jnp.asarray(generated), jnp.asarray(reference), jnp.asarray(mask),
    **more, **options,
  )  # fmt: skip
  return captions.result(
    {key: np.asarray(value)[mask] for key, value in rows.items()}
  )


def sentence(ids):
  """Ids as words, as the public programs read them."""
  return " ".join(f"w{it}" for it in itertools.takewhile(bool, ids))


def sentences(generated, reference):
  """{row: [text]} of both, without empty references."""
  return (
    {row: [sentence(ids)] for row, ids in enumerate(generated)},
    {
      row: [sentence(ids) for ids in its if ids.any()]
      for row, its in enumerate(reference)
    },
  )


CASES = [(30, 1, 0), (30, 4, 1), (7, 2, 2), (200, 1, 3)]


@pytest.mark.parametrize(("rows", "references", "seed"), CASES)
def test_cider_d_is_that_of_pycocoevalcap(rows, references, seed):
  cider = pytest.importorskip(
    "pycocoevalcap.cider.cider", reason='pip install -e ".[parity]"'
  )
  found, known = sentences(*texts(rows, references, seed))
  mean, each = cider.Cider().compute_score(known, found)
  result = measured(*texts(rows, references, seed))
  # Its scores have the factor 10 already.
  np.testing.assert_allclose(result["cider_d"], mean, rtol=1e-6)
  own = _texts.cider_d(
    [found[row][0].split() for row in found],
    [[it.split() for it in known[row]] for row in known],
  )
  np.testing.assert_allclose(own, each, rtol=1e-6, atol=1e-9)
  assert len(set(np.round(own, 6))) > 2


@pytest.mark.parametrize(("rows", "references", "seed"), CASES)
def test_rouge_l_is_that_of_pycocoevalcap(rows, references, seed):
  rouge = pytest.importorskip(
    "pycocoevalcap.rouge.rouge", reason='pip install -e ".[parity]"'
  )
  found, known = sentences(*texts(rows, references, seed))
  mean, _ = rouge.Rouge().compute_score(known, found)
  result = measured(*texts(rows, references, seed))
  np.testing.assert_allclose(result["rouge_l"], mean, rtol=1e-6)


@pytest.mark.parametrize(("rows", "references", "seed"), CASES)
def test_bleu_is_that_of_its_formula(rows, references, seed):
  """Papineni et al., 2002: clipped n-grams of the corpus, brevity penalty."""
  generated, reference = texts(rows, references, seed)
  matches, totals, own, closest = np.zeros(4), np.zeros(4), 0, 0
  for ids, its in zip(generated, reference, strict=True):
    text = [*itertools.takewhile(bool, ids)]
    known = [[*itertools.takewhile(bool, it)] for it in its]
    own += len(text)
    closest += min((abs(len(it) - len(text)), len(it)) for it in known)[1]
    for n in range(1, 5):
      grams = [tuple(text[at : at + n]) for at in range(len(text) - n + 1)]
      totals[n - 1] += len(grams)
      for gram in set(grams):
        most = max(
          sum(tuple(it[at : at + n]) == gram for at in range(len(it) - n + 1))
          for it in known
        )
        matches[n - 1] += min(grams.count(gram), most)
  assert matches.all()
  expected = math.exp(np.mean(np.log(matches / totals)))
  expected *= math.exp(min(0.0, 1.0 - closest / own))
  result = measured(generated, reference)
  np.testing.assert_allclose(result["bleu4"], expected, rtol=1e-6)


def test_what_is_right_has_the_best_values():
  generated, reference = texts(40, 3, 4, least=5)
  result = measured(reference[:, 1], reference[:, 1:2])
  assert result["exact_match"] == result["rouge_l"] == 1.0
  np.testing.assert_allclose(result["bleu4"], 1.0)
  np.testing.assert_allclose(result["cider_d"], 10.0, rtol=1e-6)
  worse = measured(generated, reference)
  assert all(worse[key] < result[key] for key in result)
  # One reference of several is enough.
  assert measured(reference[:, 2], reference)["exact_match"] == 1.0


def test_an_unknown_word_equals_no_other_token():
  generated = np.array([[3, UNKNOWN, 4, 5, 6, 0]])
  assert measured(generated, generated)["exact_match"] == 0.0
  assert measured(generated, generated, unknown=-1)["exact_match"] == 1.0
  # As raw words, of which each unknown one is another.
  result = measured(generated, np.array([[3, UNKNOWN, 4, 5, 6, 0]]))
  other = measured(generated, np.array([[3, 9, 4, 5, 6, 0]]))
  for key, value in result.items():
    np.testing.assert_allclose(value, other[key])


def test_rows_of_a_group_are_one_example_with_all_references():
  generated, reference = texts(24, 3, 5)
  apart = measured(
    np.repeat(generated, 3, axis=0),
    reference.reshape(-1, LENGTH),
    group=jnp.repeat(jnp.arange(24), 3),
  )
  together = measured(generated, reference)
  for key, value in together.items():
    np.testing.assert_allclose(apart[key], value, rtol=1e-9)
  alone = measured(generated, reference, group=jnp.full(24, -1))
  assert alone == together


def test_empty_texts_and_references_without_any_are_counted_as_they_are():
  generated, reference = texts(20, 2, 6)
  generated[0] = 0
  reference[1, 1] = 0  # one reference is left
  reference[2] = 0  # none: the example does not count
  result = measured(generated, reference)
  kept = np.arange(20) != 2
  assert result == measured(generated, reference, mask=kept)
  assert all(np.isfinite(value) for value in result.values())


def test_texts_that_are_no_ids_of_texts_are_an_error():
  generated, _ = texts(4, 1)
  with pytest.raises(ShapeError, match="Expected ids"):
    captions.rows(jnp.asarray(generated), jnp.zeros(4, int), jnp.ones(4, bool))
  with pytest.raises(ShapeError, match="Expected logits"):
    perplexity.sums(
      jnp.zeros((4, 5)), jnp.asarray(generated), jnp.ones(4, bool)
    )


def test_perplexity_counts_tokens_and_the_end():
  random = np.random.default_rng(7)
  text, _ = texts(12, 1, 7)
  text[0] = 0  # an empty text has no tokens
  logits = random.normal(0, 2, size=(*text.shape, WORDS)).astype(np.float32)
  mask = np.arange(12) != 3
  losses, right = [], []
  for row in np.flatnonzero(mask):
    length = int(np.sum(text[row] != 0))
    for place in range(min(length + 1, LENGTH) if length else 0):
      log_p = scipy.special.log_softmax(logits[row, place].astype(float))
      losses.append(-log_p[text[row, place]])
      right.append(log_p.argmax() == text[row, place])
  logits[3] = np.nan
  sums = perplexity.sums(
    jnp.asarray(logits), jnp.asarray(text), jnp.asarray(mask)
  )
  result = perplexity.result({key: np.asarray(it) for key, it in sums.items()})
  np.testing.assert_allclose(result["token_nll"], np.mean(losses), rtol=1e-5)
  np.testing.assert_allclose(
    result["perplexity"], np.exp(np.mean(losses)), rtol=1e-5
  )
  np.testing.assert_allclose(result["token_accuracy"], np.mean(right))

"""Scores of generated texts against references: CIDEr-D and ROUGE-L.

Texts are sequences of tokens, of any type that can be compared and hashed.
"""

import collections
import math
from collections.abc import Mapping, Sequence

Text = Sequence[int]

# The longest n-gram of CIDEr-D, and the width of its penalty of lengths.
LONGEST, SIGMA = 4, 6.0

# How much more ROUGE-L weighs recall than precision.
BETA = 1.2


def cider_d(
  generated: Sequence[Text], references: Sequence[Sequence[Text]]
) -> list[float]:
  """CIDEr-D of each text, from 0 to 10.

    g_n(c) = count of n-gram in c * log(N / max(1, examples whose references
    have it)), one vector over n-grams for each n;

    10 / 4 sum_n mean_r exp(-(l_c - l_r)^2 / (2 sigma^2))
      min(g_n(c), g_n(r)) . g_n(r) / (|g_n(c)| |g_n(r)|),  0 for norms of 0

  Vedantam et al., "CIDEr: Consensus-based Image Description Evaluation", CVPR
  2015, arXiv:1411.5726, equations 2 to 4, with CIDEr-D's clipping and penalty
  of Section 7. Like the authors' code (pycocoevalcap), the lengths l are those
  in bigrams, and a text is not stemmed. The frequencies are those of the
  references that are passed: values of two sets of examples do not compare, and
  of a single example all are 0. A text of fewer than four tokens has no n-grams
  of some n, so that its best value is below 10: 5 for two tokens.

  Args:
    generated: one text of each of the N examples.
    references: at least one text of each.
  """
  counts = [[_ngrams(text) for text in texts] for texts in references]
  frequency = collections.Counter(
    gram for texts in counts for gram in set().union(*texts)
  )
  examples = math.log(max(len(counts), 1))

  def vector(grams: Mapping[tuple, int]) -> list[dict[tuple, float]]:
    by_length: list[dict[tuple, float]] = [{} for _ in range(LONGEST)]
    for gram, count in grams.items():
      rarity = examples - math.log(max(1, frequency[gram]))
      by_length[len(gram) - 1][gram] = count * rarity
    return by_length

  scores = []
  for text, texts, grams in zip(generated, references, counts, strict=True):
    own, total = vector(_ngrams(text)), 0.0
    for other, its_grams in zip(texts, grams, strict=True):
      apart = max(len(text) - 1, 0) - max(len(other) - 1, 0)
      penalty = math.exp(-(apart**2) / (2 * SIGMA**2))
      total += penalty * sum(map(_clipped_cosine, own, vector(its_grams)))
    scores.append(10 * total / (LONGEST * len(texts)))
  return scores


def rouge_l(
  generated: Sequence[Text], references: Sequence[Sequence[Text]]
) -> list[float]:
  """ROUGE-L of each text, from 0 to 1.

    (1 + beta^2) P R / (R + beta^2 P), 0 where P or R is 0; P and R are the
    largest over the references of LCS / l_c and LCS / l_r

  Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", ACL Workshop
  2004, equations 2 to 4, with beta 1.2 as in pycocoevalcap, which takes both
  maxima by themselves.

  Args:
    generated: one text of each of the N examples.
    references: at least one text of each.
  """
  scores = []
  for text, texts in zip(generated, references, strict=True):
    common = [_common(text, other) for other in texts]
    precision = max(common) / max(len(text), 1)
    recall = max(
      it / max(len(other), 1) for it, other in zip(common, texts, strict=True)
    )
    both = precision * recall
    whole = recall + BETA**2 * precision
    scores.append((1 + BETA**2) * both / whole if both else 0.0)
  return scores


def _ngrams(text: Text) -> collections.Counter:
  return collections.Counter(
    tuple(text[start : start + n])
    for n in range(1, LONGEST + 1)
    for start in range(len(text) - n + 1)
  )


def _clipped_cosine(
  own: Mapping[tuple, float], other: Mapping[tuple, float]
) -> float:
  """min(own, other) . other, over the product of both norms."""
  norms = [math.sqrt(sum(it**2 for it in one.values())) for one in (own, other)]
  if not all(norms):
    return 0.0
  common = (min(own[it], other[it]) * other[it] for it in own if it in other)
  return sum(common) / (norms[0] * norms[1])


def _common(one: Text, other: Text) -> int:
  """The length of the longest common subsequence."""
  lengths = [0] * (len(other) + 1)
  for token in one:
    diagonal = 0
    for place, its in enumerate(other, start=1):
      above = lengths[place]
      lengths[place] = (
        diagonal + 1 if token == its else max(above, lengths[place - 1])
      )
      diagonal = above
  return lengths[-1]

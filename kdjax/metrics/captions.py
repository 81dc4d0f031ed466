"""Generated texts against references: BLEU-4, CIDEr-D, ROUGE-L, exact match."""

import itertools
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from kdjax.errors import ShapeError, UserError
from kdjax.metrics import _texts
from kdjax.types import Array

# The metrics of which a lower value is better.
LOWER = ()

# Start of the name of the rows that holds the id of unknown words.
UNKNOWN = "unknown_"


def rows(
  generated: Int[Array, "B L"],
  reference: Int[Array, "B *K T"],
  mask: Bool[Array, "B"],
  group: Int[Array, "B"] | None = None,
  *,
  unknown: int = 1,
) -> dict[str, Array]:
  """The collected values of each example.

  A text ends before its first id 0.

  Args:
    generated: token ids of the text that a network wrote.
    reference: token ids of a text that is right, or of K such texts, of which
      empty ones are none. An example without a reference is ignored.
    mask: True for valid rows; the values of other rows are ignored.
    group: rows of equal value are one example, with the references of all and
      the generated text of the first, except -1: such as the rows of an image
      with several captions. None: each row is an example.
    unknown: the id of unknown words, each of which differs from all other
      tokens; -1 is none.

  Returns:
    generated: i32 [B L], 0 in masked rows.
    reference: i32 [B K T], 0 in masked rows; K is 1 for one text.
    group: i32 [B], if not None; -1 in masked rows.
    unknown_<id>: f32 [B], zeros; the name passes the id on to `result`.
  """
  if generated.ndim != 2 or reference.ndim not in (2, 3):
    raise ShapeError(
      f"The generated texts are {list(generated.shape)} and the references"
      f" {list(reference.shape)}.",
      "Expected ids [B L], and [B T] or [B K T].",
    )
  if reference.ndim == 2:
    reference = reference[:, None]
  clean = lambda ids: jnp.where(
    mask.reshape(-1, *[1] * (ids.ndim - 1)), ids, 0
  ).astype(jnp.int32)
  kept = {"generated": clean(generated), "reference": clean(reference)}
  if group is not None:
    kept["group"] = jnp.where(mask, group, -1).astype(jnp.int32)
  return kept | {f"{UNKNOWN}{unknown}": jnp.zeros(mask.shape, jnp.float32)}


def result(rows: dict[str, np.ndarray]) -> dict[str, float | np.ndarray]:
  """The metrics over all examples; NaN without any.

  Args:
    rows: of all valid rows.

  Returns:
    bleu4: BLEU-4 of the corpus, from 0 to 1: sacrebleu's with its default
      smoothing ("exp"), over 100, of the tokens as they are.
    cider_d: the mean CIDEr-D, from 0 to 10, see `_texts.cider_d`.
    rouge_l: the mean ROUGE-L, from 0 to 1, see `_texts.rouge_l`.
    exact_match: the fraction of examples whose text is one of the references.

  Raises:
    UserError: sacrebleu is not installed.
  """
  unknown = next(
    int(name.removeprefix(UNKNOWN)) for name in rows if name.startswith(UNKNOWN)
  )
  texts = _examples(rows, unknown)
  generated = [text for text, _ in texts]
  references = [its for _, its in texts]
  mean = lambda values: float(np.mean(values)) if values else float("nan")
  return {
    "bleu4": _bleu4(generated, references) if texts else float("nan"),
    "cider_d": mean(_texts.cider_d(generated, references)),
    "rouge_l": mean(_texts.rouge_l(generated, references)),
    "exact_match": mean([text in its for text, its in texts]),
  }


def _examples(
  rows: dict[str, np.ndarray], unknown: int
) -> list[tuple[list[int], list[list[int]]]]:
  """The generated text and the references of each example that has one."""
  generated, reference = rows["generated"], rows["reference"]
  group = np.asarray(rows.get("group", np.full(len(generated), -1)))
  # Unknown words have ids of their own, so that none equals another token.
  fresh = itertools.count(-1, -1)
  found: dict[tuple[str, int], tuple[list[int], list[list[int]]]] = {}
  for row, number in enumerate(group.tolist()):
    texts = [
      text for ids in reference[row] if (text := _text(ids, unknown, fresh))
    ]
    key = ("row", row) if number < 0 else ("group", number)
    if key not in found:
      found[key] = _text(generated[row], unknown, fresh), []
    found[key][1].extend(texts)
  return [example for example in found.values() if example[1]]


def _text(ids: np.ndarray, unknown: int, fresh: Iterator[int]) -> list[int]:
  """The ids before the first 0; each unknown one is a new id."""
  known = itertools.takewhile(bool, ids.tolist())
  return [next(fresh) if it == unknown else it for it in known]


def _bleu4(
  generated: Sequence[Sequence[int]],
  references: Sequence[Sequence[Sequence[int]]],
) -> float:
  """Of the corpus, from 0 to 1."""
  try:
    from sacrebleu.metrics import BLEU
  except ImportError as error:
    raise UserError(
      "The metrics 'captions' need sacrebleu for BLEU-4.",
      "Install it by `pip install kdjax[captions]`.",
    ) from error
  joined = lambda text: " ".join(map(str, text))
  # One list a place among the references; None where an example has fewer.
  streams = itertools.zip_longest(*(map(joined, its) for its in references))
  bleu = BLEU(tokenize="none", force=True)
  score = bleu.corpus_score([*map(joined, generated)], [*map(list, streams)])
  return float(score.score) / 100

"""TextBrewer, DistillKit and MiniLM: losses of tokens and of attention."""

import ast
import re

import jax.numpy as jnp

from goldens._case import Case, biased, dense
from kdjax.heads import linear
from kdjax.losses.attention_cross_entropy import attention_cross_entropy
from kdjax.losses.attention_mse import attention_mse
from kdjax.losses.cosine import cosine
from kdjax.losses.hidden_mse import hidden_mse
from kdjax.losses.minilm import minilm as relations
from kdjax.losses.pkd import pkd
from kdjax.losses.token_fsp import token_fsp

# TextBrewer zeroes scores below it, but only without a mask.
FLOOR = -1e-3


def tb_att_mse(case: Case):
  return case.answer(_attention_mse(case, summed=False))


def tb_att_mse_sum(case: Case):
  return case.answer(_attention_mse(case, summed=True))


def tb_att_ce(case: Case):
  return case.answer(_attention_cross_entropy(case, averaged=False))


def tb_att_ce_mean(case: Case):
  return case.answer(_attention_cross_entropy(case, averaged=True))


def tb_hid_mse(case: Case):
  value = hidden_mse(*_projected(case)[0])
  return case.answer(_over_tokens(value, _mask(case)))


def tb_cos(case: Case):
  value = cosine(*_projected(case)[0])
  return case.answer(_over_tokens(value, _mask(case)))


def tb_pkd(case: Case):
  first = lambda x: x[:, 0] if x.ndim == 3 else x
  return case.answer(jnp.mean(pkd(first(case["s"]), first(case["t"]))))


def tb_fsp(case: Case):
  student, teacher = _layers(case, "s"), _layers(case, "t")
  return case.answer(jnp.mean(token_fsp(student, teacher, _mask(case))))


def hs_mse(case: Case):
  return case.answer(_over_layers(case, hidden_mse))


def hs_cosine(case: Case):
  return case.answer(_over_layers(case, cosine))


def minilm(case: Case):
  pick = lambda side, pair: tuple(case[side + "qkv"[n - 1]] for n in pair)
  total = 0.0
  for key, weight in case.hyper["relations"].items():
    pair = ast.literal_eval(key) if isinstance(key, str) else tuple(key)
    total += weight * jnp.mean(
      relations(
        pick("s", pair),
        pick("t", pair),
        _mask(case),
        relation_heads=int(case.option(1, "A_r", "num_relation_heads")),
      )
    )
  return case.answer(total)


def _mask(case):
  return case["mask"] > 0 if "mask" in case else None


def _attention(case, side):
  """Scores of all heads, or of one; unlike maps, their axes are kept."""
  scores = case.raw(side)
  return scores[:, None] if scores.ndim == 3 else scores


def _attention_mse(case, *, summed):
  student, teacher = _attention(case, "s"), _attention(case, "t")
  mask = _mask(case)
  floor = FLOOR if mask is None else None
  values = attention_mse(
    student, teacher, mask, floor=floor, summed=summed, reduction="sum"
  )
  if mask is None:
    mask = jnp.ones((student.shape[0], student.shape[-1]), bool)
  tokens = jnp.sum(mask, axis=1, dtype=jnp.float32)
  heads = 1 if summed else student.shape[1]
  return jnp.sum(values) / (heads * jnp.sum(tokens**2))


def _attention_cross_entropy(case, *, averaged):
  mask = _mask(case)
  value = attention_cross_entropy(
    _attention(case, "s"),
    _attention(case, "t"),
    mask,
    floor=FLOOR if mask is None else None,
    averaged=averaged,
  )
  return _over_tokens(value, mask)


def _layers(case, side):
  """The inputs s0, s1, .. or t0, t1, .. in numeric order."""
  names = [name for name in case.inputs if re.fullmatch(rf"{side}\d+", name)]
  return tuple(case[name] for name in sorted(names, key=lambda x: int(x[1:])))


def _projected(case):
  """Pairs of states; the student's by its linear layer, if it has one."""
  pairs, layers = case.pairs(), case.linears()
  if not layers:
    return pairs
  return [
    (
      linear.Head(teacher.shape[-1]).apply(
        {"params": {"Dense_0": biased(dense(layer))}}, student
      ),
      teacher,
    )
    for (student, teacher), layer in zip(pairs, layers, strict=True)
  ]


def _over_tokens(values, mask):
  """The mean over all tokens of the batch, as in the objective."""
  if mask is None:
    return jnp.mean(values)
  return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.sum(mask)


def _over_layers(case, loss):
  """The mean over pairs of layers."""
  values = [_over_tokens(loss(*pair), _mask(case)) for pair in _projected(case)]
  return sum(values) / len(values)

"""Sentences for methods that mean nothing between two networks."""

from typing import NoReturn

from kdjax.config.layers import Layer
from kdjax.errors import UserError

WORDS = {
  "map": "positions of a map",
  "spectrum": "times and frequencies",
  "patches": "patches",
  "words": "words",
  "frames": "times",
  "tokens": "tokens",
  "vector": "a vector without any",
  "attention": "attention between positions",
}


def refuse_positions(
  term: str, loss: str, ours: Layer, theirs: Layer
) -> NoReturn:
  """Raises `UserError`: positions of two networks do not correspond."""
  raise UserError(
    f"The term '{term}' compares positions (loss '{loss}'), and those of the"
    f" student, {_of(ours)}, are not those of the teacher, {_of(theirs)}.",
    "Use a method that compares whole examples, such as 'feature_l2' or 'rkd';"
    " or set the method's addresses to outputs whose positions correspond.",
  )


def refuse_attention(term: str, loss: str, network: str) -> NoReturn:
  """Raises `UserError`: a network has no attention."""
  raise UserError(
    f"The term '{term}' compares attention (loss '{loss}'), and the network"
    f" '{network}' has none.",
    "Use a method that compares hidden states, such as 'hidden_states' or"
    " 'distilbert'; or two Transformers over the same inputs.",
  )


def refuse_norm(term: str, network: str) -> NoReturn:
  """Raises `UserError`: a network says no batch norm before its maps."""
  raise UserError(
    f"The term '{term}' takes margins from batch norms, and the network"
    f" '{network}' says none.",
    "Use a method without margins, such as 'fitnet' or 'ab'; or set the"
    " method's addresses, with `teacher_norms`.",
  )


def refuse_towers(term: str, network: str) -> NoReturn:
  """Raises `UserError`: a network is no pair of towers."""
  raise UserError(
    f"The term '{term}' compares images with texts, and the network"
    f" '{network}' has no towers of both.",
    "Use a method for one embedding, such as 'info_nce' or 'crd'; or two"
    " networks 'two_tower', 'clip' or 'siglip'.",
  )


def _of(layer: Layer) -> str:
  words = WORDS.get(layer.kind, layer.kind)
  return f"{words} of '{layer.modality}'"

"""Sentences for methods that do not run between two networks.

Each names two methods that run between the same networks.
"""

from collections.abc import Iterable
from typing import NoReturn

from kdjax.config.layers import Layer
from kdjax.errors import UserError

WORDS = {
  "map": "positions of a map",
  "spectrum": "times and frequencies",
  "patches": "patches",
  "words": "words",
  "steps": "times",
  "frames": "times",
  "tokens": "tokens",
  "vector": "a vector without any",
  "attention": "attention between positions",
}


def refuse_positions(
  term: str, loss: str, ours: Layer, theirs: Layer
) -> NoReturn:
  """Raises `UserError`: positions of two networks do not correspond."""
  _refuse(
    f"The term '{term}' compares positions (loss '{loss}'), and those of the"
    f" student, {_of(ours)}, are not those of the teacher, {_of(theirs)}.",
    "that compares whole examples",
    ("feature_l2", "rkd"),
    "set the method's addresses to outputs whose positions correspond",
  )


def refuse_attention(term: str, loss: str, network: str) -> NoReturn:
  """Raises `UserError`: a network has no attention."""
  _refuse(
    f"The term '{term}' compares attention (loss '{loss}'), and the network"
    f" '{network}' has none.",
    "that compares hidden states",
    ("hidden_states", "distilbert"),
    "two Transformers over the same inputs",
  )


def refuse_norm(term: str, network: str) -> NoReturn:
  """Raises `UserError`: a network says no batch norm before its maps."""
  _refuse(
    f"The term '{term}' takes margins from batch norms, and the network"
    f" '{network}' says none.",
    "without margins",
    ("fitnet", "ab"),
    "set the method's addresses, with `teacher_norms`",
  )


def refuse_towers(term: str, network: str) -> NoReturn:
  """Raises `UserError`: a network is no pair of towers."""
  _refuse(
    f"The term '{term}' compares images with texts, and the network"
    f" '{network}' has no towers of both.",
    "for one embedding",
    ("info_nce", "crd"),
    "two networks 'two_tower', 'clip' or 'siglip'",
  )


def refuse_writer(view: str, network: str, output: str) -> NoReturn:
  """Raises `UserError`: a network writes no text.

  Args:
    view: of `generated`, in which it would write.
    network: its name.
    output: the ids, or their mask, that it does not have.
  """
  _refuse(
    f"The network '{network}' writes no text: it has no output '{output}',"
    f" which the view '{view}' of `generated` reads.",
    "on the texts of the data",
    ("kd", "token_kd"),
    "a network 'encoder_decoder', which has 'sampled', 'greedy' and 'beam'",
  )


def refuse_view(
  view: str, modalities: Iterable[str], network: str, exists: Iterable[str]
) -> NoReturn:
  """Raises `UserError`: the data has no such view of what a network reads.

  Args:
    view: its name.
    modalities: that the network reads.
    network: its name.
    exists: the views of the data, as keys of a batch.
  """
  _refuse(
    f"No view '{view}' of {', '.join(modalities)} for the network '{network}'.",
    "without views",
    ("rkd", "pkt"),
    "name one of the views of data.pipelines",
    exists,
  )


def _refuse(
  problem: str,
  which: str,
  methods: tuple[str, str],
  otherwise: str,
  exists: Iterable[str] | None = None,
) -> NoReturn:
  """Raises `UserError` with two methods that run between the same networks.

  Args:
    problem: why the method is refused, as a sentence.
    which: what the two methods have in common, after "a method".
    methods: their names.
    otherwise: what else to do or to use, after "or".
    exists: names to choose from.
  """
  first, second = methods
  raise UserError(
    problem,
    f"Use a method {which}, such as '{first}' or '{second}'; or {otherwise}.",
    exists=exists,
  )


def _of(layer: Layer) -> str:
  words = WORDS.get(layer.kind, layer.kind)
  return f"{words} of '{layer.modality}'"

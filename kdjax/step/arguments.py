"""Compares the arguments of a term with what its loss declares.

A loss declares each argument with a jaxtyping annotation: `Int[Array, "B"]` is
class ids, `Float[Array, "B *T K"]` scores of K classes. A loss without
annotations is called with whatever its term reads.
"""

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from kdjax.errors import UserError
from kdjax.step.terms import Term

KINDS = {
  "float": jnp.floating,
  "int": jnp.integer,
  "bool": jnp.bool_,
}
WORDS = {"float": "floats", "int": "integers", "bool": "booleans"}
# The letter of an axis of classes.
CLASSES = "K"


def check(term: Term, arrays: Mapping[str, Any]) -> None:
  """Checks the kinds and ranks of a term's arguments.

  Args:
    term: whose loss is to be called.
    arrays: argument -> array, or tuple of arrays.

  Raises:
    UserError: an argument is not what the loss takes it for.
  """
  bound: dict[str, int] = {}  # the number of axes of each *name
  for argument, choices in _declared(term.loss).items():
    value = arrays.get(argument)
    if value is None or not choices:
      continue
    faults = [_fault(term, argument, value, one, bound) for one in choices]
    if all(faults):
      raise UserError(
        f"The argument '{argument}' of the term '{term.name}' is"
        f" {_shown(value)} at {_places(term, argument)}.",
        f"The loss '{_name(term)}' expects {' or '.join(map(_text, choices))}."
        f"{_advice(term, argument, value, choices)}",
      )


def check_sizes(term: Term, arrays: Mapping[str, Any]) -> None:
  """Checks that axes with one letter have one size.

  The losses' own checks come first: some of them say more.

  Raises:
    UserError: two axes with one letter differ.
  """
  known: dict[str, tuple[int, str]] = {}
  # Annotations to choose from differ in their kinds, not in their shapes.
  for argument, choices in _declared(term.loss).items():
    value = arrays.get(argument)
    if value is None or not choices:
      continue
    for array, hint in _parts(value, choices[0]):
      for letter, size in _sizes(array, hint).items():
        first, owner = known.setdefault(letter, (size, argument))
        if first != size:
          raise UserError(
            f"The arguments '{owner}' and '{argument}' of the term"
            f" '{term.name}' have {first} and {size} on the axis '{letter}' of"
            f" the loss '{_name(term)}': '{argument}' is {_shown(value)} at"
            f" {_places(term, argument)}.",
            "Expected equal sizes.",
          )


def has_one_class(term: Term, arrays: Mapping[str, Any]) -> bool:
  """Whether an axis of classes has the size 1."""
  return any(
    _sizes(array, hint).get(CLASSES) == 1
    for argument, choices in _declared(term.loss).items()
    if arrays.get(argument) is not None and choices
    for array, hint in _parts(arrays[argument], choices[0])
  )


def positions_axis(loss: Callable, argument: str, array: Any) -> int | None:
  """The axis of positions, T, of an argument; None if it has none.

  Args:
    loss: with annotations.
    argument: of the loss.
    array: that is read for it, or the first of a tuple.
  """
  choices = _declared(loss).get(argument, ())
  if not choices or not hasattr(array, "ndim"):
    return None
  words = _hints_of(choices[0])[0].dim_str.split()
  if len(words) != array.ndim:
    return None
  return next((i for i, word in enumerate(words) if word in ("T", "*T")), None)


def has_annotations(loss: Callable) -> bool:
  """Whether a loss declares arrays as its arguments."""
  return any(_declared(loss).values())


def can_skip_positions(loss: Callable) -> bool:
  """Whether a mask [B T] can be applied to a loss.

  It has an argument `mask` of positions, or returns one number per position.
  """
  mask = _declared(loss).get("mask", ())
  takes = bool(mask) and "T" in mask[0].dim_str.split()
  result = getattr(_annotations(loss).get("return"), "dim_str", "")
  return takes or bool({"T", "*T"} & {*result.split()})


def _annotations(loss: Callable) -> dict[str, Any]:
  try:
    return typing.get_type_hints(loss)
  except (AttributeError, NameError, TypeError):
    return {}  # of another module, or none


def _declared(loss: Callable) -> dict[str, tuple]:
  """argument -> the annotations that it may have, if they name arrays."""
  declared = {}
  for name, hint in _annotations(loss).items():
    choices = (hint,)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
      choices = typing.get_args(hint)
    choices = tuple(one for one in choices if one is not type(None))
    if name != "return" and all(map(_is_array, choices)):
      declared[name] = choices
  return declared


def _is_array(hint: Any) -> bool:
  if typing.get_origin(hint) is tuple:
    parts = [one for one in typing.get_args(hint) if one is not Ellipsis]
    return bool(parts) and all(map(_is_array, parts))
  return hasattr(hint, "dim_str") and hasattr(hint, "dtypes")


def _hints_of(hint: Any) -> tuple:
  """The annotations of the arrays of one argument."""
  return typing.get_args(hint) if typing.get_origin(hint) is tuple else (hint,)


def _parts(value: Any, hint: Any) -> list[tuple[Any, Any]]:
  """The arrays of an argument, with the annotation of each."""
  hints = _hints_of(hint)
  values = value if isinstance(value, tuple | list) else (value,)
  if hints[-1] is Ellipsis:
    hints = hints[:1] * len(values)
  return list(zip(values, hints, strict=True))


def _kind(dtypes: Any) -> str | None:
  """The kind of an annotation's dtypes; None: any."""
  if not isinstance(dtypes, list | tuple):
    return None
  return next((kind for kind in KINDS if kind in str(dtypes[0])), None)


def _fault(
  term: Term, argument: str, value: Any, hint: Any, bound: dict[str, int]
) -> bool:
  """Whether an argument does not fit one of its annotations."""
  several = typing.get_origin(hint) is tuple
  if isinstance(value, tuple | list) != several:
    return True
  parts = typing.get_args(hint)
  if several and Ellipsis not in parts and len(value) != len(parts):
    return True
  return not all(
    _fits(term, argument, array, one, bound)
    for array, one in _parts(value, hint)
  )


def _fits(term, argument, array, hint, bound) -> bool:
  kind = _kind(hint.dtypes)
  words = hint.dim_str.split()
  if kind and not jnp.issubdtype(array.dtype, KINDS[kind]):
    numbers = kind == "float" and jnp.issubdtype(array.dtype, jnp.integer)
    if not (numbers and CLASSES not in words and _is_number(term, argument)):
      return False
  stars = [word for word in words if word.startswith("*") or word == "..."]
  spare = array.ndim - len(words) + len(stars)
  if not stars or spare < 0:
    return spare == 0
  if stars[0] == "...":
    return True
  return bound.setdefault(stars[0], spare) == spare


def _is_number(term: Term, argument: str) -> bool:
  """Whether whole numbers at an argument's addresses are values to match.

  Those of a data set are, such as a target of a regression; labels are classes.
  """
  reads = term.addresses(argument) if argument in term.reads else ()
  labels = lambda at: at.output.partition("/")[0] == "label"
  return all(at.network == "batch" and not labels(at) for at in reads)


def _sizes(array: Any, hint: Any) -> dict[str, int]:
  """letter -> size, of the axes that an annotation names."""
  words = hint.dim_str.split()
  stars = [i for i, word in enumerate(words) if word[0] == "*" or word == "..."]
  axes = range(len(words))
  if stars:
    after = len(words) - stars[0] - 1
    axes = [*range(stars[0]), 0, *range(array.ndim - after, array.ndim)]
  return {
    word: array.shape[axis]
    for word, axis in zip(words, axes, strict=True)
    if word.isidentifier() and word != "_"
  }


def _name(term: Term) -> str:
  return getattr(term.loss, "__name__", type(term.loss).__name__)


def _places(term: Term, argument: str) -> str:
  if argument not in term.reads:
    return "the batch"
  head = " with a head" if argument in term.heads else ""
  return ", ".join(f"'{at}'" for at in term.addresses(argument)) + head


def _shown(value: Any) -> str:
  if isinstance(value, tuple | list):
    return f"a tuple of {len(value)}: {', '.join(map(_shown, value))}"
  return f"{value.dtype} {list(value.shape)}"


def _text(hint: Any) -> str:
  """An annotation in words."""
  if typing.get_origin(hint) is tuple:
    parts = typing.get_args(hint)
    if parts[-1] is Ellipsis:
      return f"a tuple of {_text(parts[0])}"
    return f"a tuple of {len(parts)}: {', '.join(map(_text, parts))}"
  return f"{WORDS.get(_kind(hint.dtypes), 'values')} [{hint.dim_str}]"


def _advice(term: Term, argument: str, value: Any, choices: tuple) -> str:
  """What to use instead, after a space; "" where it is not known."""
  if isinstance(value, tuple | list) or _hints_of(choices[0]) != choices[:1]:
    return " Read as many addresses as the loss takes arrays."
  floats = jnp.issubdtype(value.dtype, jnp.floating)
  wanted = {_kind(one.dtypes) for one in choices}
  words = choices[0].dim_str.split()
  if floats and "int" in wanted:
    if argument == "label" and term.reads[argument].network == "batch":
      return " For class probabilities use the loss 'target_cross_entropy'."
    return (
      " Scores are no labels. To learn from a teacher's logits use the loss"
      " 'multilabel_kd', for several labels per example, or 'kd', for one."
    )
  if "int" in wanted and CLASSES not in words and value.ndim > 1:
    return (
      " Labels with an axis of classes are multi-hot: use the loss"
      " 'binary_cross_entropy'."
    )
  if "int" in wanted and CLASSES in words:
    return " For one class id per example use the loss 'cross_entropy'."
  if "float" in wanted and not floats:
    return (
      " Labels are no scores. Multi-hot labels are for the loss"
      " 'binary_cross_entropy', class ids for 'cross_entropy'."
    )
  if wanted == {"bool"}:
    return " Store the mask as booleans, or read another address."
  return ""

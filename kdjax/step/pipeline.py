"""Transforms one after the other, written as one string.

  crop(padding=4)|flip|normalize(mean=(0.5,), std=(0.2,))

Names are those of the room `transforms`; options are literals, given by name.
One from outside the package stands with its dots, `mylab.mine(rate=0.5)`, or in
quotes, `"path/to/mine.py:other"(rate=0.5)`. An empty string changes nothing.
"""

import ast
import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Key, Shaped

from kdjax import registry
from kdjax.errors import UserError
from kdjax.types import Array

# What a transform may take behind (key, x).
_TAKES = ((), ("mask",), ("partner",))

_LIKE = "A pipeline is written like crop(padding=4)|flip."


@dataclasses.dataclass(frozen=True)
class Step:
  """One transform of a pipeline, with its options."""

  name: str
  options: tuple[tuple[str, Any], ...]
  function: Callable = dataclasses.field(repr=False)
  takes: tuple[str, ...]  # (), ("mask",) or ("partner",)
  optional: bool  # what it takes may be left out
  known: tuple[str, ...]  # the options that it has

  def __str__(self) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in self.options)
    name = repr(self.name) if ":" in self.name else self.name
    return f"{name}({given})" if given else name

  @property
  def mixes(self) -> bool:
    """Whether it takes another example."""
    return self.takes == ("partner",)

  @property
  def needs_mask(self) -> bool:
    """Whether it cannot do without a mask."""
    return self.takes == ("mask",) and not self.optional


@dataclasses.dataclass(frozen=True)
class Pipeline:
  """Transforms of one example, to be vmapped; see `parse`."""

  steps: tuple[Step, ...] = ()

  def __str__(self) -> str:
    return "|".join(map(str, self.steps))

  @property
  def mixes(self) -> bool:
    """Whether it needs a partner."""
    return any(step.mixes for step in self.steps)

  @property
  def needs_mask(self) -> bool:
    """Whether it needs a mask."""
    return any(step.needs_mask for step in self.steps)

  def __call__(
    self,
    key: Key[Array, ""],
    x: Shaped[Array, "..."],
    mask: Bool[Array, "T"] | None = None,
    partner: Shaped[Array, "..."] | None = None,
    partner_key: Key[Array, ""] | None = None,
    overrides: Mapping[str, Any] | None = None,
    partner_mask: Bool[Array, "T"] | None = None,
  ) -> tuple[Shaped[Array, "..."], Bool[Array, "T"] | None, Float[Array, ""]]:
    """Applies the steps in their order, each with a key of its place.

    Where a step mixes, the partner has gone through the steps before it, with
    its own key: it is what it would be as an example of its own. Steps that mix
    leave it as it is, as if it were mixed with itself.

    Args:
      key: of the example and its view.
      x: one example, without a batch axis.
      mask: its places that are no padding. It goes through the steps that take
        one and past the others.
      partner: another example like x, where a step mixes.
      partner_key: the partner's key.
      overrides: options by "transform.option", in place of those written, in
        every step of that name; they may be traced: {"noise.snr": 10.0}.
      partner_mask: the partner's mask. A place of a mixture is no padding where
        one of the two is none.

    Returns:
      The array, its mask, and the share f32 [] that the example has in the
      result and in its label: 1 where nothing mixes.

    Raises:
      UserError: a step lacks its mask or partner, or an override its step.
    """
    overrides = overrides or {}
    self._check(mask, partner, partner_key, overrides)
    mixing = sum(step.mixes for step in self.steps)
    share = jnp.ones((), jnp.float32)
    for place, step in enumerate(self.steps):
      options = dict(step.options) | {
        option: overrides[f"{step.name}.{option}"]
        for option in step.known
        if f"{step.name}.{option}" in overrides
      }
      own_key = jax.random.fold_in(key, place)
      if step.mixes:
        x, own = step.function(own_key, x, partner, **options)
        share, mixing = share * own, mixing - 1
        if mask is not None and partner_mask is not None:
          mask |= partner_mask
        continue
      x, mask = _unmixed(step, own_key, x, mask, options)
      if mixing:
        other_key = jax.random.fold_in(partner_key, place)
        partner, partner_mask = _unmixed(
          step, other_key, partner, partner_mask, options
        )
    return x, mask, share

  def _check(self, mask, partner, partner_key, overrides):
    for step in self.steps:
      if step.needs_mask and mask is None:
        raise UserError(
          f"'{step.name}' in '{self}' of an array without a mask.",
          "It needs to know which places are padding.",
        )
      if step.mixes and (partner is None or partner_key is None):
        raise UserError(
          f"'{step.name}' in '{self}' of an example without a partner.",
          "It mixes two: give `partner` and `partner_key`.",
        )
    known = {
      f"{step.name}.{name}" for step in self.steps for name in step.known
    }
    for name in overrides:
      if name not in known:
        raise UserError(f"No '{name}' in '{self}'.", exists=known, near=name)


def parse(text: str) -> Pipeline:
  """The pipeline that a string says.

  Raises:
    UserError: it cannot be read, says a transform or an option that there is
      not, or lacks an option that has no default.
  """
  if not text.strip():
    return Pipeline()
  said = _Said(text)
  steps = tuple(_step(said, node) for node in _parts(said.tree))
  for place, step in enumerate(steps):
    if step.needs_mask and any(after.mixes for after in steps[place:]):
      raise UserError(
        f"'{step.name}' before a transform that mixes, in '{text}'.",
        "It is of ids, and two texts have no mixture.",
      )
  return Pipeline(steps)


def _unmixed(step, key, x, mask, options):
  """The array and its mask after a step that takes no partner."""
  if step.takes and mask is not None:
    return step.function(key, x, mask, **options)
  return step.function(key, x, **options), mask


class _Said:
  """A string, read as Python, which knows the columns of its parts."""

  def __init__(self, text):
    self.text = text
    # Line breaks may stand anywhere, and columns are those of the string.
    line = re.sub(r"\s", " ", text)
    self.line = line.strip()
    self.before = len(line) - len(line.lstrip())
    if "#" in self.line:
      raise self.wrong(self.line.index("#"), "there are no comments.", _LIKE)
    try:
      self.tree = ast.parse(self.line, mode="eval").body
    except SyntaxError as error:
      # What is missing at the end is missed on a line of its own.
      last = error.lineno > 1 or not error.offset
      place = len(self.line) if last else error.offset - 1
      raise self.wrong(place, f"{error.msg}.", _LIKE) from None

  def wrong(self, where, given, expected="", exists=None, near=""):
    """The error of a node, or of a place in the line."""
    if not isinstance(where, int):
      where = len(self.line.encode()[: where.col_offset].decode())
    column = self.before + where + 1
    said = f"In '{self.text}', column {column}: {given}"
    return UserError(said, expected, exists, near)


def _parts(node):
  """The operands of a chain of |, in their order."""
  if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
    return [*_parts(node.left), *_parts(node.right)]
  return [node]


def _step(said, node):
  call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
  name = _name(said, call.func)
  if name.isidentifier() and name not in registry.names("transforms"):
    raise said.wrong(
      node, f"no transform '{name}'.", "", registry.names("transforms"), name
    )
  about = registry.describe("transforms", name)
  takes = about.reads[2:]
  if len(about.reads) < 2 or takes not in _TAKES:
    raise said.wrong(
      node,
      f"'{name}' takes ({', '.join(about.reads)}).",
      "A transform takes (key, x), (key, x, mask) or (key, x, partner).",
    )
  if call.args:
    raise said.wrong(
      call.args[0],
      f"'{name}' is given an option without its name.",
      "Write name=value.",
      about.options,
    )
  return Step(
    name=name,
    options=_options(said, node, name, call.keywords, about.options),
    function=registry.find("transforms", name),
    takes=takes,
    optional=bool(set(takes) & set(about.optional)),
    known=tuple(about.options),
  )


def _name(said, node):
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    return node.value
  dotted = ast.unparse(node)
  if all(part.isidentifier() for part in dotted.split(".")):
    return dotted
  raise said.wrong(node, f"'{dotted}' is no name.", _LIKE)


def _options(said, node, name, keywords, known):
  given = {}
  for keyword in keywords:
    option = keyword.arg
    if option not in known:
      raise said.wrong(
        keyword,
        f"'{name}' has no option '{option or ast.unparse(keyword.value)}'.",
        "",
        known,
        option or "",
      )
    if option in given:
      raise said.wrong(keyword, f"'{option}' is given twice.")
    given[option] = _literal(said, keyword)
  for option, default in known.items():
    if default is registry.REQUIRED and option not in given:
      raise said.wrong(
        node, f"'{name}' lacks its option '{option}'.", "It has no default."
      )
  return tuple(given.items())


def _literal(said, keyword):
  try:
    value = _frozen(ast.literal_eval(keyword.value))
    hash(value)
  except (ValueError, TypeError):
    raise said.wrong(
      keyword.value,
      f"{keyword.arg}={ast.unparse(keyword.value)}.",
      "An option is a number, a string, True, False, None, or a tuple of them.",
    ) from None
  return value


def _frozen(value):
  """Lists as tuples, which can be hashed."""
  if isinstance(value, list | tuple):
    return tuple(map(_frozen, value))
  return value

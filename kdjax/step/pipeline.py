"""Pipelines: a sequence of transforms, written as one string.

  crop(padding=4)|flip|normalize(mean=(0.5,), std=(0.2,))

Names are those of `kdjax/transforms`; options are literals, passed by name. A
transform outside of the package has a dotted name, `mylab.mine(rate=0.5)`, or a
quoted path, `"path/to/mine.py:other"(rate=0.5)`. "" changes nothing.
"""

import ast
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Key, Shaped

from kdjax import registry
from kdjax.errors import UserError
from kdjax.step.pipeline_text import Source, literal, name_of, parts
from kdjax.types import Array

# The arguments that a transform may take after (key, x).
_TAKES = ((), ("mask",), ("partner",))

# The axis of positions that a transform may hide, in its return annotation.
HIDDEN = "P"


@dataclasses.dataclass(frozen=True)
class Step:
  """One transform of a pipeline, with its options."""

  name: str
  options: tuple[tuple[str, Any], ...]
  function: Callable = dataclasses.field(repr=False)
  takes: tuple[str, ...]  # (), ("mask",) or ("partner",)
  optional: bool  # whether the mask may be omitted
  known: tuple[str, ...]  # the names of all its options
  hides: bool = False  # whether it also returns which positions it has hidden

  def __str__(self) -> str:
    options = ", ".join(f"{name}={value!r}" for name, value in self.options)
    name = repr(self.name) if ":" in self.name else self.name
    return f"{name}({options})" if options else name

  @property
  def mixes(self) -> bool:
    """Whether it mixes the example with a partner."""
    return self.takes == ("partner",)

  @property
  def needs_mask(self) -> bool:
    """Whether it requires a mask."""
    return self.takes == ("mask",) and not self.optional


@dataclasses.dataclass(frozen=True)
class Pipeline:
  """A sequence of transforms of one example, for `jax.vmap`; see `parse`."""

  steps: tuple[Step, ...] = ()

  def __str__(self) -> str:
    return "|".join(map(str, self.steps))

  @property
  def mixes(self) -> bool:
    """Whether it requires a partner."""
    return any(step.mixes for step in self.steps)

  @property
  def hides(self) -> bool:
    """Whether it hides positions."""
    return any(step.hides for step in self.steps)

  @property
  def needs_mask(self) -> bool:
    """Whether it requires a mask."""
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
  ) -> tuple[
    Shaped[Array, "..."],
    Bool[Array, "T"] | None,
    Float[Array, ""],
    Bool[Array, "P"] | None,
  ]:
    """Applies the steps in order; the key of step i is fold_in(key, i).

    Where a step mixes, the partner has passed through the previous steps with
    its own key, as in its own view. Steps that mix do not change the partner.

    Args:
      key: of the example and its view.
      x: one example, without a batch axis.
      mask: True at positions that are not padding. Steps without a mask
        argument leave it unchanged.
      partner: another example with the shape of x, where a step mixes.
      partner_key: the partner's key.
      overrides: values by "transform.option" that replace the written options
        of every step of that name; may be traced: {"noise.snr": 10.0}.
      partner_mask: the partner's mask. A position of a mixture is padding where
        both masks are False.

    Returns:
      The array, its mask, and f32 []: the example's share in the mixture and
      its label, 1 where no step mixes. Then, True where the last step has
      hidden a position, or None if it hides none.

    Raises:
      UserError: the mask or partner of a step is missing, or no step has an
        option of `overrides`.
    """
    overrides = overrides or {}
    self._check(mask, partner, partner_key, overrides)
    mixing = sum(step.mixes for step in self.steps)
    share, hidden = jnp.ones((), jnp.float32), None
    for number, step in enumerate(self.steps):
      options = dict(step.options) | {
        option: overrides[f"{step.name}.{option}"]
        for option in step.known
        if f"{step.name}.{option}" in overrides
      }
      step_key = jax.random.fold_in(key, number)
      if step.mixes:
        x, part = step.function(step_key, x, partner, **options)
        share, mixing = share * part, mixing - 1
        if mask is not None and partner_mask is not None:
          mask |= partner_mask
        continue
      x, mask, hidden = _unmixed(step, step_key, x, mask, options)
      if mixing:
        other_key = jax.random.fold_in(partner_key, number)
        partner, partner_mask, _ = _unmixed(
          step, other_key, partner, partner_mask, options
        )
    return x, mask, share, hidden

  def _check(self, mask, partner, partner_key, overrides):
    for step in self.steps:
      if step.needs_mask and mask is None:
        raise UserError(
          f"'{step.name}' in '{self}' got no mask.",
          "It needs mask/<modality>: which positions are not padding.",
        )
      if step.mixes and (partner is None or partner_key is None):
        raise UserError(
          f"'{step.name}' in '{self}' got no partner.",
          "It mixes two examples: pass `partner` and `partner_key`.",
        )
    known = {
      f"{step.name}.{name}" for step in self.steps for name in step.known
    }
    for name in overrides:
      if name not in known:
        raise UserError(f"No '{name}' in '{self}'.", exists=known, near=name)


def parse(text: str) -> Pipeline:
  """Parses the string of a pipeline.

  Raises:
    UserError: a syntax error, an unknown transform or option, or an option
      without default that is missing.
  """
  if not text.strip():
    return Pipeline()
  source = Source(text)
  steps = tuple(_step(source, node) for node in parts(source.tree))
  for number, step in enumerate(steps):
    if step.needs_mask and any(after.mixes for after in steps[number:]):
      raise UserError(
        f"'{step.name}' before a transform that mixes, in '{text}'.",
        "It transforms token ids, and ids cannot be mixed.",
      )
    if step.hides and step is not steps[-1]:
      raise UserError(
        f"'{step.name}' before other transforms, in '{text}'.",
        "It hides positions, which others may change: put it last.",
      )
  return Pipeline(steps)


def hides(transform: Callable) -> bool:
  """Whether a transform hides positions: whether it says that it returns them.

  Its return annotation is then a tuple with the example, the mask if it takes
  one, and bool, True where hidden, of an axis called P.
  """
  try:
    returned = typing.get_type_hints(transform).get("return")
  except (AttributeError, NameError, TypeError):
    return False  # of another module, or none
  union = typing.get_origin(returned) in (typing.Union, types.UnionType)
  for choice in typing.get_args(returned) if union else (returned,):
    last = (typing.get_args(choice) or (None,))[-1]
    if getattr(last, "dim_str", "") == HIDDEN:
      return True
  return False


def _unmixed(step, key, x, mask, options):
  """The array, its mask and what is hidden after a step without partner."""
  masked = bool(step.takes) and mask is not None
  result = step.function(key, x, *([mask] if masked else []), **options)
  parts = result if masked or step.hides else (result,)
  x, *further = parts
  hidden = further.pop() if step.hides else None
  return x, further[0] if masked else mask, hidden


def _step(source, node):
  call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
  name = name_of(source, call.func)
  if name.isidentifier() and name not in registry.names("transforms"):
    known, lists = registry.names("transforms"), "kdjax list transforms"
    raise source.error(node, f"no transform '{name}'.", "", known, name, lists)
  about = registry.describe("transforms", name)
  takes = about.reads[2:]
  if len(about.reads) < 2 or takes not in _TAKES:
    raise source.error(
      node,
      f"'{name}' takes ({', '.join(about.reads)}).",
      "A transform takes (key, x), (key, x, mask) or (key, x, partner).",
    )
  if call.args:
    raise source.error(
      call.args[0],
      f"'{name}' got an option without its name.",
      "Write name=value.",
      about.options,
    )
  function = registry.find("transforms", name)
  return Step(
    name=name,
    options=_options(source, node, name, call.keywords, about.options),
    function=function,
    takes=takes,
    hides=hides(function),
    optional=bool(set(takes) & set(about.optional)),
    known=tuple(about.options),
  )


def _options(source, node, name, keywords, known):
  options = {}
  for keyword in keywords:
    option = keyword.arg
    if option not in known:
      raise source.error(
        keyword,
        f"'{name}' has no option '{option or ast.unparse(keyword.value)}'.",
        "",
        known,
        option or "",
      )
    if option in options:
      raise source.error(keyword, f"'{option}' appears twice.")
    options[option] = literal(source, keyword)
  for option, default in known.items():
    if default is registry.REQUIRED and option not in options:
      raise source.error(
        node, f"'{name}' lacks its option '{option}'.", "It has no default."
      )
  return tuple(options.items())

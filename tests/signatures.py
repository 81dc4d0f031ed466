"""Arrays for a function's arguments, made from its jaxtyping annotations.

Contract tests call each file with them, so that a new file needs no new test.
All letters of shapes have different sizes.
"""

import ast
import inspect
import itertools
import types
import typing

import jax.numpy as jnp
import numpy as np

SIZES = {"B": 3, "K": 5, "D": 7, "T": 4, "H": 8, "W": 6, "C": 2, "F": 10}

# The axis of the arrays of a tuple of any length.
SIZES["N"] = 2

# Sizes of other names in shapes, in the order in which they appear.
OTHERS = (11, 13, 9, 15, 17, 19)

# The axes that `*T` or `...` in a shape is replaced by, one case each.
STARS = ((), (SIZES["T"],))


class Signature:
  """The annotated arguments of a function, and arrays for them."""

  def __init__(self, function, **sizes):
    self.hints = typing.get_type_hints(function)
    self.result = self.hints.pop("return", None)
    self.parameters = {
      name: parameter
      for name, parameter in inspect.signature(function).parameters.items()
      if name != "self" and parameter.kind != inspect.Parameter.KEYWORD_ONLY
    }
    self.sizes = SIZES | sizes

  def cases(self, seed=0):
    """Arguments of each rank, with and without the optional ones."""
    starred = any(
      "*" in part.dim_str or "..." in part.dim_str
      for name in self.parameters
      for part in parts_of(self.arrays(name))
    )
    optional = [
      name
      for name, parameter in self.parameters.items()
      if parameter.default is not inspect.Parameter.empty
    ]
    for star, omitted in itertools.product(
      STARS if starred else STARS[:1], [(), optional] if optional else [()]
    ):
      yield self.arguments(seed, star, omitted)

  def arguments(self, seed=0, star=(), omitted=()):
    """An array, or tuple of arrays, for each argument that is not omitted."""
    random = np.random.default_rng(seed)
    return {
      name: self._make(self.arrays(name), name, star, random)
      for name in self.parameters
      if name not in omitted
    }

  def shape(self, annotation, star=()):
    """The sizes of an annotation's shape."""
    shape = []
    for letter in annotation.dim_str.split():
      if letter == "..." or letter.startswith("*"):
        shape.extend(star)
        continue
      if letter not in self.sizes and not letter.isdigit():
        self.sizes[letter] = OTHERS[len(self.sizes.keys() - SIZES.keys())]
      shape.append(int(letter) if letter.isdigit() else self.sizes[letter])
    return tuple(shape)

  def along_batch(self, arguments, change):
    """Applies `change(array, axis)` to each axis with the name B."""
    changed = {}
    for name, value in arguments.items():
      parts = parts_of(self.arrays(name))
      if isinstance(value, tuple):
        changed[name] = tuple(map(_along("B", change), value, parts))
      else:
        changed[name] = _along("B", change)(value, *parts)
    return changed

  def arrays(self, name):
    """The annotation of an argument, without `| None`."""
    assert name in self.hints, (
      f"The argument '{name}' needs an annotation, such as"
      ' Float[Array, "B K"].'
    )
    hint = self.hints[name]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
      hint = next(
        part for part in typing.get_args(hint) if part is not type(None)
      )
    assert hasattr(hint, "dim_str") or typing.get_origin(hint) is tuple, (
      f"The annotation of the argument '{name}' must be an array with a shape,"
      ' such as Float[Array, "B K"], or a tuple of arrays.'
    )
    return hint

  def _make(self, hint, name, star, random):
    if typing.get_origin(hint) is tuple:
      return tuple(
        self._make(part, name, star, random) for part in parts_of(hint)
      )
    shape = self.shape(hint, star)
    if name == "counts":
      return jnp.asarray(random.integers(1, 60, size=shape), jnp.float32)
    if "float32" in hint.dtypes:
      return jnp.asarray(2 * random.normal(size=shape), jnp.float32)
    if any("int" in kind for kind in hint.dtypes):
      # A label with an axis of classes is multi-hot.
      multi_hot = name == "label" and "K" in hint.dim_str.split()
      end = 2 if multi_hot else self.sizes["K"]
      numbers = random.integers(0, end, size=shape)
      if name == "label":
        numbers[-1] = -1
      if multi_hot:
        numbers[0, 0] = -1
      return jnp.asarray(numbers, jnp.int32)
    flags = random.random(shape) < 0.6
    flags[0], flags[1] = True, False
    if flags.ndim > 1:
      flags[..., 0] = True
    return jnp.asarray(flags)


def parts_of(hint):
  """The arrays of an annotation: itself, or those of a tuple (`...` is two)."""
  if typing.get_origin(hint) is not tuple:
    return (hint,)
  parts = typing.get_args(hint)
  return (parts[0], parts[0]) if parts[-1] is Ellipsis else parts


def _along(letter, change):
  """Returns f(array, annotation), which changes the axes with a letter."""

  def apply(array, annotation):
    for axis, name in enumerate(annotation.dim_str.split()):
      array = change(array, axis) if name == letter else array
    return array

  return apply


def choices(function, option):
  """The strings that a function's source compares an option with."""
  values = []
  for node in ast.walk(ast.parse(inspect.getsource(function))):
    if isinstance(node, ast.Compare) and ast.unparse(node.left) == option:
      values += [
        constant.value
        for side in node.comparators
        for constant in ast.walk(side)
        if isinstance(constant, ast.Constant)
        and isinstance(constant.value, str)
      ]
  return list(dict.fromkeys(values))


def option_sets(function, options, annotations):
  """The defaults, and each option changed by itself if a value is known."""
  sets = [{}]
  for name, default in options.items():
    kinds = [kind.strip() for kind in annotations[name].split("|")]
    if kinds[0] == "bool":
      sets.append({name: not default})
    elif kinds[0] == "str":
      others = [value for value in choices(function, name) if value != default]
      sets += [{name: value} for value in others]
    elif kinds[0] == "int":
      sets.append({name: (default or 0) + 1})
    elif kinds[0] == "float":
      sets.append({name: 0.5 * (default or 0.0) + 0.25})
  return sets

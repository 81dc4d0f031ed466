"""Every loss is called with what it declares: kinds, ranks, classes."""

import typing

import jax.numpy as jnp
import numpy as np
import pytest
from signatures import Signature

from kdjax import registry
from kdjax.errors import UserError
from kdjax.step import arguments, one_class, reduction
from kdjax.step.addresses import Address
from kdjax.step.terms import Term

LOSSES = registry.names("losses")
# The losses that are defined for one class: a sigmoid, and a direction.
OF_ONE_CLASS = ("binary_cross_entropy", "multilabel_kd", "skd_direction")


def term(name, arrays, **reads):
  """A term whose loss reads arrays; `reads` are addresses that matter."""

  def address(key, value):
    if isinstance(value, tuple):
      return tuple(Address("student", "", f"{key}{i}") for i in range(2))
    return Address.parse(reads.get(key, f"student/{key}"))

  loss = registry.find("losses", name)
  addresses = {key: address(key, value) for key, value in arrays.items()}
  return Term(name, loss, addresses, {}, (), "kd", False, {}, {})


def check(name, arrays, **reads):
  arguments.check(term(name, arrays, **reads), arrays)
  arguments.check_sizes(term(name, arrays), arrays)


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_loss_declares_is_accepted_and_nothing_else(name):
  cases = list(Signature(registry.find("losses", name)).cases())
  for arrays in cases:
    check(name, arrays)
  for key, array in cases[0].items():
    if isinstance(array, tuple):
      wrong = [array[0], array + array[:1] * 9][: 1 + (len(array) < 2)]
    else:
      floats = jnp.issubdtype(array.dtype, jnp.floating)
      other = jnp.int32 if floats else jnp.float32
      wrong = [array.astype(other), (array, array)]
    for one in wrong:
      with pytest.raises(UserError, match=f"'{key}' of the term '{name}'"):
        check(name, {**cases[0], key: one})


@pytest.mark.parametrize("name", LOSSES)
def test_an_axis_more_or_less_is_refused(name):
  arrays = next(Signature(registry.find("losses", name)).cases())
  stars = "*", "..."
  for key, array in arrays.items():
    signature = Signature(registry.find("losses", name))
    hint = signature.arrays(key)
    words = getattr(hint, "dim_str", "*")
    # Tokens, or maps, which have an axis more.
    ways = typing.get_args(signature.hints[key])
    ranks = {len(it.dim_str.split()) for it in ways if hasattr(it, "dim_str")}
    if not isinstance(array, tuple) and array.ndim + 1 in ranks:
      continue
    if not any(star in words for star in stars):
      with pytest.raises(UserError, match=f"'{key}' of the term '{name}'"):
        check(name, {**arrays, key: array[..., None]})


@pytest.mark.parametrize("name", LOSSES)
def test_a_softmax_over_one_class_is_refused(name):
  arrays = Signature(registry.find("losses", name), K=1).arguments()
  if not arguments.has_one_class(term(name, arrays), arrays):
    return
  if name in OF_ONE_CLASS:
    one_class.check(term(name, arrays), arrays)
    return
  with pytest.raises(UserError, match=r"one class.*'binary_cross_entropy'"):
    one_class.check(term(name, arrays), arrays)


def test_the_message_names_address_and_what_to_use_instead():
  logits, ids = jnp.zeros((4, 3)), jnp.zeros(4, jnp.int32)
  hot = jnp.zeros((4, 3), jnp.int32)
  with pytest.raises(UserError) as error:
    check(
      "binary_cross_entropy",
      {"student": logits, "label": logits},
      label="teacher/logits",
    )
  text = str(error.value)
  assert "'label' of the term 'binary_cross_entropy' is float32 [4, 3]" in text
  assert "'teacher/logits'" in text and "'multilabel_kd'" in text
  assert "expects integers [B K] or booleans [B K]" in text
  with pytest.raises(UserError, match="use the loss 'binary_cross_entropy'"):
    check("cross_entropy", {"student": logits, "label": hot})
  with pytest.raises(UserError, match="are for the loss 'binary_cross_ent"):
    check("kd", {"student": logits, "teacher": hot}, teacher="batch/label")
  with pytest.raises(UserError, match="'target_cross_entropy'"):
    check(
      "cross_entropy",
      {"student": logits, "label": logits[:, 0]},
      label="batch/target",
    )
  with pytest.raises(UserError, match="the loss 'cross_entropy'"):
    check("binary_cross_entropy", {"student": logits, "label": ids})


def test_whole_numbers_of_the_data_are_values_of_a_regression():
  arrays = {"student": jnp.zeros((4, 1)), "target": jnp.zeros(4, jnp.int32)}
  check("huber", arrays, target="batch/target")
  with pytest.raises(UserError, match="Labels are no scores"):
    check("huber", arrays, target="batch/label")


def test_one_letter_has_one_size():
  student = np.zeros((4, 3), np.float32)
  label, counts = np.zeros(4, np.int32), np.ones(5, np.float32)
  arrays = {"student": student, "label": label, "counts": counts}
  with pytest.raises(UserError, match="have 3 and 5 on the axis 'K'"):
    check("logit_adjustment", arrays)


def test_a_mask_of_positions_holds_booleans():
  with pytest.raises(UserError, match=r"`mask` is int32 \[4, 3\]"):
    reduction.counted(
      jnp.zeros((4, 3)),
      jnp.ones(4, bool),
      {"mask": jnp.ones((4, 3), jnp.int32)},
    )


def test_a_loss_without_annotations_reads_anything():
  def plain(student, teacher):
    return (student - teacher) ** 2

  arrays = {"student": np.zeros(3, np.int8), "teacher": np.zeros((3, 1), bool)}
  mine = Term("mine", plain, {}, {}, (), "kd", False, {}, {})
  arguments.check(mine, arrays)
  arguments.check_sizes(mine, arrays)
  one_class.check(mine, arrays)

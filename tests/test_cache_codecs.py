"""Codecs of teacher outputs, compared with NumPy value by value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.cache import codecs, outputs
from kdjax.cache.manifest import Output
from kdjax.errors import ShapeError, UserError

N, K = 6, 11
ALL = (*codecs.CASTS, "int8", "top3")


def logits(seed=0, shape=(N, K), size=4.0):
  rng = np.random.default_rng(seed)
  return (size * rng.normal(size=shape)).astype(np.float32)


def stored(name, x, **options):
  """Rows after encoding and compiled decoding."""
  codec = codecs.find(name)
  decode = jax.jit(lambda parts: codec.decode(parts, x.shape[1:], **options))
  return np.asarray(decode(codec.encode(x)))


def probabilities(row):
  """The softmax of one row of logits, in float64."""
  row = [float(value) - max(map(float, row)) for value in row]
  total = sum(np.exp(value) for value in row)
  return np.array([np.exp(value) / total for value in row])


def largest(row, k):
  """The classes of the k largest logits, ties by class."""
  left, kept = list(range(len(row))), []
  for _ in range(k):
    best = left[0]
    for column in left:
      if row[column] > row[best]:
        best = column
    kept.append(best)
    left.remove(best)
  return kept


@pytest.mark.parametrize("name", ALL)
def test_encoded_parts_have_the_announced_shapes_and_dtypes(name):
  codec, x = codecs.find(name), logits()
  announced = {
    part: ((N, *row.shape), row.dtype)
    for part, row in codec.parts((K,)).items()
  }
  encoded = codec.encode(x)
  assert announced == {
    part: (rows.shape, rows.dtype) for part, rows in encoded.items()
  }
  size = codecs.bytes_per_row(codec.parts((K,)))
  assert N * size == sum(rows.nbytes for rows in encoded.values())


@pytest.mark.parametrize("name", ALL)
def test_decoded_rows_are_float32_of_the_stored_shape(name):
  decoded = stored(name, logits())
  assert decoded.dtype == np.float32
  assert decoded.shape == (N, K)


@pytest.mark.parametrize("name", [*codecs.CASTS, "int8"])
@pytest.mark.parametrize("shape", [(N,), (N, 2, 3, 5)])
def test_a_row_may_have_any_shape(name, shape):
  x = logits(shape=shape)
  np.testing.assert_allclose(stored(name, x), x, rtol=0.02, atol=0.1)


@pytest.mark.parametrize("name", ALL)
def test_zero_rows_are_stored(name):
  assert stored(name, logits(shape=(0, K))).shape == (0, K)


def test_float32_is_exact_bit_for_bit():
  x = logits(size=1e-3)
  x[0, :4] = [0.0, -0.0, 1e-42, 3e38]
  np.testing.assert_array_equal(
    stored("float32", x).view(np.uint32), x.view(np.uint32)
  )


def test_bfloat16_is_the_upper_half_rounded_to_even():
  x = logits(shape=(40, K))
  x[0, :2] = np.array([0x3F808000, 0x3F818000], np.uint32).view(np.float32)
  bits = x.view(np.uint32).astype(np.uint64)
  rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
  want = rounded.astype(np.uint32).view(np.float32)
  np.testing.assert_array_equal(stored("bfloat16", x), want)


def test_float16_is_off_by_a_2048th_at_most():
  x = logits(shape=(40, K))
  off = np.abs(stored("float16", x) - x)
  assert (off <= np.maximum(np.abs(x) / 2048, 2.0**-25)).all()
  exact = np.array([[0.5, -1.25, 65504.0, 2.0**-24]], np.float32)
  np.testing.assert_array_equal(stored("float16", exact), exact)


@pytest.mark.parametrize(
  ("name", "value"), [("float16", 7e4), ("bfloat16", 3.4e38)]
)
def test_a_value_that_a_type_cannot_hold_is_refused(name, value):
  x = logits()
  x[2, 3] = value
  with pytest.raises(UserError, match=f"{name} cannot hold .*float32"):
    codecs.find(name).encode(x)


def test_int8_is_off_by_half_a_step_of_its_row_at_most():
  x = logits(shape=(40, 3, 5)) * np.logspace(-6, 6, 40)[:, None, None]
  x = x.astype(np.float32)
  decoded = stored("int8", x)
  for row, got in zip(x.astype(np.float64), decoded, strict=True):
    step = np.abs(row).max() / 127
    assert np.abs(row - got).max() <= step / 2 * (1 + 1e-5)


def test_int8_keeps_zeros_and_the_greatest_of_a_row():
  x = logits()
  x[:, 2], x[3] = 0, 0
  with np.errstate(divide="raise", invalid="raise"):
    decoded = stored("int8", x)
  assert (decoded[x == 0] == 0).all()
  for row, got in zip(x, decoded, strict=True):
    place = np.abs(row).argmax()
    np.testing.assert_allclose(got[place], row[place], rtol=1e-6)


def test_int8_takes_rows_that_are_almost_zero():
  decoded = stored("int8", np.full((1, 3), 1e-44, np.float32))
  np.testing.assert_allclose(decoded, 0, atol=1e-43)


@pytest.mark.parametrize("k", [1, 3, K - 1])
def test_top_keeps_the_largest_in_order(k):
  x = logits(shape=(30, K))
  classes = codecs.find(f"top{k}").encode(x)["classes"]
  assert classes.tolist() == [largest(row, k) for row in x.tolist()]


def test_of_equal_logits_the_first_are_kept():
  rng = np.random.default_rng(0)
  x = rng.integers(0, 3, size=(50, K)).astype(np.float32)
  x[0] = 1
  classes = codecs.find("top4").encode(x)["classes"]
  assert classes.tolist() == [largest(row, 4) for row in x.tolist()]


@pytest.mark.parametrize("rest", codecs.RESTS)
def test_kept_logits_are_exact_to_float16_of_their_gap(rest):
  x = logits(shape=(30, K), size=20.0)
  decoded = stored("top4", x, rest=rest)
  for row, got in zip(x, decoded, strict=True):
    places = largest(row, 4)
    assert got[places[0]] == row[places[0]]
    gaps = row[places[0]] - row[places]
    off = np.abs(got[places] - row[places])
    assert (off <= gaps / 2048 + 1e-5).all()


@pytest.mark.parametrize(
  ("K", "k"), [(2, 1), (11, 1), (11, 4), (11, 10), (300, 7)]
)
def test_spread_classes_have_the_probability_that_was_left(K, k):
  x = logits(shape=(20, K))
  decoded = stored(f"top{k}", x, rest="spread")
  for row, got in zip(x, decoded, strict=True):
    kept = largest(row, k)
    others = [one for one in range(K) if one not in kept]
    full, found = probabilities(row), probabilities(got)
    np.testing.assert_allclose(found[kept], full[kept], rtol=0.01)
    left = full[others].sum()
    np.testing.assert_allclose(found[others].sum(), left, rtol=0.01)
    each = found[others]
    np.testing.assert_allclose(each, np.full(K - k, each[0]), rtol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_dropped_classes_have_no_probability(temperature):
  x = logits(shape=(20, K))
  decoded = stored("top4", x, rest="drop")
  assert np.isfinite(decoded).all()
  for row, got in zip(x, decoded, strict=True):
    kept = largest(row, 4)
    found = np.asarray(jax.nn.softmax(jnp.asarray(got) / temperature))
    assert (np.delete(found, kept) == 0).all()
    want = probabilities(row[kept] / temperature)
    np.testing.assert_allclose(found[kept], want, rtol=0.01)


@pytest.mark.parametrize("rest", codecs.RESTS)
def test_extreme_logits_stay_finite_and_keep_their_probability(rest):
  x = np.full((3, K), -1e4, np.float32)
  x[0, 5] = 1e4
  x[1, :6] = 1e4
  x[2, 2] = -9999.0
  decoded = stored("top4", x, rest=rest)
  assert np.isfinite(decoded).all()
  np.testing.assert_allclose(probabilities(decoded[0]), probabilities(x[0]))
  np.testing.assert_allclose(decoded[1, :4], 1e4)
  if rest == "spread":
    for place in (1, 2):
      found, want = probabilities(decoded[place]), probabilities(x[place])
      kept = largest(x[place], 4)
      np.testing.assert_allclose(found[kept], want[kept], rtol=2e-3)


def test_a_masked_class_of_minus_1e9_is_no_probability():
  x = logits()
  x[:, 3:] = -1e9
  decoded = stored("top5", x)
  assert np.isfinite(decoded).all()
  assert (np.asarray(jax.nn.softmax(decoded))[:, 3:] == 0).all()


def test_top_1_with_spread_knows_the_share_of_the_first_of_two():
  x = np.array([[0.3, -1.1], [-2.0, 5.0]], np.float32)
  np.testing.assert_allclose(stored("top1", x), x, rtol=1e-5)


@pytest.mark.parametrize(
  ("K", "dtype"),
  [
    (256, np.uint8),
    (257, np.uint16),
    (65536, np.uint16),
    (65537, np.uint32),
  ],
)
def test_classes_are_as_small_as_their_number_allows(K, dtype):
  x = np.zeros((2, K), np.float32)
  x[:, [K - 1, 0]] = [[3, 2], [2, 3]]
  encoded = codecs.find("top2").encode(x)
  assert encoded["classes"].dtype == dtype
  assert encoded["classes"].tolist() == [[K - 1, 0], [0, K - 1]]
  assert stored("top2", x).argmax(axis=1).tolist() == [K - 1, 0]


@pytest.mark.parametrize("rest", codecs.RESTS)
@pytest.mark.parametrize("rows", [0, N])
def test_top_stores_each_position_as_a_row_of_its_own(rows, rest):
  x = logits(shape=(rows, 2, 3, K))
  codec = codecs.find("top4")
  announced = {
    part: ((rows, *row.shape), row.dtype)
    for part, row in codec.parts(x.shape[1:]).items()
  }
  encoded = codec.encode(x)
  assert announced == {
    part: (stored.shape, stored.dtype) for part, stored in encoded.items()
  }
  alone = stored("top4", x.reshape(-1, K), rest=rest)
  found = stored("top4", x, rest=rest)
  np.testing.assert_array_equal(found, alone.reshape(x.shape))


@pytest.mark.parametrize("shape", [(5,), (4,), (), (9, 5)])
def test_top_refuses_what_is_no_row_of_more_classes(shape):
  with pytest.raises(ShapeError, match="top5 cannot store"):
    codecs.find("top5").parts(shape)


@pytest.mark.parametrize("name", ["top", "top0", "top-1", "float8", "top5x"])
def test_an_unknown_codec_is_named_with_the_known_ones(name):
  with pytest.raises(UserError, match=f"No codec '{name}'.*top<k>"):
    codecs.find(name)


def test_an_unknown_rest_is_refused():
  with pytest.raises(UserError, match="Did you mean 'spread'"):
    stored("top3", logits(), rest="spred")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_row(name, value):
  x = logits()
  x[4, 7] = value
  with pytest.raises(UserError, match=f"1 of 6 rows: row 4 has {value}"):
    codecs.find(name).encode(x)


@pytest.mark.parametrize("name", ALL)
def test_a_teacher_in_bfloat16_is_stored(name):
  x = logits().astype(jnp.bfloat16)
  wide = x.astype(np.float32)
  np.testing.assert_array_equal(stored(name, x), stored(name, wide))


def test_a_million_examples_at_top_10_of_1000_are_under_100_mb():
  size = codecs.bytes_per_row(codecs.find("top10").parts((1000,)))
  index = 8
  assert 1_000_000 * (size + index) < 100e6


def test_distortion_is_the_divergence_and_the_largest_difference():
  full, decoded = logits(1, size=1.0), logits(2, size=1.0)
  divergence = 0.0
  for row, approximate in zip(full, decoded, strict=True):
    p, q = probabilities(row), probabilities(approximate)
    divergence += sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))
  found = codecs.distortion(full, jnp.asarray(decoded))
  np.testing.assert_allclose(found.kl, divergence / N, rtol=1e-6)
  assert found.difference == pytest.approx(
    max(abs(float(full[at]) - float(decoded[at])) for at in np.ndindex(N, K))
  )


def test_the_distortion_of_exact_values_is_zero():
  x = logits()
  assert codecs.distortion(x, stored("float32", x)) == (0, 0)


def test_more_kept_classes_are_closer_to_the_full_logits():
  x = logits(shape=(50, K))
  errors = [
    codecs.distortion(x, stored(f"top{k}", x)).kl for k in (1, 3, 6, 10)
  ]
  assert errors == sorted(errors, reverse=True)
  assert errors[-1] < 1e-5


OUTPUTS = {
  "logits": Output((K,), "float32", "top3"),
  "image/tokens": Output((2, 3), "float32", "int8"),
}


def test_outputs_are_encoded_to_parts_and_decoded():
  arrays = {"logits": logits(), "image/tokens": logits(1, (N, 2, 3))}
  encoded = outputs.encode(OUTPUTS, arrays)
  assert encoded.keys() == outputs.parts(OUTPUTS).keys()
  decoded = jax.jit(lambda parts: outputs.decode(OUTPUTS, parts))(encoded)
  for name, codec in (("logits", "top3"), ("image/tokens", "int8")):
    np.testing.assert_array_equal(decoded[name], stored(codec, arrays[name]))


def test_one_output_of_several_is_decoded_alone():
  arrays = {"logits": logits(), "image/tokens": logits(1, (N, 2, 3))}
  encoded = outputs.encode(OUTPUTS, arrays)
  few = {"logits": OUTPUTS["logits"]}
  alone = {name: encoded[name] for name in outputs.parts(few)}
  assert [*outputs.decode(few, alone)] == ["logits"]


def test_the_output_that_cannot_be_stored_is_named():
  arrays = {"logits": logits(), "image/tokens": logits(1, (N, 2, 3))}
  arrays["image/tokens"][1, 1, 1] = np.nan
  with pytest.raises(UserError, match=r"'image/tokens' cannot.*row 1 has nan"):
    outputs.encode(OUTPUTS, arrays)
  arrays["logits"] = logits(shape=(N, K + 1))
  with pytest.raises(ShapeError, match=r"'logits' of an example is \[12\]"):
    outputs.encode(OUTPUTS, arrays)

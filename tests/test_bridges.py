"""Default addresses by place, bridges between networks, and the head itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import config, registry
from kdjax.config import bridges, layers, places, ways
from kdjax.errors import ShapeError, UserError
from kdjax.heads import bridge
from kdjax.stage import build
from kdjax.training import workdir

B, T, D = 3, 6, 4
CONV = config.network("conv", widths=(4, 6), num_classes=5)
DEEP = config.network("resnet_cifar", num_classes=5)
VIT = config.network("vit", depth=6, num_classes=5, image_size=(8, 8), patch=4)
WORDS = config.network("text_transformer", vocabulary=9, depth=4, num_classes=5)
SHORT = config.network("text_cnn", vocabulary=9, num_classes=5)
SOUND = config.network("audio_cnn", num_classes=5)
NUMBERS = config.network("mlp", num_classes=5)


def applied(x, like=None, positions=None, **options):
  head = bridge.Head(**options)
  run = lambda x, like: head.init_with_output(
    jax.random.key(0), x, like, positions=positions
  )
  return run(x, like)


def normal(*shape):
  return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def mask():
  return np.arange(T)[None] < np.array([[2], [0], [T]])


def resolved(method, student, teacher, frozen=False, **options):
  """The resolved terms of a method's last stage."""
  labels = {"cross_entropy": config.term("cross_entropy")}
  of = config.frozen(teacher) if frozen else config.teacher("teacher")
  base = config.stage(student, teachers={"teacher": of}, terms=labels)
  stages = config.method(method, base, **options)
  if not frozen:
    stages = {"teacher": config.stage(teacher, terms=labels), **stages}
  plan = config.experiment("x", data=config.data("digits"), stages=stages)
  plain = bridges.resolved(plan.to_dict())
  return plain["stages"][plain["order"][-1]]["terms"]


@pytest.mark.parametrize(
  "to, shape", [("vector", (B, D)), ("tokens", (B, 1, D))]
)
def test_pooling_is_the_mean_over_valid_positions(to, shape):
  x, valid = normal(B, T, D), mask()
  output, variables = applied(x, positions=jnp.asarray(valid), to=to)
  expected = np.zeros((B, D), np.float32)
  expected[0], expected[2] = x[0, :2].mean(0), x[2].mean(0)
  assert output.shape == shape and not variables
  np.testing.assert_allclose(output.reshape(B, D), expected, atol=1e-6)


def test_pooling_a_spectrogram_skips_its_padded_times():
  x, valid = normal(B, T, 5, D), mask()
  output, _ = applied(x, positions=jnp.asarray(valid), to="map")
  assert output.shape == (B, 1, 1, D)
  np.testing.assert_allclose(output[0, 0, 0], x[0, :2].mean((0, 1)), atol=1e-6)
  np.testing.assert_array_equal(output[1], 0.0)


def test_attention_pooling_is_a_softmax_of_learned_queries():
  x, valid = normal(B, T, D), mask()
  options = {"pooling": "attention", "queries": 2}
  output, variables = applied(x, positions=jnp.asarray(valid), **options)
  query = variables["params"]["query"]
  expected = np.zeros((B, D))
  for row, count in ((0, 2), (2, T)):
    scores = np.exp(x[row, :count] @ np.asarray(query).T / D**0.5)
    weights = scores / scores.sum(0)
    expected[row] = (weights.T @ x[row, :count]).mean(0)
  np.testing.assert_allclose(output, expected, atol=1e-5)


def test_a_grid_of_patches_has_no_class_token_and_the_maps_size():
  x = normal(B, 1 + 8 + 2, D)
  like = np.zeros((B, 2, 4, 7), np.float32)
  grid, _ = applied(x, like, to="map", by="grid", skip=(1, 2))
  np.testing.assert_array_equal(grid, x[:, 1:9].reshape(B, 2, 4, D))
  constant = np.ones_like(x)
  large = np.zeros((B, 6, 12, 7), np.float32)
  grid, _ = applied(constant, large, to="map", by="grid", skip=(1, 2))
  assert grid.shape == (B, 6, 12, D)
  np.testing.assert_allclose(grid, 1.0, atol=1e-6)


def test_a_map_is_tokens_row_by_row_in_the_patches_grid():
  x, patches = normal(B, 2, 2, D), np.zeros((B, 5, 7), np.float32)
  options = {"to": "tokens", "by": "grid", "other_skip": (1, 0)}
  tokens, _ = applied(x, patches, **options)
  np.testing.assert_array_equal(tokens, x.reshape(B, 4, D))
  tokens, _ = applied(normal(B, 8, 8, D), patches, **options)
  assert tokens.shape == (B, 4, D)
  own, _ = applied(
    normal(B, 5, D), x, to="tokens", by="grid", skip=(1, 0), keeps=True
  )
  np.testing.assert_array_equal(own, normal(B, 5, D)[:, 1:])


def test_tokens_that_are_no_grid_are_refused():
  with pytest.raises(ShapeError, match="7 tokens are no grid"):
    applied(normal(B, 7, D), to="map", by="grid")


def test_a_line_of_as_many_points_is_the_valid_tokens():
  x = normal(B, T, D)
  line, _ = applied(x, to="tokens", by="line", points=T)
  np.testing.assert_allclose(line, x, atol=1e-6)
  valid = np.array([[False, True, False, True, True, False]] * B)
  line, _ = applied(
    x, positions=jnp.asarray(valid), to="map", by="line", points=3
  )
  np.testing.assert_allclose(line[:, :, 0], x[:, [1, 3, 4]], atol=1e-6)


def test_a_longer_line_interpolates_and_ignores_padding():
  x, valid = normal(B, T, D), jnp.asarray(mask())
  line, _ = applied(x, positions=valid, to="tokens", by="line", points=4)
  # Points are at 0 (clipped), 1/4, 3/4 and 1 (clipped) of the two tokens.
  expected = [
    x[0, 0] + share * (x[0, 1] - x[0, 0]) for share in (0.0, 0.25, 0.75, 1.0)
  ]
  np.testing.assert_allclose(line[0], expected, atol=1e-6)
  np.testing.assert_array_equal(line[1], 0.0)
  other = np.where(mask()[..., None], x, 99.0).astype(np.float32)
  again, _ = applied(other, positions=valid, to="tokens", by="line", points=4)
  np.testing.assert_array_equal(again, line)


def test_a_shorter_line_averages_neighbours():
  x = np.broadcast_to(
    np.arange(16.0, dtype=np.float32)[None, :, None], (1, 16, 1)
  )
  line, _ = applied(x, to="tokens", by="line", points=4)
  np.testing.assert_allclose(line[0, 1:3, 0], [5.5, 9.5], atol=1e-5)


@pytest.mark.parametrize(
  "options, message",
  [
    ({"to": "maps"}, "No to 'maps'"),
    ({"by": "gird"}, "No by 'gird'"),
    ({"pooling": "max"}, "No pooling 'max'"),
    ({"to": "vector", "by": "line"}, "to a vector has by='line'"),
    ({"points": 0}, "points=0"),
  ],
)
def test_options_of_a_bridge_are_checked(options, message):
  with pytest.raises(UserError, match=message):
    applied(normal(B, T, D), **options)


def test_two_cnns_read_the_same_addresses_and_have_no_bridge():
  (term,) = (resolved("fitnet", CONV, DEEP)[key] for key in ("fitnet",))
  assert term["reads"] == {
    "student": "student/stage1",
    "teacher": "teacher/stage1",
  }
  assert "bridges" not in term


def test_a_default_address_is_the_layer_at_its_place():
  terms = resolved("at", CONV, VIT)
  assert terms["at0"]["reads"]["teacher"] == "teacher/block02"
  assert terms["at1"]["reads"]["teacher"] == "teacher/block05"
  assert terms["at1"]["reads"]["student"] == "student/stage1"
  made = terms["at1"]["bridges"]
  assert list(made) == ["teacher"]
  assert (made["teacher"]["by"], made["teacher"]["skip"]) == ("grid", (1, 0))


def test_networks_over_different_inputs_are_pooled():
  (bridged,) = [resolved("fitnet", CONV, WORDS)["fitnet"]["bridges"]]
  assert {key: (one["to"], one["by"]) for key, one in bridged.items()} == {
    "student": ("map", "pool"),
    "teacher": ("map", "pool"),
  }


def test_words_of_one_text_are_a_line():
  bridged = resolved("at", SHORT, WORDS)["at0"]["bridges"]
  assert {one["by"] for one in bridged.values()} == {"line"}
  assert (
    "bridges" not in resolved("hidden_states", SHORT, WORDS)["hidden_states0"]
  )


def test_layers_over_one_series_are_a_line_unless_they_have_all_its_steps():
  of = lambda name: config.network(name, num_classes=5)
  ways_of = lambda terms: {
    one["by"]
    for term in terms.values()
    for one in term.get("bridges", {}).values()
  }
  whole, strided = of("resnet1d"), of("series_cnn")
  assert not ways_of(resolved("hidden_states", of("rnn"), whole))
  for student, teacher in (
    (strided, whole),
    (strided, of("patch_series")),
    (strided, strided),
  ):
    assert ways_of(resolved("hidden_states", student, teacher)) == {"line"}
  patches = of("patch_series")
  assert not ways_of(resolved("hidden_states", patches, patches))
  assert ways_of(resolved("at", of("rnn"), whole)) == {"line"}


def test_an_image_and_a_spectrogram_do_not_correspond():
  bridged = resolved("fitnet", CONV, SOUND)["fitnet"]["bridges"]
  assert {one["by"] for one in bridged.values()} == {"pool"}


def test_a_fusion_is_read_at_the_encoder_of_the_students_modality():
  fusion = config.network(
    "fusion", encoders={"a": SOUND, "b": CONV}, num_classes=5
  )
  term = resolved("at", CONV, fusion)["at1"]
  assert term["reads"]["teacher"] == "teacher/b/stage1"
  assert "bridges" not in term
  term = resolved("fitnet", NUMBERS, fusion)["fitnet"]
  assert term["reads"]["teacher"] == "teacher/b/stage1"


def test_a_checkpoint_whose_blocks_are_not_known_is_read_at_its_tokens():
  bert = config.network("bert", pretrained="somewhere")
  terms = resolved("hidden_states", WORDS, bert, frozen=True)
  reads = [terms[f"hidden_states{i}"]["reads"]["teacher"] for i in (0, 1)]
  assert reads == ["teacher/embedded", "teacher/tokens"]


def test_an_address_that_is_set_is_kept_and_paired():
  options = {"teacher_map": "teacher/block03"}
  term = resolved("fitnet", CONV, WORDS, **options)["fitnet"]
  assert term["reads"]["teacher"] == "teacher/block03"
  assert term["bridges"]["teacher"]["by"] == "pool"
  # Both set: nothing is added.
  options["student_map"] = "student/stage0"
  assert "bridges" not in resolved("fitnet", CONV, WORDS, **options)["fitnet"]


def test_a_term_may_say_its_bridges():
  attention = config.head("bridge", to="map", pooling="attention")
  term = config.term(
    "mse",
    reads={"student": "student/stage1|last", "teacher": "teacher/stage1|last"},
    bridges={"student": attention},
  )
  labels = {"cross_entropy": config.term("cross_entropy")}
  stages = {
    "teacher": config.stage(WORDS, terms=labels),
    "student": config.stage(
      CONV, teachers={"teacher": config.teacher("teacher")}, terms={"t": term}
    ),
  }
  plan = config.experiment("x", data=config.data("digits"), stages=stages)
  found = bridges.resolved(plan.to_dict())["stages"]["student"]["terms"]["t"]
  assert found["reads"]["teacher"] == "teacher/block03"
  assert list(found["bridges"]) == ["student"]


@pytest.mark.parametrize(
  "made", [config.head("bridge", init_from="teacher"), config.same_head("kd")]
)
def test_a_bridge_starts_anew(made):
  reads = {"student": "student/stage1", "teacher": "teacher/stage1"}
  term = config.term("mse", reads=reads, bridges={"student": made})
  labels = {"cross_entropy": config.term("cross_entropy")}
  stages = {
    "teacher": config.stage(DEEP, terms=labels),
    "student": config.stage(
      CONV, teachers={"teacher": config.teacher("teacher")}, terms={"t": term}
    ),
  }
  plan = config.experiment("x", data=config.data("digits"), stages=stages)
  with pytest.raises(UserError, match="A bridge starts anew"):
    build.build(workdir.resolve(plan), "student")


def test_an_unknown_place_is_answered_with_the_known_ones():
  options = {"student_map": "student/stage1|lsat"}
  with pytest.raises(UserError, match="Did you mean 'last'"):
    resolved("fitnet", CONV, DEEP, **options)


@pytest.mark.parametrize(
  "method, student, teacher",
  [
    ("at", CONV, WORDS),
    ("minilm", CONV, VIT),
    ("ofd", CONV, VIT),
    ("clip_kd", CONV, VIT),
    ("mmd", NUMBERS, NUMBERS),
  ],
)
def test_a_refusal_names_two_methods_that_run(method, student, teacher):
  with pytest.raises(UserError) as refusal:
    resolved(method, student, teacher)
  named = [
    name
    for name in registry.names("methods")
    if f"'{name}'" in str(refusal.value) and name != method
  ]
  assert len(named) == 2, refusal.value
  for name in named:
    resolved(name, student, teacher)


def test_a_network_that_says_nothing_is_read_as_before(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text("class Model:\n  num_classes: int = 5\n")
  mine = config.network(str(path))
  term = resolved("fitnet", CONV, mine)["fitnet"]
  assert term["reads"]["teacher"] == "teacher/stage1"
  assert "bridges" not in term


def test_kinds_and_places_of_the_tables_exist():
  losses = {*ways.OF_EXAMPLES, *ways.OF_POSITIONS, *ways.OF_FIRST}
  assert losses <= set(registry.names("losses"))
  for name in registry.names("models"):
    said = registry.describe("models", name).constants.get("LAYERS", ())
    assert {kind for _, kind, _ in said} <= {*layers.KINDS}, name
  for name in registry.names("methods"):
    for value in registry.describe("methods", name).options.values():
      for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and "/" in text and "|" in text:
          assert text.partition("|")[2] in places.PLACES, name

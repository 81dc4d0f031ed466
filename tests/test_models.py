"""Every network keeps the contract, and each does what it says."""

import ast
import functools
import inspect
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax import config, registry
from kdjax.errors import ShapeError, UserError
from kdjax.models import conv, fusion, patch_transformer, text_transformer
from kdjax.stage import networks

KEY = jax.random.key(0)
B, K, T, WORDS = 6, 5, 7, 11

# Of a computation that runs once: what it is compiled for is not speed.
QUICK = {"xla_backend_optimization_level": 0}

# What a key of the inputs holds, beside mask/<modality> and has/<modality>.
INPUTS = {
  "image": lambda random: random.normal(size=(B, 8, 8, 1)),
  "text": lambda random: random.integers(0, WORDS, size=(B, T)),
  "audio": lambda random: random.normal(size=(B, T, 10)),
  "waveform": lambda random: random.normal(size=(B, T)),
}

# Values of fields by name: those without a default, and the classes.
VALUES = {
  "num_classes": lambda: K,
  "vocabulary": lambda: WORDS,
  "encoders": lambda: {
    "image": conv.Model(widths=(4, 6)),
    "text": text_transformer.Model(vocabulary=WORDS, width=8),
  },
}

# Encoders that take public weights, whose defaults are published sizes.
ENCODER = {"width": 8, "depth": 2, "heads": 2, "inner": 12}
TOWERS = {
  "image_size": (8, 8),
  "patch": 4,
  **{
    f"{tower}_{key}": value
    for tower in ("image", "text")
    for key, value in ENCODER.items()
  },
}

# Smaller than by default, to be compiled in less time; and deep networks grow
# what is moved away from its start beyond what rounding lets compare.
OPTIONS_TO_TEST = {
  "ast": {
    "width": 8,
    "depth": 1,
    "inner": 10,
    "bins": 10,
    "length": 9,
    "patch": 4,
    "strides": (3, 2),
  },
  "audio_cnn": {"widths": (4, 6)},
  "bert": ENCODER,
  "bilstm": {"width": 6, "words": 5},
  "clip": {"width": 5, "length": 24, **TOWERS},
  "dinov2": {**ENCODER, "image_size": (8, 8), "patch": 4},
  "lenet": {"widths": (4, 6, 10, 8), "padding": (2, 2)},
  "mlp": {"widths": (10, 8)},
  "mobilenet_v2": {
    "width": 0.2,
    "expansion": 2,
    "blocks": (1, 2, 0, 1, 0, 1, 0),
  },
  "resnet": {"depth": 10, "width": 4},
  "resnet_cifar": {"depth": 8, "widths": (4, 4, 6, 8)},
  "shufflenet_v1": {"widths": (48, 72, 96), "blocks": (1, 2, 1)},
  "shufflenet_v2": {"widths": (12, 16, 24, 32), "blocks": (1, 1, 1)},
  "siglip": {"length": 24, **TOWERS},
  "spectrogram_transformer": {"width": 8, "depth": 1, "patch": 4, "stride": 3},
  "text_cnn": {"words": 5, "channels": 4},
  "vgg": {"widths": (4, 6, 8, 10, 8)},
  "vit": {**ENCODER, "image_size": (8, 8), "patch": 4},
  "wav2vec2": {
    "modality": "waveform",
    "width": 8,
    "depth": 1,
    "inner": 10,
    "channels": (6, 5),
    "kernels": (2, 2),
    "strides": (2, 1),
    "places": 2,
    "groups": 2,
  },
  "whisper": {"width": 8, "depth": 1, "inner": 10, "bins": 10, "length": 5},
  "wide_resnet": {"depth": 10, "widen": 1, "width": 4},
}

# Further options under which a network keeps the contract.
VARIANTS = {
  "ast": ({"pooling": "mean"},),
  "bert": (
    {"offset": 1, "kinds": 1, "pooling": "pooler", "separator": 3},
    {"kinds": 0, "pooler": False, "pooling": "cls"},
  ),
  "clip": ({"end": 3, "classifies": "text"},),
  "dinov2": ({"gated": True, "registers": 2, "pooling": "both"},),
  "fusion": ({"join": "cross_attention"},),
  "patch_transformer": (
    {"pooling": "cls", "distillation_token": True, "registers": 2},
  ),
  "resnet": (
    {"blocks": (1, 2), "widths": (8, 12), "bottleneck": True, "early": True},
  ),
  "vit": (
    {"pooler": True, "pooling": "pooler"},
    {
      "distillation_token": True,
      "distillation_head": True,
      "pooling": "mean",
    },
  ),
  "wav2vec2": ({"conv_norm": "layer", "conv_bias": True, "norm_first": True},),
  "whisper": ({"projector": 6},),
}

JOINS = ("concatenate", "average", "gated", "cross_attention", "bottleneck")


class Example:
  """A file of the room, a small instance of it and what it is called with."""

  def __init__(self, name, options):
    self.about = registry.describe("models", name)
    self.kind = registry.find("models", name)
    given = {}
    for field, default in self.about.options.items():
      if field in VALUES:
        given[field] = VALUES[field]()
      assert default is not registry.REQUIRED or field in VALUES, (
        f"'{name}' needs '{field}': give VALUES one to test with."
      )
    self.options = {**given, **OPTIONS_TO_TEST.get(name, {}), **options}
    self.model = self.kind(**self.options)
    self.inputs = make_inputs(self.model)
    self.variables = init(self.model, self.inputs)
    self.infer = inference(self.model)

  def __call__(self, inputs):
    return self.infer(self.variables, inputs)

  def but(self, **fields):
    """The network with other fields."""
    return self.kind(**self.options, **fields)


def make_inputs(model, seed=0):
  """What a network reads; with padding, and a modality absent in places."""
  random = np.random.default_rng(seed)
  inputs = {}
  for key in sorted(model.reads):
    kind, _, modality = key.rpartition("/")
    if kind == "mask":
      lengths = np.arange(B) % T + 1
      inputs[key] = jnp.asarray(np.arange(T) < lengths[:, None])
    elif kind == "has":
      absent = sum(map(ord, modality)) % B
      inputs[key] = jnp.asarray(np.arange(B) != absent)
    else:
      assert key in INPUTS, f"Give INPUTS a '{key}' to test with."
      value = INPUTS[key](random)
      kind = jnp.float32 if value.dtype.kind == "f" else jnp.int32
      inputs[key] = jnp.asarray(value, kind)
  return inputs


def init(model, inputs):
  """Variables away from their start, where some arrays are 0 or alike."""
  start = functools.partial(model.init, train=False)
  variables = jax.jit(start, compiler_options=QUICK)(KEY, inputs)
  random = np.random.default_rng(1)
  move = lambda leaf: leaf + 0.3 * random.normal(size=leaf.shape).astype("f4")
  return {**variables, "params": jax.tree.map(move, variables["params"])}


def inference(model):
  """(variables, inputs) -> outputs."""
  return jax.jit(functools.partial(model.apply, train=False))


def training(model):
  """(variables, inputs) -> outputs and new collections."""

  @jax.jit
  def step(variables, inputs, key=KEY):
    rest = [name for name in variables if name != "params"]
    return model.apply(
      variables, inputs, train=True, rngs={"dropout": key}, mutable=rest
    )

  return step


def shapes(model, inputs):
  """Outputs and variables, computing neither."""
  start = functools.partial(model.init_with_output, train=False)
  return jax.eval_shape(start, KEY, inputs)


def equal(actual, expected, tolerance=1e-4):
  assert actual.keys() == expected.keys()
  for key in expected:
    np.testing.assert_allclose(
      actual[key],
      expected[key],
      rtol=tolerance,
      atol=tolerance,
      err_msg=key,
    )


@pytest.fixture(
  params=[
    (name, options)
    for name in registry.names("models")
    for options in ({}, *VARIANTS.get(name, ()))
  ],
  ids=lambda given: "-".join([given[0], *map(str, given[1].values())]),
  scope="module",
)
def example(request):
  return Example(*request.param)


# Contract: every file of kdjax/models


def test_outputs_are_a_flat_dict_of_arrays_of_the_batch(example):
  outputs = example(example.inputs)
  for key, value in outputs.items():
    assert isinstance(key, str) and isinstance(value, jax.Array)
    assert value.shape[0] == B, key
    assert bool(jnp.isfinite(value).all()), key
  assert outputs["embedding"].ndim == 2
  assert outputs["logits"].shape == (B, K)


def test_inference_is_deterministic_under_dropout(example):
  # Without a key for it and without mutable collections, too.
  dropped = inference(example.but(dropout=0.5))
  expected = example(example.inputs)
  equal(dropped(example.variables, example.inputs), expected, 0)


def test_training_draws_dropout_from_its_key(example):
  step = training(example.but(dropout=0.5))
  first, again, other = (
    step(example.variables, example.inputs, jax.random.key(seed))[0]
    for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first["logits"], again["logits"])
  assert not np.allclose(first["logits"], other["logits"])


def test_rows_do_not_see_each_other_in_inference(example):
  others = make_inputs(example.model, seed=3)
  kept = np.arange(B) % 2 == 0
  choose = lambda one, other: jnp.where(
    kept.reshape(B, *[1] * (one.ndim - 1)), one, other
  )
  mixed = jax.tree.map(choose, example.inputs, others)
  part = lambda tree: jax.tree.map(lambda leaf: leaf[kept], tree)
  equal(part(example(mixed)), part(example(example.inputs)))


def test_reordered_rows_give_reordered_outputs(example):
  order = np.random.default_rng(2).permutation(B)
  moved = lambda tree: jax.tree.map(lambda leaf: leaf[order], tree)
  equal(example(moved(example.inputs)), moved(example(example.inputs)))


def test_logits_and_embedding_are_float32_when_activations_are_not(example):
  model = example.but(dtype=jnp.bfloat16)
  outputs, variables = shapes(model, example.inputs)
  assert outputs["logits"].dtype == outputs["embedding"].dtype == jnp.float32
  kinds = {leaf.dtype for leaf in jax.tree.leaves(variables)}
  assert kinds == {jnp.dtype("float32")}


def test_a_network_says_what_it_reads_and_needs(example):
  model = example.model
  assert isinstance(model, nn.Module)
  assert {*model.needs} <= {*model.reads}
  assert len({*model.reads}) == len(model.reads)
  for key in model.reads:
    kind, _, modality = key.rpartition("/")
    assert kind in ("", "mask", "has") and modality, key


def test_a_network_uses_nothing_that_it_does_not_read(example):
  assert not {"label", "index", "valid"} & {*example.model.reads}
  more = {**example.inputs, "label": jnp.arange(B), "index": jnp.arange(B)}
  equal(example(more), example(example.inputs), 0)


def test_a_network_has_the_fields_of_the_framework(example):
  model = example.but()
  assert model.axis_name is None
  assert model.dtype == jnp.float32
  # With a name for the axis, it still starts outside of it.
  shapes(example.but(axis_name="devices"), example.inputs)


def test_every_option_is_in_the_docstring(example):
  documented = inspect.getdoc(example.kind).partition("Attributes:")[2]
  for option in example.about.options:
    assert f"\n  {option}: " in documented, option


def test_gradients_are_finite_in_training(example):
  rest = {k: v for k, v in example.variables.items() if k != "params"}

  step = training(example.model)

  @functools.partial(jax.jit, compiler_options=QUICK)
  @jax.grad
  def gradient(params):
    variables = {"params": params, **rest}
    outputs, _ = step(variables, example.inputs)
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(outputs))

  gradients = gradient(example.variables["params"])
  assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradients))
  # Whatever is a parameter can learn.
  still = [
    jax.tree_util.keystr(path)
    for path, leaf in jax.tree.leaves_with_path(gradients)
    if not leaf.any()
  ]
  assert not still


@pytest.mark.parametrize("name", registry.names("models"))
def test_a_network_computes_no_loss_and_knows_no_label(name):
  tree = ast.parse(
    pathlib.Path(registry.describe("models", name).path).read_text()
  )
  strings = {
    node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)
  }
  assert "label" not in strings


# Conv


def images(*shape, seed=0):
  return {"image": jax.random.normal(jax.random.key(seed), shape)}


def test_conv_halves_between_stages():
  model, inputs = conv.Model(widths=(4, 6, 8)), images(2, 9, 8, 1)
  outputs, _ = shapes(model, inputs)
  assert {key: value.shape for key, value in outputs.items()} == {
    "stage0": (2, 9, 8, 4),
    "stage1": (2, 4, 4, 6),
    "stage2": (2, 2, 2, 8),
    "preact0": (2, 9, 8, 4),
    "preact1": (2, 4, 4, 6),
    "preact2": (2, 2, 2, 8),
    "tokens": (2, 4, 8),
    "embedding": (2, 8),
  }


def test_conv_stages_are_what_is_positive_before_relu():
  model, inputs = conv.Model(widths=(4, 6)), images(B, 8, 8, 1)
  outputs = inference(model)(init(model, inputs), inputs)
  for stage in range(2):
    preact = np.asarray(outputs[f"preact{stage}"])
    assert np.any(preact < 0)
    np.testing.assert_array_equal(
      outputs[f"stage{stage}"], np.maximum(preact, 0)
    )


@pytest.mark.parametrize("size", [(8, 8), (9, 6), (5, 7)])
def test_halving_is_max_pooling(size):
  x = jax.random.normal(KEY, (2, *size, 3))
  expected = nn.max_pool(x, (2, 2), strides=(2, 2))
  np.testing.assert_array_equal(conv._halve(x), expected)


def test_conv_says_when_an_image_is_too_small():
  model = conv.Model(widths=(4, 4, 4))
  with pytest.raises(ShapeError, match=r"1x1.*widths"):
    shapes(model, images(2, 2, 2, 1))


def test_batch_statistics_change_in_training_and_nowhere_else():
  model, inputs = conv.Model(widths=(4,)), images(B, 8, 8, 1)
  variables = init(model, inputs)
  _, trained = training(model)(variables, inputs)
  _, kept = model.apply(variables, inputs, train=False, mutable="batch_stats")
  old, new, same = (
    tree["batch_stats"]["norm0"]["mean"] for tree in (variables, trained, kept)
  )
  assert not np.allclose(old, new)
  np.testing.assert_array_equal(old, same)


def test_devices_with_a_common_axis_share_batch_statistics():
  inputs = images(B, 8, 8, 1)
  variables = init(conv.Model(widths=(4, 6)), inputs)
  alone = training(conv.Model(widths=(4, 6)))
  expected, statistics = alone(variables, inputs)
  parts = jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), inputs)
  shared = conv.Model(widths=(4, 6), axis_name="devices")
  actual, update = jax.vmap(
    lambda part: training(shared)(variables, part), axis_name="devices"
  )(parts)
  equal(
    jax.tree.map(lambda leaf: leaf.reshape(B, *leaf.shape[2:]), actual),
    expected,
  )
  for one, both in zip(
    jax.tree.leaves(statistics), jax.tree.leaves(update), strict=True
  ):
    np.testing.assert_allclose(both, jnp.stack([one, one]), rtol=1e-4)


def test_an_encoder_without_classes_has_no_logits():
  for model in (
    conv.Model(),
    patch_transformer.Model(),
    text_transformer.Model(vocabulary=WORDS),
  ):
    outputs, _ = shapes(model, make_inputs(model))
    assert "logits" not in outputs and "embedding" in outputs


# Text transformer


class Reader:
  """A text transformer, and what it reads."""

  def __init__(self):
    self.model = text_transformer.Model(
      vocabulary=WORDS, num_classes=K, width=8, depth=2
    )
    self.inputs = make_inputs(self.model)
    self.variables = init(self.model, self.inputs)
    self.infer = inference(self.model)

  def __call__(self, inputs):
    return self.infer(self.variables, inputs)


@pytest.fixture(scope="module")
def reader():
  return Reader()


def test_what_lies_at_padding_changes_no_output(reader):
  inputs = reader.inputs
  other = jnp.where(inputs["mask/text"], inputs["text"], WORDS - 1)
  assert (other != inputs["text"]).any()
  changed = reader({**inputs, "text": other})
  equal(changed, reader(inputs), 0)


def test_more_padding_changes_no_output(reader):
  inputs = reader.inputs
  wide = jax.tree.map(lambda leaf: jnp.pad(leaf, ((0, 0), (0, 3))), inputs)
  actual = reader(wide)
  for key, expected in reader(inputs).items():
    part = actual[key]
    part = part[:, :, :T, :T] if part.ndim == 4 else part
    part = part[:, :T] if part.shape[1] == T + 3 else part
    np.testing.assert_allclose(
      part, expected, rtol=1e-4, atol=1e-4, err_msg=key
    )


def test_words_do_change_the_outputs(reader):
  inputs = reader.inputs
  other = {**inputs, "text": (inputs["text"] + 1) % WORDS}
  before, after = (reader(x) for x in (inputs, other))
  for key in before:
    assert not np.allclose(before[key], after[key]), key


def test_attention_is_over_words_alone(reader):
  inputs = reader.inputs
  attention = reader(inputs)["attention01"]
  mask = np.asarray(inputs["mask/text"])
  assert attention.shape == (B, reader.model.heads, T, T)
  sums = np.broadcast_to(mask[:, None], (B, reader.model.heads, T))
  np.testing.assert_allclose(attention.sum(-1), sums, atol=1e-6)
  assert not np.where(mask[:, None, None], 0, attention).any()


def test_the_embedding_is_the_mean_over_words(reader):
  outputs = reader(reader.inputs)
  for row, mask in enumerate(np.asarray(reader.inputs["mask/text"])):
    expected = np.mean(outputs["tokens"][row][mask], axis=0)
    np.testing.assert_allclose(outputs["embedding"][row], expected, atol=1e-5)


def test_a_text_without_words_has_an_embedding_of_zeros(reader):
  inputs = reader.inputs
  empty = {**inputs, "mask/text": jnp.zeros((B, T), bool)}

  @jax.jit
  @jax.grad
  def gradient(variables):
    return reader.infer(variables, empty)["logits"].sum()

  outputs = reader(empty)
  assert not outputs["embedding"].any() and not outputs["tokens"].any()
  for leaf in jax.tree.leaves(gradient(reader.variables)):
    assert jnp.isfinite(leaf).all()


def test_without_a_mask_every_position_is_a_word(reader):
  inputs = reader.inputs
  full = {**inputs, "mask/text": jnp.ones((B, T), bool)}
  bare = {"text": inputs["text"]}
  equal(reader(bare), reader(full))


def test_the_order_of_words_matters(reader):
  inputs = reader.inputs
  bare = {"text": inputs["text"]}
  turned = {"text": inputs["text"][:, ::-1]}
  before, after = (reader(x) for x in (bare, turned))
  assert not np.allclose(before["logits"], after["logits"])


def test_a_text_longer_than_the_network_is_said():
  model = text_transformer.Model(vocabulary=WORDS, length=T - 1)
  with pytest.raises(ShapeError, match="length=6"):
    shapes(model, make_inputs(model))


def test_an_unknown_id_gives_no_number_that_looks_right(reader):
  inputs = reader.inputs
  beyond = {**inputs, "text": inputs["text"].at[0, 0].set(WORDS)}
  assert jnp.isnan(reader(beyond)["logits"][0]).all()


# Both transformers


def transformers():
  """A text and an image transformer, two blocks each."""
  return (
    text_transformer.Model(vocabulary=WORDS, num_classes=K, width=8, depth=2),
    patch_transformer.Model(num_classes=K, width=8, depth=2, patch=4),
  )


@pytest.mark.parametrize("model", transformers(), ids=["text", "image"])
def test_attention_is_the_softmax_of_scores_of_queries_and_keys(model):
  inputs = make_inputs(model)
  outputs = inference(model)(init(model, inputs), inputs)
  length = outputs["tokens"].shape[1]
  mask = inputs.get("mask/text", jnp.ones((B, length), bool))
  split = lambda x: x.reshape(B, length, model.heads, -1).transpose(0, 2, 1, 3)
  for index in range(model.depth):
    query, key, value, scores, attention = (
      outputs[f"{name}{index:02d}"]
      for name in ("query", "key", "value", "scores", "attention")
    )
    assert query.shape == key.shape == value.shape == (B, length, model.width)
    assert not value[~mask].any() and value[mask].all()
    both = mask[:, None, :, None] & mask[:, None, None, :]
    size = model.width // model.heads
    expected = split(query) @ split(key).swapaxes(2, 3) / np.sqrt(size)
    expected = np.where(both, expected, -1e4)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    weights = np.where(both, jax.nn.softmax(scores), 0)
    np.testing.assert_allclose(attention, weights, atol=1e-5)


@pytest.mark.parametrize("model", transformers(), ids=["text", "image"])
def test_an_output_that_nothing_reads_is_never_computed(model):
  inputs = make_inputs(model)
  variables = init(model, inputs)

  def operations(names):
    read = lambda inputs: [
      model.apply(variables, inputs, train=False)[name] for name in names
    ]
    return jax.jit(read).lower(inputs).compile().cost_analysis()["flops"]

  every = [f"{name}01" for name in ("scores", "query", "key", "value")]
  assert operations(["logits"]) <= operations(["logits", *every])
  assert operations(["block00"]) < operations(["block01"])


# Patch transformer


def test_patches_are_tokens_behind_the_further_ones():
  shape = lambda **options: {
    key: value.shape
    for key, value in shapes(
      patch_transformer.Model(K, width=8, depth=1, patch=4, **options),
      images(2, 8, 12, 3),
    )[0].items()
  }
  assert shape()["tokens"] == (2, 6, 8)
  assert shape(pooling="cls")["attention00"] == (2, 2, 7, 7)
  both = shape(pooling="cls", distillation_token=True)
  assert both["block00"] == (2, 8, 8)
  assert both["distillation_logits"] == (2, K)
  assert "distillation_logits" not in shape()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_distillation_token_votes_in_inference_alone(pooling):
  model = patch_transformer.Model(
    K, width=8, patch=4, pooling=pooling, distillation_token=True
  )
  inputs = make_inputs(model)
  variables = init(model, inputs)
  inferred = inference(model)(variables, inputs)
  trained, _ = training(model)(variables, inputs)
  other = inferred["distillation_logits"]
  np.testing.assert_allclose(trained["distillation_logits"], other, atol=1e-5)
  assert not np.allclose(trained["logits"], other)
  np.testing.assert_allclose(
    inferred["logits"], (trained["logits"] + other) / 2, atol=1e-5
  )


def test_the_embedding_is_the_mean_over_patches_or_the_class_token():
  for pooling, pick in (
    ("mean", lambda tokens: tokens[:, 1:].mean(1)),
    ("cls", lambda tokens: tokens[:, 0]),
  ):
    model = patch_transformer.Model(
      width=8, patch=4, pooling=pooling, distillation_token=True
    )
    inputs = make_inputs(model)
    outputs = inference(model)(init(model, inputs), inputs)
    expected = pick(outputs["tokens"])
    np.testing.assert_allclose(outputs["embedding"], expected, atol=1e-5)


def test_the_place_of_a_patch_matters():
  model = patch_transformer.Model(K, width=8, patch=4)
  inputs = make_inputs(model)
  infer, variables = inference(model), init(model, inputs)
  turned = {"image": jnp.roll(inputs["image"], 4, axis=1)}
  before, after = (infer(variables, x)["logits"] for x in (inputs, turned))
  assert not np.allclose(before, after)


def test_patches_that_do_not_divide_an_image_are_said():
  with pytest.raises(ShapeError, match="9x8 and patches of 2x2"):
    shapes(patch_transformer.Model(), images(2, 9, 8, 1))


def test_a_pooling_that_is_none_is_answered_with_those_there_are():
  with pytest.raises(UserError, match="There are: cls, mean"):
    shapes(patch_transformer.Model(pooling="max"), images(2, 8, 8, 1))


# Fusion


class Joined:
  """An image and a text, joined."""

  def __init__(self, join):
    self.model = fusion.Model(
      encoders=VALUES["encoders"](),
      num_classes=K,
      width=8,
      join=join,
      layers=1,
    )
    self.inputs = make_inputs(self.model)
    self.variables = init(self.model, self.inputs)
    self.infer, self.train = inference(self.model), training(self.model)

  def __call__(self, **inputs):
    return self.infer(self.variables, inputs)


@pytest.fixture(params=JOINS, scope="module")
def joined(request):
  return Joined(request.param)


def present(image=True, text=True):
  return {"has/image": jnp.full(B, image), "has/text": jnp.full(B, text)}


def test_what_lies_at_an_absent_modality_changes_no_output(joined):
  inputs = {**joined.inputs, **present(text=False)}
  other = {
    **inputs,
    "text": (inputs["text"] + 1) % WORDS,
    "mask/text": ~inputs["mask/text"],
  }
  equal(joined(**other), joined(**inputs), 0)
  inputs = {**joined.inputs, **present(image=False)}
  other = {**inputs, "image": inputs["image"] * jnp.nan}
  equal(joined(**other), joined(**inputs), 0)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_modality_that_is_present_changes_the_logits(joined, modality):
  inputs = {**joined.inputs, **present()}
  without = {**inputs, f"has/{modality}": jnp.zeros(B, bool)}
  before, after = joined(**inputs)["logits"], joined(**without)["logits"]
  assert not np.isclose(before, after).all(-1).any()


def test_presence_is_of_each_row(joined):
  some = jnp.arange(B) % 2 == 0
  mixed = joined(**{**joined.inputs, **present(), "has/text": some})
  with_text = joined(**{**joined.inputs, **present()})
  without = joined(**{**joined.inputs, **present(text=False)})
  expected = jnp.where(some[:, None], with_text["logits"], without["logits"])
  np.testing.assert_allclose(mixed["logits"], expected, atol=1e-5)


def test_nothing_present_is_defined_and_the_same_for_all(joined):
  logits = joined(**{**joined.inputs, **present(False, False)})["logits"]
  assert jnp.isfinite(logits).all()
  np.testing.assert_array_equal(logits, np.broadcast_to(logits[:1], (B, K)))


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_missing_key_is_an_absent_modality(joined, modality):
  inputs = {**joined.inputs, **present()}
  absent = joined(**{**inputs, f"has/{modality}": jnp.zeros(B, bool)})
  missing = joined(
    **{key: value for key, value in inputs.items() if modality not in key}
  )
  np.testing.assert_allclose(missing["logits"], absent["logits"], atol=1e-5)
  assert not [key for key in missing if key.startswith(f"{modality}/")]


def test_no_modality_at_all_is_said(joined):
  with pytest.raises(UserError, match="No encoder has its inputs"):
    joined(sound=jnp.ones((B, 3)))


def test_gradients_do_not_see_an_absent_modality(joined):
  inputs = {**joined.inputs, **present(image=False)}
  inputs["image"] = inputs["image"] * jnp.nan

  @jax.jit
  @functools.partial(jax.grad, has_aux=True)
  def gradient(params):
    variables = {**joined.variables, "params": params}
    outputs, update = joined.train(variables, inputs)
    return outputs["logits"].sum(), update

  found = gradient(joined.variables["params"])
  assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))


def test_padding_is_no_token_of_the_joined(joined):
  inputs = {**joined.inputs, **present()}
  other = jnp.where(inputs["mask/text"], inputs["text"], WORDS - 1)
  equal(joined(**{**inputs, "text": other}), joined(**inputs), 0)


def test_outputs_of_encoders_keep_their_names(joined):
  outputs = joined(**joined.inputs)
  for name, encoder in joined.model.encoders.items():
    variables = {
      kind: tree[f"encoders_{name}"]
      for kind, tree in joined.variables.items()
      if f"encoders_{name}" in tree
    }
    inputs = {**joined.inputs, **present()}
    alone = inference(encoder)(variables, inputs)
    both = joined(**inputs)
    equal({key: both[f"{name}/{key}"] for key in alone}, alone)
    assert {f"{name}/{key}" for key in alone} <= outputs.keys()


def test_attention_is_over_what_is_there():
  joined = Joined("cross_attention")
  attend = lambda *there: joined(**joined.inputs | present(*there))[
    "attention00"
  ]
  places = 16  # 4x4 of the image come first
  words = np.asarray(joined.inputs["mask/text"])[:, None]
  both, image, none = attend(), attend(True, False), attend(False, False)
  assert both.shape == (B, joined.model.heads, places + T)
  np.testing.assert_allclose(both.sum(-1), 1, atol=1e-6)
  np.testing.assert_array_equal(
    both[..., places:] > 0, np.broadcast_to(words, both[..., places:].shape)
  )
  np.testing.assert_allclose(image[..., :places].sum(-1), 1, atol=1e-6)
  assert not image[..., places:].any() and not none.any()


def test_an_encoder_without_tokens_is_one_token():
  class Pooled(nn.Module):
    reads = ("text", "mask/text")
    needs = ("text",)

    @nn.compact
    def __call__(self, inputs, *, train):
      return {"embedding": jnp.ones((B, 3))}

  model = fusion.Model(
    encoders={"text": Pooled()}, num_classes=K, join="cross_attention"
  )
  outputs, _ = shapes(model, make_inputs(model))
  assert outputs["attention00"].shape == (B, model.heads, 1)


def test_fusion_reads_what_its_encoders_read_and_needs_nothing(joined):
  assert joined.model.reads == (
    "image",
    "has/image",
    "text",
    "mask/text",
    "has/text",
  )
  assert joined.model.needs == ()


def test_a_join_that_is_none_is_answered_with_those_there_are():
  model = fusion.Model(VALUES["encoders"](), K, join="concatenated")
  with pytest.raises(UserError, match="Did you mean 'concatenate'"):
    shapes(model, make_inputs(model))


def test_heads_that_do_not_divide_the_width_are_said():
  models = (
    fusion.Model(VALUES["encoders"](), K, heads=3, join="cross_attention"),
    text_transformer.Model(vocabulary=WORDS, heads=3),
    patch_transformer.Model(heads=3),
  )
  for model in models:
    with pytest.raises(ShapeError, match="heads must divide"):
      shapes(model, make_inputs(model))


def test_fusion_is_built_from_a_config():
  network = config.network
  spec = network(
    "fusion",
    num_classes=K,
    encoders={
      "image": network("conv", widths=(4, 6)),
      "text": network("text_transformer", vocabulary=WORDS, width=8),
    },
  ).to_dict()
  common = {"axis_name": None, "dtype": jnp.dtype("float32")}
  model = networks._network(spec, common)
  _, variables = shapes(model, make_inputs(model))
  names = {"encoders_image", "encoders_text"}
  assert names <= variables["params"].keys()
  assert variables["batch_stats"].keys() == {"encoders_image"}

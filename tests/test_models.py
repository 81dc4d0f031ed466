"""The contract of every network, and the values of some."""

import ast
import functools
import inspect
import pathlib
import re

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from kdjax import config, registry
from kdjax.config import layers
from kdjax.errors import ShapeError, UserError
from kdjax.models import conv, fusion, patch_transformer, text_transformer
from kdjax.stage import networks

KEY = jax.random.key(0)
B, K, T, WORDS = 6, 5, 7, 11

# For a computation that runs once: fast compilation, slow code.
QUICK = {"xla_backend_optimization_level": 0}

# Example inputs by key; make_inputs adds mask/<modality> and has/<modality>.
INPUTS = {
  "image": lambda random: random.normal(size=(B, 8, 8, 1)),
  "text": lambda random: random.integers(0, WORDS, size=(B, T)),
  "audio": lambda random: random.normal(size=(B, T, 10)),
  "sequence": lambda random: random.normal(size=(B, T, 3)),
  "waveform": lambda random: random.normal(size=(B, T)),
}

# Values of fields by name: of those without a default, and num_classes.
VALUES = {
  "num_classes": lambda: K,
  "vocabulary": lambda: WORDS,
  "encoders": lambda: {
    "image": conv.Model(widths=(4, 6)),
    "text": text_transformer.Model(vocabulary=WORDS, width=8, depth=1),
  },
  "network": lambda: conv.Model(widths=(4, 6)),
  "tasks": lambda: {"kind": 3, "colour": 2},
}

# Smaller sizes than the defaults of encoders with public weights.
ENCODER = {"width": 8, "depth": 1, "heads": 2, "inner": 12}
TOWERS = {
  "image_size": (8, 8),
  "patch": 4,
  **{
    f"{tower}_{key}": value
    for tower in ("image", "text")
    for key, value in ENCODER.items()
  },
}

# Smaller than the defaults, to compile faster. In deep networks, the random
# offsets of `init` would also grow beyond what rounding allows to compare.
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
  "deepconvlstm": {"convolutions": 2, "filters": 2, "width": 4},
  "dinov2": {**ENCODER, "image_size": (8, 8), "patch": 4},
  "encoder_decoder": {"width": 8, "depth": 1, "heads": 2, "length": 9},
  "inception_time": {
    "depth": 4,
    "width": 2,
    "bottleneck": 3,
    "kernels": (4, 3, 2),
  },
  "lenet": {"widths": (4, 6, 10, 8), "padding": (2, 2)},
  "mlp": {"widths": (10, 8), "normalize": True},
  "mobilenet_v2": {
    "width": 0.2,
    "expansion": 2,
    "blocks": (1, 2, 0, 0, 0, 0, 0),
  },
  "patch_series": {
    "width": 8,
    "depth": 1,
    "heads": 2,
    "inner": 10,
    "patch": 3,
    "stride": 2,
    "length": 8,
  },
  "resnet": {"depth": 10, "width": 4},
  "resnet1d": {"widths": (4, 5, 5), "kernels": (3, 2)},
  "resnet_cifar": {"depth": 8, "widths": (4, 4, 6, 8)},
  "rnn": {"width": 5},
  "series_cnn": {"widths": (4, 6, 5)},
  "shufflenet_v1": {"widths": (48, 72), "blocks": (1, 2)},
  "shufflenet_v2": {"widths": (12, 16, 24), "blocks": (1, 1)},
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

# Further options with which a network keeps the contract.
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
  "patch_series": ({"independent": True, "normalize": True},),
  "resnet": (
    {"blocks": (1, 2), "widths": (8, 12), "bottleneck": True, "early": True},
  ),
  "rnn": (
    {"cell": "gru", "depth": 2, "bidirectional": False, "pooling": "mean"},
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

# Keys of a batch that no network reads.
UNREAD = ("label", "index")

JOINS = (
  "concatenate",
  "average",
  "gated",
  "cross_attention",
  "bottleneck",
  "graph",
)


class Example:
  """A file of kdjax/models, a small instance of it and its inputs."""

  def __init__(self, name, options):
    self.name = name
    self.about = registry.describe("models", name)
    path = pathlib.Path(self.about.path)
    # The subject of a failed contract's message.
    self.model_of = f"`Model` of models/{path.name}"
    self.kind = registry.find("models", name)
    values = {}
    for field, default in self.about.options.items():
      if field in VALUES:
        values[field] = VALUES[field]()
      assert default is not registry.REQUIRED or field in VALUES, (
        f"{self.model_of} has the option `{field}` without a default: add a"
        " value to VALUES in tests/test_models.py."
      )
    self.options = {**values, **OPTIONS_TO_TEST.get(name, {}), **options}
    self.model = self.kind(**self.options)
    for field in ("reads", "needs"):
      assert hasattr(self.model, field), (
        f"{self.model_of} must have the property `{field}`; `OneModality` of"
        " models/_modality.py provides it."
      )
    self.inputs = make_inputs(self.model)
    self.variables = init(self.model, self.inputs)
    self.infer = inference(self.model)

  @functools.cached_property
  def outputs(self):
    return jax.device_get(self(self.inputs))

  def program(self, unread=(), **fields):
    """The operations of inference, as text; `unread` are further inputs."""
    infer = inference(self.replace(**fields)) if fields else self.infer
    if unread:
      apply, rows = infer, dict.fromkeys(unread, np.arange(B))
      infer = jax.jit(
        lambda variables, inputs: apply.__wrapped__(
          variables, {**inputs, **rows}
        )
      )
    return str(infer.trace(self.variables, self.inputs).jaxpr)

  @functools.cached_property
  def keeps_its_program(self):
    """Whether dropout and unread inputs together change no operation."""
    return self.program() == self.program(UNREAD, dropout=0.5)

  @functools.cached_property
  def half(self):
    """Shapes of outputs and variables, in bfloat16 and for a named axis."""
    fields = {"axis_name": "devices", "dtype": jnp.bfloat16}
    return shapes(self.replace(**fields), self.inputs)

  @functools.cached_property
  def learned(self):
    """(gradients, logits) in training with dropout, for the keys 0, 0, 1."""
    variables = {**self.variables}
    params = variables.pop("params")
    step = learning(self.replace(dropout=0.5))
    return [
      step(params, variables, self.inputs, jax.random.key(seed))
      for seed in (0, 0, 1)
    ]

  def __call__(self, inputs):
    outputs = self.infer(self.variables, inputs)
    for key in ("logits", "embedding"):
      assert key in outputs, (
        f"{self.model_of} must return `{key}` when num_classes is set."
      )
    return outputs

  def replace(self, **fields):
    """The network with other fields."""
    for field in fields:
      assert hasattr(self.kind, field), (
        f"{self.model_of} must have the field `{field}`."
      )
    return self.kind(**{**self.options, **fields})


def make_inputs(model, seed=0):
  """Inputs of a network, with padding and with rows without a modality."""
  random = np.random.default_rng(seed)
  inputs = {}
  for key in sorted(model.reads):
    kind, _, modality = key.rpartition("/")
    if kind == "mask":
      lengths = np.arange(B) % T + 1
      inputs[key] = np.arange(T) < lengths[:, None]
    elif kind == "has":
      absent = sum(map(ord, modality)) % B
      inputs[key] = np.arange(B) != absent
    else:
      assert key in INPUTS, (
        f"A network reads '{key}': add example inputs to INPUTS in"
        " tests/test_models.py."
      )
      value = INPUTS[key](random)
      inputs[key] = value.astype("f4" if value.dtype.kind == "f" else "i4")
  return inputs


def init(model, inputs):
  """Random variables near their usual scale, without compiling a program."""
  start = functools.partial(model.init, train=False)
  random = np.random.default_rng(1)

  def draw(path, leaf):
    kind, name = path[0].key, path[-1].key
    if kind != "params":
      return jnp.full(leaf.shape, float(name == "var"), leaf.dtype)
    noise = 0.3 * random.normal(size=leaf.shape)
    return jnp.asarray(noise + float("scale" in name), leaf.dtype)

  return jax.tree.map_with_path(draw, jax.eval_shape(start, KEY, inputs))


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


def learning(model):
  """(params, rest, inputs, key) -> gradients, logits in training."""

  @functools.partial(jax.jit, compiler_options=QUICK)
  @functools.partial(jax.grad, has_aux=True)
  def gradient(params, rest, inputs, key):
    outputs, _ = model.apply(
      {"params": params, **rest},
      inputs,
      train=True,
      rngs={"dropout": key},
      mutable=list(rest),
    )
    total = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(outputs))
    return total, outputs["logits"]

  return gradient


def shapes(model, inputs):
  """Shapes of outputs and variables, without computing them."""
  start = functools.partial(model.init_with_output, train=False)
  return jax.eval_shape(start, KEY, inputs)


def equal(actual, expected, tolerance=1e-4, rule=""):
  """Asserts equal outputs; `rule` is the message of a broken contract."""
  assert actual.keys() == expected.keys(), rule
  for key in expected:
    np.testing.assert_allclose(
      actual[key],
      expected[key],
      rtol=tolerance,
      atol=tolerance,
      err_msg=f"{rule} Output: {key}." if rule else key,
    )


@pytest.fixture(
  params=[
    (name, options)
    for name in registry.names("models")
    for options in ({}, *VARIANTS.get(name, ()))
  ],
  ids=lambda case: "-".join([case[0], *map(str, case[1].values())]),
  scope="module",
)
def example(request):
  return Example(*request.param)


# Contract: every file of kdjax/models


def test_outputs_are_a_flat_dict_of_arrays_of_the_batch(example):
  model = example.model_of
  outputs = example(example.inputs)
  for key, value in outputs.items():
    assert isinstance(key, str) and isinstance(value, jax.Array), (
      f"{model} must return a flat dict of arrays; '{key}' is a"
      f" {type(value).__name__}."
    )
    assert value.ndim and value.shape[0] == B, (
      f"The first axis of every output of {model} must be the batch; '{key}'"
      f" has the shape {value.shape} for {B} examples."
    )
    assert np.isfinite(value).all(), (
      f"{model} must return finite numbers, also for empty rows; '{key}' does"
      " not."
    )
  assert outputs["embedding"].ndim == 2, (
    f"{model} must return an `embedding` [B D]."
  )
  # Of a network that writes texts, there are logits for each token.
  of_tokens = outputs.get("mask/logits")
  expected = (B, K) if of_tokens is None else (*of_tokens.shape, WORDS)
  assert outputs["logits"].shape == expected, (
    f"{model} must return `logits` [B K], K being num_classes; with"
    " `mask/logits` [B T], they are [B T V] over its vocabulary."
  )


def test_inference_is_deterministic_under_dropout(example):
  rule = f"{example.model_of} must not apply dropout when train is False."
  try:
    # Without a random key and without mutable collections, too.
    if example.keeps_its_program:
      return
    infer = inference(example.replace(dropout=0.5))
    outputs = infer(example.variables, example.inputs)
  except flax.errors.InvalidRngError as error:
    raise AssertionError(rule) from error
  equal(outputs, example.outputs, 0, rule)


def test_training_draws_dropout_from_its_key(example):
  first, again, other = (logits for _, logits in example.learned)
  np.testing.assert_array_equal(
    first,
    again,
    err_msg=f"{example.model_of} must draw all randomness from its keys.",
  )
  assert not np.allclose(first, other), (
    f"In training, {example.model_of} must apply `dropout` before the logits"
    " (nn.Dropout draws from the key 'dropout')."
  )


def test_rows_do_not_see_each_other_in_inference(example):
  others = make_inputs(example.model, seed=3)
  kept = np.arange(B) % 2 == 0
  choose = lambda left, right: np.where(
    kept.reshape(B, *[1] * (left.ndim - 1)), left, right
  )
  mixed = jax.tree.map(choose, example.inputs, others)
  part = lambda tree: jax.tree.map(lambda leaf: leaf[kept], tree)
  equal(
    part(jax.device_get(example(mixed))),
    part(example.outputs),
    rule=f"When train is False, an example's outputs of {example.model_of} must"
    " not depend on the other examples of the batch.",
  )


def test_reordered_rows_give_reordered_outputs(example):
  order = np.random.default_rng(2).permutation(B)
  moved = lambda tree: jax.tree.map(lambda leaf: leaf[order], tree)
  equal(
    example(moved(example.inputs)),
    moved(example.outputs),
    rule=f"When train is False, an example's outputs of {example.model_of} must"
    " not depend on its position in the batch.",
  )


def test_logits_and_embedding_are_float32_when_activations_are_not(example):
  outputs, variables = example.half
  for key in ("logits", "embedding"):
    assert outputs[key].dtype == jnp.float32, (
      f"{example.model_of} must return float32 {key} for any `dtype`: cast the"
      " embedding, and compute the head in float32."
    )
  dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(variables)}
  assert dtypes == {"float32"}, (
    f"The variables of {example.model_of} must be float32 for any `dtype`;"
    f" found {', '.join(sorted(dtypes))}."
  )


def test_a_network_declares_what_it_reads_and_needs(example):
  model = example.model
  assert isinstance(model, nn.Module), (
    f"{example.model_of} must be a flax.linen Module."
  )
  assert {*model.needs} <= {*model.reads}, (
    f"{example.model_of} must list in `reads` what it lists in `needs`."
  )
  assert len({*model.reads}) == len(model.reads), (
    f"{example.model_of} must list each key of `reads` once."
  )
  for key in model.reads:
    prefix, _, modality = key.rpartition("/")
    assert prefix in ("", "mask", "has") and modality, (
      f"{example.model_of} may read <modality>, mask/<modality> and"
      f" has/<modality>, not '{key}'."
    )
  if "batch_stats" in example.variables:
    maps = {*model.reads} & {"image", "audio"}
    assert {f"has/{modality}" for modality in maps} <= {*model.reads}, (
      f"{example.model_of} has batch norm: it must read has/<modality>"
      ' (USES = ("has",)) and normalize over these rows.'
    )


def test_a_network_uses_nothing_that_it_does_not_read(example):
  assert not {"label", "index", "valid"} & {*example.model.reads}, (
    f"{example.model_of} must not read label, index or valid: losses do."
  )
  if not example.keeps_its_program:
    assert example.program() == example.program(UNREAD), (
      f"{example.model_of} must use the keys of `reads` only."
    )


def test_a_network_has_the_fields_of_the_framework(example):
  model = example.replace()
  for field, default in (("axis_name", None), ("dtype", jnp.float32)):
    assert getattr(model, field, "") == default, (
      f"{example.model_of} must have the field `{field}` with the default"
      f" {getattr(default, '__name__', default)}; kdjax sets it."
    )
  # With the name of an axis, it can still be initialized outside of that axis.
  assert example.half


def test_layers_are_the_outputs_and_their_axes(example):
  if any(isinstance(value, dict) for value in example.options.values()):
    pytest.skip("It is made of other networks, which have layers.")
  network = {"name": example.name, **example.options}
  made = shapes(example.model, example.inputs)[0]
  found = layers.of(network)
  for layer in found:
    if layer.kind == "norm":
      continue
    axes = {"map": 4, "spectrum": 4, "attention": 4, "vector": 2}
    shape = made[layer.output].shape if layer.output in made else ()
    assert len(shape) == axes.get(layer.kind, 3), (
      f"{example.model_of} has {layer.output} of kind '{layer.kind}' in"
      f" LAYERS, and an output of shape {shape}."
    )
    if layer.kind == "patches":
      grid = (shape[1] - sum(layer.skip)) ** 0.5
      last = layer.output.rpartition("/")[2] in ("embedded", "tokens")
      assert last or grid == int(grid), f"NO_PATCHES of {example.model_of}"
  missing = {
    output
    for output, array in made.items()
    if re.search(r"(^|/)(stage|block|preact|scores)\d+$", output)
    and (array.ndim > 2 or example.name == "mlp")
  } - {layer.output for layer in found}
  assert not missing, f"LAYERS of {example.model_of} lacks {sorted(missing)}"


def test_every_option_is_in_the_docstring(example):
  docstring = inspect.getdoc(example.kind) or ""
  documented = docstring.partition("Attributes:")[2]
  for option in example.about.options:
    assert f"\n  {option}: " in documented, (
      f"The docstring of {example.model_of} must describe the option"
      f" `{option}` under 'Attributes:'."
    )


def test_gradients_are_finite_in_training(example):
  gradients = {
    jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
    for path, leaf in jax.tree.leaves_with_path(example.learned[0][0])
  }
  infinite = [p for p, leaf in gradients.items() if not np.isfinite(leaf).all()]
  assert not infinite, (
    f"Gradients of {example.model_of} must be finite, also for empty rows; not"
    f" finite: {', '.join(infinite)}."
  )
  unused = [path for path, leaf in gradients.items() if not leaf.any()]
  assert not unused, (
    f"Every parameter of {example.model_of} must change an output; unused:"
    f" {', '.join(unused)}."
  )


@pytest.mark.parametrize("name", registry.names("models"))
def test_a_network_computes_no_loss_and_knows_no_label(name):
  tree = ast.parse(
    pathlib.Path(registry.describe("models", name).path).read_text()
  )
  strings = {
    node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)
  }
  assert "label" not in strings, (
    f"models/{name}.py must not use labels: a loss reads them."
  )


# Conv


def images(*shape, seed=0):
  value = np.random.default_rng(seed).normal(size=shape)
  return {"image": value.astype(np.float32)}


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


def test_conv_stages_are_the_relu_of_preacts():
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
  pool = functools.partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2))
  both = jax.jit(lambda x: (conv._halve(x), pool(x)))
  np.testing.assert_array_equal(*both(images(2, *size, 3)["image"]))


def test_conv_refuses_an_image_that_is_too_small():
  model = conv.Model(widths=(4, 4, 4))
  with pytest.raises(ShapeError, match=r"1x1.*widths"):
    shapes(model, images(2, 2, 2, 1))


def test_batch_statistics_change_in_training_only():
  model, inputs = conv.Model(widths=(4,)), images(B, 8, 8, 1)
  variables = init(model, inputs)
  trained, kept = jax.jit(
    lambda inputs: [
      model.apply(variables, inputs, train=train, mutable="batch_stats")[1]
      for train in (True, False)
    ]
  )(inputs)
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
  actual, update = jax.device_get(
    jax.vmap(
      lambda part: training(shared)(variables, part), axis_name="devices"
    )(parts)
  )
  equal(
    jax.tree.map(lambda leaf: leaf.reshape(B, *leaf.shape[2:]), actual),
    expected,
  )
  for one, both in zip(
    jax.tree.leaves(statistics), jax.tree.leaves(update), strict=True
  ):
    np.testing.assert_allclose(both, np.stack([one, one]), rtol=1e-4)


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
  """A transformer and its inputs."""

  def __init__(self, model):
    self.model, self.inputs = model, make_inputs(model)
    self.variables = init(self.model, self.inputs)
    self.infer = inference(self.model)

  def __call__(self, inputs):
    return jax.device_get(self.infer(self.variables, inputs))


@pytest.fixture(scope="module")
def reader():
  return Reader(text_transformer.Model(WORDS, K, width=8, depth=2))


def test_the_content_of_padding_changes_no_output(reader):
  inputs = reader.inputs
  other = np.where(inputs["mask/text"], inputs["text"], WORDS - 1)
  assert (other != inputs["text"]).any()
  changed = reader({**inputs, "text": other})
  equal(changed, reader(inputs), 0)


def test_more_padding_changes_no_output(reader):
  inputs = reader.inputs
  wide = jax.tree.map(lambda leaf: np.pad(leaf, ((0, 0), (0, 3))), inputs)
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


def test_attention_is_over_tokens_only(reader):
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
  empty = {**inputs, "mask/text": np.zeros((B, T), bool)}

  @jax.jit
  @jax.grad
  def gradient(variables):
    return reader.infer(variables, empty)["logits"].sum()

  outputs = reader(empty)
  assert not outputs["embedding"].any() and not outputs["tokens"].any()
  for leaf in jax.tree.leaves(gradient(reader.variables)):
    assert np.isfinite(leaf).all()


def test_without_a_mask_every_position_is_a_word(reader):
  inputs = reader.inputs
  full = {**inputs, "mask/text": np.ones((B, T), bool)}
  bare = {"text": inputs["text"]}
  equal(reader(bare), reader(full))


def test_the_order_of_words_matters(reader):
  inputs = reader.inputs
  bare = {"text": inputs["text"]}
  turned = {"text": inputs["text"][:, ::-1]}
  before, after = (reader(x) for x in (bare, turned))
  assert not np.allclose(before["logits"], after["logits"])


def test_a_text_longer_than_the_network_is_refused():
  model = text_transformer.Model(vocabulary=WORDS, length=T - 1)
  with pytest.raises(ShapeError, match="length=6"):
    shapes(model, make_inputs(model))


def test_an_unknown_id_gives_nan(reader):
  inputs = reader.inputs
  beyond = inputs["text"].copy()
  beyond[0, 0] = WORDS
  assert np.isnan(reader({**inputs, "text": beyond})["logits"][0]).all()


# Both transformers


@pytest.fixture(scope="module", params=["text", "image"])
def transformer(request, reader):
  """A text or an image transformer with two blocks."""
  if request.param == "text":
    return reader
  return Reader(patch_transformer.Model(K, width=8, depth=2, patch=4))


def test_attention_is_the_softmax_of_scores_of_queries_and_keys(transformer):
  model, inputs = transformer.model, transformer.inputs
  outputs = transformer(inputs)
  length = outputs["tokens"].shape[1]
  mask = inputs.get("mask/text", np.ones((B, length), bool))
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
    weights = np.where(both, special.softmax(scores, axis=-1), 0)
    np.testing.assert_allclose(attention, weights, atol=1e-5)


def test_an_output_that_nothing_reads_is_never_computed(transformer):
  def operations(*names):
    read = lambda inputs: [
      transformer.model.apply(transformer.variables, inputs, train=False)[name]
      for name in names
    ]
    compiled = jax.jit(read).lower(transformer.inputs).compile()
    return compiled.cost_analysis()["flops"]

  every = [f"{name}01" for name in ("scores", "query", "key", "value")]
  whole = operations("logits")
  assert whole <= operations("logits", *every)
  # The second block is not computed for the first.
  assert operations("block00") < whole


# Patch transformer


def test_patches_are_the_last_tokens():
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


@pytest.fixture(scope="module", params=["mean", "cls"])
def patches(request):
  """An image transformer with a distillation token."""
  return Reader(
    patch_transformer.Model(
      K,
      width=8,
      depth=1,
      patch=4,
      pooling=request.param,
      distillation_token=True,
    )
  )


def test_the_distillation_token_changes_logits_in_inference_only(patches):
  inferred = patches(patches.inputs)
  trained, _ = training(patches.model)(patches.variables, patches.inputs)
  other = inferred["distillation_logits"]
  np.testing.assert_allclose(trained["distillation_logits"], other, atol=1e-5)
  assert not np.allclose(trained["logits"], other)
  np.testing.assert_allclose(
    inferred["logits"], (trained["logits"] + other) / 2, atol=1e-5
  )


def test_the_embedding_is_the_mean_over_patches_or_the_class_token(patches):
  outputs = patches(patches.inputs)
  tokens = outputs["tokens"]
  mean = patches.model.pooling == "mean"
  expected = tokens[:, 1:].mean(1) if mean else tokens[:, 0]
  np.testing.assert_allclose(outputs["embedding"], expected, atol=1e-5)


def test_the_position_of_a_patch_matters(patches):
  inputs = patches.inputs
  turned = {"image": np.roll(inputs["image"], 4, axis=1)}
  before, after = (patches(x)["logits"] for x in (inputs, turned))
  assert not np.allclose(before, after)


def test_patches_that_do_not_divide_an_image_are_refused():
  with pytest.raises(ShapeError, match=r"9x8 is not .* patches of 2x2"):
    shapes(patch_transformer.Model(), images(2, 9, 8, 1))


def test_an_unknown_pooling_is_answered_with_the_known_ones():
  with pytest.raises(UserError, match="There are: cls, mean"):
    shapes(patch_transformer.Model(pooling="max"), images(2, 8, 8, 1))


# Fusion


class Joined:
  """A fusion of an image and a text encoder."""

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
    return jax.device_get(self.infer(self.variables, inputs))


@functools.cache
def encoder_alone(name):
  return inference(VALUES["encoders"]()[name])


@pytest.fixture(params=JOINS, scope="module")
def joined(request):
  return Joined(request.param)


def present(image=True, text=True):
  return {"has/image": np.full(B, image), "has/text": np.full(B, text)}


def test_the_content_of_an_absent_modality_changes_no_output(joined):
  inputs = {**joined.inputs, **present(text=False)}
  other = {
    **inputs,
    "text": (inputs["text"] + 1) % WORDS,
    "mask/text": ~inputs["mask/text"],
  }
  equal(joined(**other), joined(**inputs), 0)
  inputs = {**joined.inputs, **present(image=False)}
  other = {**inputs, "image": inputs["image"] * np.float32("nan")}
  equal(joined(**other), joined(**inputs), 0)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_modality_that_is_present_changes_the_logits(joined, modality):
  inputs = {**joined.inputs, **present()}
  without = {**inputs, f"has/{modality}": np.zeros(B, bool)}
  before, after = joined(**inputs)["logits"], joined(**without)["logits"]
  assert not np.isclose(before, after).all(-1).any()


def test_presence_is_per_row(joined):
  some = np.arange(B) % 2 == 0
  mixed = joined(**{**joined.inputs, **present(), "has/text": some})
  with_text = joined(**{**joined.inputs, **present()})
  without = joined(**{**joined.inputs, **present(text=False)})
  expected = np.where(some[:, None], with_text["logits"], without["logits"])
  np.testing.assert_allclose(mixed["logits"], expected, atol=1e-5)


def test_without_any_modality_all_rows_have_the_same_finite_logits(joined):
  logits = joined(**{**joined.inputs, **present(False, False)})["logits"]
  assert np.isfinite(logits).all()
  np.testing.assert_array_equal(logits, np.broadcast_to(logits[:1], (B, K)))


@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_missing_key_is_an_absent_modality(joined, modality):
  inputs = {**joined.inputs, **present()}
  absent = joined(**{**inputs, f"has/{modality}": np.zeros(B, bool)})
  missing = joined(
    **{key: value for key, value in inputs.items() if modality not in key}
  )
  np.testing.assert_allclose(missing["logits"], absent["logits"], atol=1e-5)
  assert not [key for key in missing if key.startswith(f"{modality}/")]


def test_inputs_without_any_modality_are_refused(joined):
  with pytest.raises(UserError, match="No encoder has its inputs"):
    joined(sound=np.ones((B, 3)))


@pytest.mark.slow
def test_an_absent_modality_changes_no_gradient(joined):
  inputs = {**joined.inputs, **present(image=False)}
  inputs["image"] = inputs["image"] * np.float32("nan")

  @jax.jit
  @functools.partial(jax.grad, has_aux=True)
  def gradient(params):
    variables = {**joined.variables, "params": params}
    outputs, update = joined.train(variables, inputs)
    return outputs["logits"].sum(), update

  result = gradient(joined.variables["params"])
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))


def test_padding_changes_no_joined_output(joined):
  inputs = {**joined.inputs, **present()}
  other = np.where(inputs["mask/text"], inputs["text"], WORDS - 1)
  equal(joined(**{**inputs, "text": other}), joined(**inputs), 0)


def test_outputs_of_encoders_keep_their_names(joined):
  outputs = joined(**joined.inputs)
  for name in joined.model.encoders:
    variables = {
      kind: tree[f"encoders_{name}"]
      for kind, tree in joined.variables.items()
      if f"encoders_{name}" in tree
    }
    inputs = {**joined.inputs, **present()}
    alone = encoder_alone(name)(variables, inputs)
    both = joined(**inputs)
    equal({key: both[f"{name}/{key}"] for key in alone}, alone)
    assert {f"{name}/{key}" for key in alone} <= outputs.keys()


@pytest.mark.parametrize("joined", ["cross_attention"], indirect=True)
def test_cross_attention_is_over_present_tokens(joined):
  attend = lambda *modalities: joined(**joined.inputs | present(*modalities))[
    "attention00"
  ]
  pixels = 16  # 4x4 of the image come first
  words = np.asarray(joined.inputs["mask/text"])[:, None]
  both, image, none = attend(), attend(True, False), attend(False, False)
  assert both.shape == (B, joined.model.heads, pixels + T)
  np.testing.assert_allclose(both.sum(-1), 1, atol=1e-6)
  np.testing.assert_array_equal(
    both[..., pixels:] > 0, np.broadcast_to(words, both[..., pixels:].shape)
  )
  np.testing.assert_allclose(image[..., :pixels].sum(-1), 1, atol=1e-6)
  assert not image[..., pixels:].any() and not none.any()


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


def test_an_unknown_join_is_answered_with_the_nearest_one():
  model = fusion.Model(VALUES["encoders"](), K, join="concatenated")
  with pytest.raises(UserError, match="Did you mean 'concatenate'"):
    shapes(model, make_inputs(model))


def test_heads_that_do_not_divide_the_width_are_refused():
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

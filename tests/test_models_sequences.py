"""Networks for texts, audio and series, and the joins of fusion."""

import functools

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.errors import ShapeError, UserError
from kdjax.models import (
  _batch_norm,
  _joins,
  _pool,
  _recurrent,
  audio_cnn,
  bilstm,
  conv,
  deepconvlstm,
  fusion,
  inception_time,
  patch_series,
  patch_transformer,
  resnet1d,
  rnn,
  series_cnn,
  spectrogram_transformer,
  text_cnn,
  text_transformer,
  two_tower,
)

B, K, T, F, WORDS = 4, 3, 11, 9, 13
LENGTHS = np.array([11, 7, 1, 4])
MASK = np.arange(T) < LENGTHS[:, None]

BILSTM = bilstm.Model(WORDS, K, width=4, words=5, depth=2, pooling="last")
AUDIO_CNN = audio_cnn.Model(K, widths=(4, 6, 8))
SPECTROGRAM = spectrogram_transformer.Model(
  K, width=8, depth=1, patch=4, stride=3
)
WITH_CLASS_TOKEN = spectrogram_transformer.Model(
  K, width=8, depth=1, patch=3, stride=3, pooling="cls"
)
PATCHES = patch_series.Model(
  K, 8, depth=1, heads=2, inner=10, patch=3, stride=2, length=20
)
EVERY = {
  "bilstm": BILSTM,
  "text_cnn": text_cnn.Model(WORDS, K, words=5, channels=4),
  "audio_cnn": AUDIO_CNN,
  "spectrogram": SPECTROGRAM,
  "spectrogram-cls": WITH_CLASS_TOKEN,
  "series_cnn": series_cnn.Model(K, widths=(4, 6), kernel=3),
  "inception_time": inception_time.Model(
    K, depth=4, width=2, bottleneck=3, kernels=(4, 3, 2)
  ),
  "resnet1d": resnet1d.Model(K, widths=(4, 5, 5), kernels=(4, 3)),
  "deepconvlstm": deepconvlstm.Model(K, 2, 2, width=4),
  "patch_series": PATCHES,
  "patch_series-independent": PATCHES.clone(independent=True, normalize=True),
  "rnn": rnn.Model(K, width=4),
  "rnn-gru": rnn.Model(K, "gru", 4, 2, bidirectional=False, pooling="max"),
}


def reads(model, seed=0, mask=MASK):
  """Inputs of a network for sequences, with random padding."""
  random = np.random.default_rng(seed)
  if model.needs == ("text",):
    value = random.integers(0, WORDS, size=mask.shape).astype("i4")
  else:
    value = random.normal(size=(*mask.shape, F)).astype("f4")
  (name,) = model.needs
  return {name: jnp.asarray(value), f"mask/{name}": jnp.asarray(mask)}


def initialize(model, inputs):
  """Variables with distinct values; nothing is compiled for them."""
  start = functools.partial(model.init, train=False)
  shapes = jax.eval_shape(start, jax.random.key(0), inputs)
  random = np.random.default_rng(1)
  draw = lambda x: jnp.asarray(0.5 * random.normal(size=x.shape), x.dtype)
  variables = jax.tree.map(draw, dict(shapes))
  if "batch_stats" in variables:
    square = lambda x: 0.5 + x**2
    variables["batch_stats"] = jax.tree.map(square, variables["batch_stats"])
  return variables


class Network:
  """An initialized network and its inputs."""

  def __init__(self, model, inputs=None):
    self.model = model
    self.inputs = reads(model) if inputs is None else inputs
    self.variables = initialize(model, self.inputs)
    self.infer = jax.jit(functools.partial(model.apply, train=False))
    self.learn = jax.jit(self._learn)

  def __call__(self, inputs):
    return self.infer(self.variables, inputs)

  def train(self, inputs, model=None):
    step = functools.partial(
      (model or self.model).apply, train=True, mutable=["batch_stats"]
    )
    draw = {"dropout": jax.random.key(0)}
    return jax.jit(step)(self.variables, inputs, rngs=draw)

  def _learn(self, inputs):
    """Gradients of all outputs in training, the outputs and statistics."""

    def total(params):
      outputs, kept = self.model.apply(
        {**self.variables, "params": params},
        inputs,
        train=True,
        rngs={"dropout": jax.random.key(0)},
        mutable=["batch_stats"],
      )
      squares = [jnp.sum(leaf * 1.0 * leaf) for leaf in outputs.values()]
      return sum(squares), (outputs, kept)

    return jax.jit(jax.grad(total, has_aux=True))(self.variables["params"])


@pytest.fixture(scope="module", params=EVERY, ids=str)
def network(request):
  return Network(EVERY[request.param])


def close(actual, expected, tolerance=1e-5, message=""):
  np.testing.assert_allclose(
    actual, expected, rtol=tolerance, atol=tolerance, err_msg=message
  )


# Every network for texts, audio or series


@pytest.mark.slow
def test_the_content_of_padding_changes_no_output(network):
  other = {**reads(network.model, seed=1)}
  (name,) = network.model.needs
  valid = MASK.reshape(*MASK.shape, *(1,) * (other[name].ndim - 2))
  other[name] = jnp.where(valid, network.inputs[name], other[name])
  if other[name].dtype == jnp.float32:
    other[name] = jnp.where(valid, other[name], jnp.nan)
  before, after = network(network.inputs), network(other)
  for key, value in before.items():
    np.testing.assert_array_equal(after[key], value, err_msg=key)


@pytest.mark.slow
def test_padding_changes_no_gradient_and_no_statistic(network):
  other = reads(network.model, seed=1)
  (name,) = network.model.needs
  valid = MASK.reshape(*MASK.shape, *(1,) * (other[name].ndim - 2))
  other[name] = jnp.where(valid, network.inputs[name], other[name])
  before, after = network.learn(network.inputs), network.learn(other)
  jax.tree.map(np.testing.assert_array_equal, before, after)


@pytest.mark.slow
def test_more_padding_changes_no_output(network):
  wide = {
    key: jnp.pad(leaf, ((0, 0), (0, 6), *((0, 0),) * (leaf.ndim - 2)))
    for key, leaf in network.inputs.items()
  }
  before, after = network(network.inputs), network(wide)
  for key, value in before.items():
    part = after[key][tuple(slice(size) for size in value.shape)]
    close(part, value, message=key)


@pytest.mark.slow
def test_a_row_alone_equals_the_row_among_longer_ones(network):
  (name,) = network.model.needs
  whole, row = network(network.inputs)["logits"], 1
  # Without padding, so that a mask is not needed.
  alone = {name: network.inputs[name][row : row + 1, : LENGTHS[row]]}
  close(network(alone)["logits"], whole[row : row + 1])


@pytest.mark.slow
def test_empty_rows_have_equal_outputs_and_finite_gradients(network):
  (name,) = network.model.needs
  empty = {**network.inputs, f"mask/{name}": jnp.zeros((B, T), bool)}
  outputs = network(empty)
  for key, value in outputs.items():
    assert np.isfinite(value).all(), key
    np.testing.assert_array_equal(
      value, np.broadcast_to(value[:1], value.shape)
    )
  if getattr(network.model, "pooling", "") != "cls":
    assert not outputs["embedding"].any()
  gradients, _ = network.learn(empty)
  for leaf in jax.tree.leaves(gradients):
    assert np.isfinite(leaf).all()


def test_order_matters(network):
  (name,) = network.model.needs
  full = {**network.inputs, f"mask/{name}": jnp.ones((B, T), bool)}
  turned = {**full, name: full[name][:, ::-1]}
  before, after = network(full)["logits"], network(turned)["logits"]
  assert not np.isclose(before, after).all(-1).any()


# BiLSTM


def lstm(params, words, width):
  """States h of an LSTM, word by word, as in its paper."""
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  cell = state = np.zeros(width)
  states = []
  for word in words:
    gate = lambda name, word=word, state=state: (
      word @ np.float64(params[f"i{name}"]["kernel"])
      + state @ np.float64(params[f"h{name}"]["kernel"])
      + np.float64(params[f"h{name}"]["bias"])
    )
    cell = sigmoid(gate("f")) * cell + sigmoid(gate("i")) * np.tanh(gate("g"))
    state = sigmoid(gate("o")) * np.tanh(cell)
    states.append(state)
  return np.stack(states)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["max", "mean", "last"])
def test_bilstm_is_an_lstm_in_both_directions(pooling):
  network = Network(bilstm.Model(WORDS, K, width=4, words=5, pooling=pooling))
  params = network.variables["params"]
  outputs = network(network.inputs)
  for row, length in enumerate(LENGTHS):
    ids = np.asarray(network.inputs["text"])[row, :length]
    words = np.float64(params["words"]["embedding"])[ids]
    forward = lstm(params["block00_forward"], words, 4)
    backward = lstm(params["block00_backward"], words[::-1], 4)
    both = np.concatenate([forward, backward[::-1]], axis=1)
    close(outputs["tokens"][row, :length], both)
    expected = {
      "max": both.max(0),
      "mean": both.mean(0),
      "last": np.concatenate([forward[-1], backward[-1]]),
    }[pooling]
    close(outputs["embedding"][row], expected)


def test_each_direction_of_a_bilstm_depends_on_the_tokens_it_has_read():
  network = Network(BILSTM)
  text = network.inputs["text"].at[0, 5].add(1) % WORDS
  before = network(network.inputs)["block00"]
  moved = network({**network.inputs, "text": text})["block00"] != before
  assert not moved[1:].any()
  forward, backward = np.split(np.asarray(moved[0]), 2, axis=-1)
  assert not forward[:5].any() and forward[5:].any(-1).all()
  assert not backward[6:].any() and backward[:6].any(-1).all()


def test_bilstm_skips_masked_tokens_inside_a_text():
  network = Network(BILSTM)
  ids = network.inputs["text"]
  holes = np.zeros((B, T), bool)
  holes[:, [1, 2, 4]] = True
  closed = ids.at[:, :3].set(ids[:, jnp.asarray([1, 2, 4])])
  start = np.arange(T)[None] < np.full((B, 1), 3)
  before = network({"text": ids, "mask/text": jnp.asarray(holes)})
  after = network({"text": closed, "mask/text": jnp.asarray(start)})
  close(before["logits"], after["logits"])


# TextCNN


def test_text_cnn_equals_the_equations_of_kim():
  model = text_cnn.Model(WORDS, K, words=5, channels=4, windows=(2, 3, 4))
  network = Network(model)
  params = jax.tree.map(np.float64, network.variables["params"])
  outputs = network(network.inputs)
  for row, length in enumerate(LENGTHS):
    ids = np.asarray(network.inputs["text"])[row, :length]
    words = params["words"]["embedding"][ids]
    expected = []
    for index, window in enumerate(model.windows):
      kernel, bias = (params[f"conv{index}"][k] for k in ("kernel", "bias"))
      maps = []
      for t in range(length):
        total = bias.copy()
        for j in range(window):
          at = t + j - (window - 1) // 2
          if 0 <= at < length:
            total += words[at] @ kernel[j]
        maps.append(np.maximum(total, 0))
      expected.append(np.max(maps, axis=0))
    close(outputs["embedding"][row], np.concatenate(expected))


# Audio


def test_batch_norm_with_a_full_mask_equals_flax():
  x = jax.random.normal(jax.random.key(0), (B, T, F, 3)) * 2 + 1
  ours, theirs = (
    _batch_norm.BatchNorm(),
    nn.BatchNorm(
      use_running_average=False, momentum=0.9, use_fast_variance=False
    ),
  )
  full = jnp.ones((B, T), bool)
  variables = ours.init(jax.random.key(0), x, full, train=False)
  tree = lambda leaves: jax.tree_util.tree_structure(leaves)
  other = theirs.init(jax.random.key(0), x)
  assert tree(variables) == tree(other)
  actual, kept = ours.apply(
    variables, x, full, train=True, mutable=["batch_stats"]
  )
  expected, other = theirs.apply(other, x, mutable=["batch_stats"])
  close(actual, expected)
  jax.tree.map(close, kept["batch_stats"], dict(other["batch_stats"]))


def test_batch_norm_counts_valid_frames_only():
  x = np.random.default_rng(0).normal(size=(B, T, F, 3)).astype("f4") + 1
  layer, mask = _batch_norm.BatchNorm(momentum=0.0), jnp.asarray(MASK)
  variables = layer.init(jax.random.key(0), x, mask, train=False)
  _, kept = layer.apply(variables, x, mask, train=True, mutable=["batch_stats"])
  frames = np.float64(x[MASK]).reshape(-1, 3)
  close(kept["batch_stats"]["mean"], frames.mean(0))
  close(kept["batch_stats"]["var"], frames.var(0))


def test_devices_with_different_padding_train_as_one():
  network = Network(audio_cnn.Model(K, widths=(4,), pooling="max"))
  shared = network.model.clone(axis_name="devices")
  expected, statistics = network.train(network.inputs)
  parts = jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), network.inputs)
  actual, kept = jax.vmap(
    lambda part: network.train(part, model=shared), axis_name="devices"
  )(parts)
  close(actual["logits"].reshape(B, K), expected["logits"], 1e-4)
  for one, both in zip(
    jax.tree.leaves(statistics), jax.tree.leaves(kept), strict=True
  ):
    close(both, np.stack([one, one]), 1e-4)


@pytest.mark.parametrize(
  ("model", "expected"),
  [
    (AUDIO_CNN, -(-LENGTHS // 4)),
    (SPECTROGRAM, 3 * (1 + -(-np.maximum(LENGTHS - 4, 0) // 3))),
    (WITH_CLASS_TOKEN, 1 + 3 * -(-LENGTHS // 3)),
  ],
)
def test_the_token_mask_of_audio_is_right(model, expected):
  network = Network(model)
  outputs = network(network.inputs)
  mask, tokens = np.asarray(outputs["mask/tokens"]), outputs["tokens"]
  assert mask.shape == tokens.shape[:2] and mask.dtype == bool
  np.testing.assert_array_equal(mask.sum(1), expected)
  np.testing.assert_array_equal(mask, np.any(tokens != 0, axis=-1))


def test_the_frequency_of_a_patch_matters():
  network = Network(WITH_CLASS_TOKEN)
  audio = network.inputs["audio"]
  turned = {**network.inputs, "audio": jnp.roll(audio, 3, axis=2)}
  before, after = network(network.inputs), network(turned)
  assert not np.isclose(before["logits"], after["logits"]).all(-1).any()


@pytest.mark.parametrize("model", [AUDIO_CNN, SPECTROGRAM])
def test_a_waveform_is_refused_as_a_spectrogram(model):
  with pytest.raises(ShapeError, match="`log_mel` makes one"):
    jax.eval_shape(
      functools.partial(model.init, train=False),
      jax.random.key(0),
      {"audio": jnp.zeros((B, 100))},
    )


@pytest.mark.parametrize(
  ("model", "message"),
  [
    (spectrogram_transformer.Model(patch=4, stride=5), "stride=5"),
    (spectrogram_transformer.Model(length=10), "length=10"),
    (spectrogram_transformer.Model(pooling="max"), "There are: cls, mean"),
    (audio_cnn.Model(pooling="man"), "Did you mean 'mean'"),
    (bilstm.Model(WORDS, pooling="lst"), "Did you mean 'last'"),
  ],
)
def test_invalid_options_are_refused(model, message):
  start = functools.partial(model.init, train=False)
  with pytest.raises(UserError, match=message):
    jax.eval_shape(start, jax.random.key(0), reads(model))


# Registers


def test_registers_are_in_blocks_but_not_in_tokens():
  make = functools.partial(
    patch_transformer.Model, K, width=8, depth=1, patch=4, pooling="cls"
  )
  image = jax.random.normal(jax.random.key(0), (B, 8, 8, 1))
  network = Network(make(registers=3), {"image": image})
  outputs = network(network.inputs)
  assert outputs["tokens"].shape == (B, 5, 8)
  assert outputs["block00"].shape == (B, 8, 8)
  assert outputs["attention00"].shape == (B, 2, 8, 8)
  params = dict(network.variables["params"])
  assert params["places"].shape == (5, 8)
  registers = params.pop("registers")
  assert registers.shape == (3, 8)
  bare = jax.jit(functools.partial(make().apply, train=False))(
    {"params": params}, network.inputs
  )
  assert not np.isclose(outputs["logits"], bare["logits"]).all(-1).any()


# Fusion


class Part(nn.Module):
  """An encoder that returns its input, to test joins."""

  modality: str
  axis_name: str | None = None

  @property
  def reads(self):
    return (self.modality, f"mask/{self.modality}")

  @property
  def needs(self):
    return (self.modality,)

  def __call__(self, inputs, *, train):
    x = inputs[self.modality]
    return {"embedding": x.mean(1), "tokens": x}


NAMES = ("audio", "image", "text")


# Every subset of the three modalities.
SUBSETS = np.array(list(np.ndindex(2, 2, 2)), bool)


def several(seed=0):
  """Tokens of three modalities, one row per subset."""
  random = np.random.default_rng(seed)
  return {
    name: jnp.asarray(random.normal(size=(len(SUBSETS), size, 4)), jnp.float32)
    for name, size in zip(NAMES, (3, 2, 5), strict=True)
  }


def joined(join, inputs=None, **options):
  model = fusion.Model(
    {name: Part(name) for name in NAMES}, K, width=8, join=join, **options
  )
  return Network(model, several() if inputs is None else inputs)


def presence(subsets=SUBSETS):
  return {
    f"has/{name}": jnp.asarray(subsets[:, column])
    for column, name in enumerate(NAMES)
  }


@pytest.fixture(scope="module", params=_joins.JOINS, ids=str)
def join(request):
  return joined(request.param, layers=1)


@pytest.mark.slow
def test_the_content_of_absent_modalities_changes_nothing(join):
  inputs, other = several(), several(seed=1)
  for column, name in enumerate(NAMES):
    valid = SUBSETS[:, column, None, None]
    other[name] = jnp.where(valid, inputs[name], other[name])
  before, after = (join({**x, **presence()}) for x in (inputs, other))
  for key in ("logits", "embedding"):
    assert np.isfinite(before[key]).all()
    np.testing.assert_array_equal(before[key], after[key])
  whole = join({**inputs, **presence(np.ones_like(SUBSETS))})["logits"]
  for row, subset in enumerate(SUBSETS):
    assert np.allclose(whole[row], before["logits"][row]) == subset.all()


def test_a_missing_key_is_a_modality_that_is_absent_everywhere(join):
  inputs = several()
  subsets = np.zeros_like(SUBSETS) | np.array([[True, False, True]])
  absent = join({**inputs, **presence(subsets)})
  missing = join({name: inputs[name] for name in ("audio", "text")})
  close(missing["logits"], absent["logits"])
  close(missing["embedding"], absent["embedding"])


def test_reordered_rows_give_reordered_joins(join):
  inputs = {**several(), **presence()}
  order = np.random.default_rng(2).permutation(len(SUBSETS))
  moved = join(jax.tree.map(lambda x: x[order], inputs))
  for key, value in join(inputs).items():
    close(moved[key], value[order], message=key)


def test_joint_outputs_are_float32_when_activations_are_not(join):
  model = join.model.clone(dtype=jnp.bfloat16)
  outputs, variables = jax.eval_shape(
    functools.partial(model.init_with_output, train=False),
    jax.random.key(0),
    join.inputs,
  )
  assert outputs["logits"].dtype == outputs["embedding"].dtype == jnp.float32
  dtypes = {leaf.dtype for leaf in jax.tree.leaves(variables)}
  assert dtypes == {jnp.dtype("float32")}


@pytest.mark.slow
def test_every_parameter_of_a_join_learns_from_its_logits(join):
  inputs = {**join.inputs, **presence()}

  def logits(params):
    outputs = join.model.apply({"params": params}, inputs, train=False)
    return jnp.sum(outputs["logits"] ** 2)

  gradients = jax.jit(jax.grad(logits))(join.variables["params"])
  unused = [
    jax.tree_util.keystr(path)
    for path, leaf in jax.tree.leaves_with_path(gradients)
    if not leaf.any()
  ]
  assert not unused


def test_gates_sum_to_one_over_what_is_present():
  network = joined("gated")
  gates = np.asarray(network({**several(), **presence()})["gates"])
  assert gates.shape == (8, 3, 8)
  close(gates.sum(1), np.broadcast_to(SUBSETS.any(1)[:, None], (8, 8)))
  np.testing.assert_array_equal(
    gates > 0, np.broadcast_to(SUBSETS[:, :, None], gates.shape)
  )


def test_for_two_modalities_the_gated_unit_equals_the_paper():
  network = joined("gated")
  inputs = {name: several()[name] for name in ("audio", "image")}
  params = jax.tree.map(np.float64, network.variables["params"])
  a, b = (np.float64(x).mean(1) for x in inputs.values())
  # For two, a softmax is the sigmoid of the difference: the paper's z.
  gate = lambda x, name: x @ params[f"gate_{name}"]["kernel"].reshape(4, 24)
  scores = (gate(a, "audio") + gate(b, "image")).reshape(8, 3, 8)
  z = 1 / (1 + np.exp(scores[:, 1] - scores[:, 0]))
  value = lambda x, name: np.tanh(x @ params[f"project_{name}"]["kernel"])
  h = z * value(a, "audio") + (1 - z) * value(b, "image")
  dense = lambda x, name: x @ params[name]["kernel"] + params[name]["bias"]
  embedding = np.maximum(dense(h, "hidden"), 0)
  outputs = network(inputs)
  close(outputs["embedding"], embedding)
  close(outputs["logits"], dense(embedding, "head"))


def test_graph_attention_equals_the_paper_over_what_is_present():
  network = joined("graph", layers=2, heads=2)
  inputs = {**several(), **presence()}
  outputs = network(inputs)
  params = jax.tree.map(np.float64, network.variables["params"])
  dense = lambda x, name: x @ params[name]["kernel"] + params[name]["bias"]
  leaky = lambda x: x if x > 0 else 0.2 * x
  for row, subset in enumerate(SUBSETS):
    nodes = {
      n: np.maximum(
        dense(np.float64(inputs[name][row]).mean(0), f"project_{name}"), 0
      )
      for n, name in enumerate(NAMES)
      if subset[n]
    }
    for layer in range(2):
      made = {n: [] for n in nodes}
      for head in range(2):
        weight = params[f"graph0{layer}_value"]["kernel"][:, head]
        to, back = (
          params[f"graph0{layer}_{side}"][head] for side in ("to", "from")
        )
        values = {n: x @ weight for n, x in nodes.items()}
        for n in nodes:
          scores = {
            m: leaky(values[n] @ to + y @ back) for m, y in values.items()
          }
          total = sum(np.exp(score) for score in scores.values())
          shares = {m: np.exp(score) / total for m, score in scores.items()}
          for m in range(3):
            close(
              outputs[f"graph0{layer}"][row, head, n, m], shares.get(m, 0.0)
            )
          made[n].append(sum(shares[m] * values[m] for m in nodes))
      nodes = {n: np.concatenate(parts) for n, parts in made.items()}
      nodes = {n: np.where(x > 0, x, np.expm1(x)) for n, x in nodes.items()}
    mean = np.mean([*nodes.values()], axis=0) if nodes else np.zeros(8)
    close(outputs["embedding"][row], np.maximum(dense(mean, "hidden"), 0))


def test_heads_of_a_graph_divide_the_width():
  with pytest.raises(ShapeError, match="heads=3"):
    joined("graph", heads=3)


def test_late_fusion_is_the_mean_of_the_present_logits():
  network = joined("average")
  outputs = network({**several(), **presence()})
  logits = np.stack([outputs[f"{name}/logits"] for name in NAMES], axis=1)
  for row, subset in enumerate(SUBSETS):
    expected = logits[row, subset].mean(0) if subset.any() else np.zeros(K)
    close(outputs["logits"][row], expected)


def test_late_fusion_uses_the_logits_of_encoders():
  encoders = {
    "image": conv.Model(K, widths=(4,)),
    "text": text_cnn.Model(WORDS, K, words=5, channels=4),
  }
  inputs = {
    "image": jax.random.normal(jax.random.key(0), (B, 8, 8, 1)),
    **reads(encoders["text"]),
  }
  network = Network(fusion.Model(encoders, K, join="average"), inputs)
  outputs = network(inputs)
  assert not [key for key in network.variables["params"] if "head" in key]
  both = (outputs["image/logits"] + outputs["text/logits"]) / 2
  close(outputs["logits"], both)
  with pytest.raises(ShapeError, match="'image' has 3 classes"):
    jax.eval_shape(
      functools.partial(
        fusion.Model(encoders, K + 1, join="average").init, train=False
      ),
      jax.random.key(0),
      inputs,
    )


@pytest.mark.slow
def test_modalities_interact_in_the_bottleneck_only():
  inputs = {name: x for name, x in several().items() if name != "image"}
  other = {**inputs, "audio": several(seed=1)["audio"]}
  for size, interact in ((2, True), (0, False)):
    network = joined("bottleneck", bottlenecks=size, layers=2)
    before, after = network(inputs), network(other)
    changed = {key: bool(np.any(before[key] != after[key])) for key in before}
    # The first layer writes to the bottleneck, the second reads from it.
    assert not changed["text/fused00"]
    assert changed["audio/fused00"] and changed["logits"]
    assert changed["bottleneck00"] == interact
    assert changed["text/fused01"] == interact


def test_the_bottleneck_is_the_mean_of_the_present_encoders():
  network = joined("bottleneck", layers=1)
  first = lambda x: jnp.broadcast_to(x[:1], x.shape)
  inputs = {**jax.tree.map(first, several()), **presence()}
  actual = network(inputs)["bottleneck00"]
  singles = SUBSETS.sum(1) == 1
  for row, subset in enumerate(SUBSETS):
    inside = singles & (SUBSETS & subset).any(1)
    if subset.any():
      close(actual[row], np.mean(actual[inside], axis=0))
  start = network.variables["params"]["bottleneck"]
  np.testing.assert_array_equal(actual[0], start)


@pytest.mark.slow
def test_padding_changes_nothing_in_a_bottleneck():
  network = joined("bottleneck", layers=1)
  inputs = {
    **several(),
    "mask/text": jnp.arange(5)[None] < 3 + jnp.zeros((8, 1)),
  }
  other = {**inputs, "text": inputs["text"].at[:, 3:].add(1.0)}
  before, after = network(inputs), network(other)
  np.testing.assert_array_equal(before["logits"], after["logits"])
  cut = {**several(), "text": inputs["text"][:, :3]}
  close(network(cut)["logits"], before["logits"])


def test_audio_with_fewer_tokens_than_frames_is_joined():
  encoders = {
    "audio": audio_cnn.Model(widths=(4, 6)),
    "text": bilstm.Model(WORDS, width=4, words=5),
  }
  inputs = {**reads(encoders["audio"]), **reads(encoders["text"])}
  model = fusion.Model(encoders, K, width=8, join="cross_attention")
  attention = Network(model, inputs)(inputs)["attention00"]
  mask = np.concatenate([np.arange(6) < -(-LENGTHS[:, None] // 2), MASK], 1)
  np.testing.assert_array_equal(
    attention > 0, np.broadcast_to(mask[:, None], attention.shape)
  )


# Modality dropout


ROWS, RATE = 4000, 0.3


@pytest.fixture(scope="module")
def used():
  """bool [subset, row, modality]: modalities that the join uses."""
  network = joined("gated", modality_dropout=RATE)
  subsets = np.repeat(SUBSETS, ROWS, axis=0)
  inputs = {name: x[:1] for name, x in several().items()}
  inputs = jax.tree.map(
    lambda x: jnp.broadcast_to(x, (len(subsets), *x.shape[1:])), inputs
  )
  inputs |= presence(subsets)
  outputs, _ = network.train(inputs)
  return np.asarray(outputs["gates"] > 0).all(-1).reshape(8, ROWS, 3)


def test_modality_dropout_never_drops_all_and_adds_none(used):
  for subset, rows in zip(SUBSETS, used, strict=True):
    np.testing.assert_array_equal(rows.any(1), np.full(ROWS, subset.any()))
    assert not rows[:, ~subset].any()


def test_modality_dropout_has_the_stated_rate(used):
  for subset, rows in zip(SUBSETS, used, strict=True):
    if subset.any():
      count = subset.sum()
      expected = RATE - RATE**count / count
      deviation = np.sqrt(max(expected * (1 - expected), 1e-9) / ROWS)
      rate = 1 - rows[:, subset].mean(0)
      assert np.all(np.abs(rate - expected) < 5 * deviation), (subset, rate)


def test_modalities_are_dropped_independently_per_row(used):
  all_present = used[-1]
  assert len(np.unique(all_present, axis=0)) == len(SUBSETS) - 1


@pytest.mark.slow
def test_a_dropped_modality_is_absent_for_the_join_only(join):
  model = join.model.clone(modality_dropout=1.0)
  inputs = {**several(), **presence(np.ones_like(SUBSETS))}
  outputs, _ = join.train(inputs, model=model)
  near = []
  for column in np.eye(3, dtype=bool):
    only = {**inputs, **presence(np.zeros_like(SUBSETS) | column[None])}
    near.append(np.isclose(join(only)["logits"], outputs["logits"], atol=1e-5))
  assert (np.all(near, axis=-1).sum(0) == 1).all()
  whole = join(inputs)
  for name in NAMES:
    np.testing.assert_array_equal(
      outputs[f"{name}/tokens"], whole[f"{name}/tokens"]
    )


def program(model, join, *, train):
  """The computation of a network without a random key."""
  call = functools.partial(model.apply, train=train)
  return str(jax.make_jaxpr(call)(join.variables, join.inputs))


def test_evaluation_draws_and_drops_nothing(join):
  hides = join.model.clone(modality_dropout=0.9)
  expected = program(join.model, join, train=False)
  assert program(hides, join, train=False) == expected
  # Without modality dropout, training draws nothing either.
  assert program(join.model, join, train=True) == expected
  with pytest.raises(flax.errors.InvalidRngError):
    program(hides, join, train=True)


def test_an_invalid_rate_is_refused():
  with pytest.raises(UserError, match="modality_dropout=30"):
    joined("gated", modality_dropout=30)


# Two towers


@pytest.fixture(scope="module")
def towers():
  encoders = {
    "image": conv.Model(widths=(4,)),
    "text": text_cnn.Model(WORDS, words=5, channels=4),
    "audio": audio_cnn.Model(widths=(4,)),
  }
  inputs = {"image": jax.random.normal(jax.random.key(0), (B, 8, 8, 1))}
  inputs |= {**reads(encoders["text"]), **reads(encoders["audio"])}
  model = two_tower.Model(encoders, K, width=8, classifies="audio")
  return Network(model, inputs)


def test_any_encoder_is_a_tower(towers):
  outputs = towers(towers.inputs)
  for name in towers.model.encoders:
    assert outputs[f"{name}/embedding"].shape == (B, 8)
  np.testing.assert_array_equal(
    outputs["embedding"], outputs["audio/embedding"]
  )
  assert outputs["logits"].shape == (B, K)


@pytest.mark.parametrize("missing", ["image", "text", "audio"])
def test_a_tower_runs_without_the_others(towers, missing):
  inputs = {k: v for k, v in towers.inputs.items() if missing not in k}
  whole, part = towers(towers.inputs), towers(inputs)
  assert not [key for key in part if key.startswith(f"{missing}/")]
  assert ("logits" in part) == (missing != "audio")
  for key, value in part.items():
    close(value, whole[key], message=key)


def test_pooling_is_over_valid_positions():
  x = np.random.default_rng(0).normal(size=(B, T, 2)).astype("f4") - 5
  for row, length in enumerate(LENGTHS):
    close(_pool.mean(x, MASK)[row], np.float64(x[row, :length]).mean(0))
    close(_pool.maximum(x, MASK)[row], x[row, :length].max(0))


def test_a_text_transformer_and_a_bilstm_can_be_joined_by_any(join):
  # Further outputs of an encoder are ignored by the joins.
  encoders = {
    "text": bilstm.Model(WORDS, width=4, words=5),
    "words": text_transformer.Model(vocabulary=WORDS, width=8),
  }
  inputs = reads(encoders["text"])
  model = fusion.Model(encoders, K, width=8, join=join.model.join)
  outputs, _ = jax.eval_shape(
    functools.partial(model.init_with_output, train=False),
    jax.random.key(0),
    inputs,
  )
  assert outputs["logits"].shape == (B, K)


def test_dropout_is_drawn_anew_for_each_direction():
  """One draw for both would change every number of a BiLSTM with dropout."""
  drawn = []

  def drop(x):
    drawn.append(x)
    return x * (len(drawn) - 1)  # the first direction reads zeros

  class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, mask):
      return _recurrent.layer(x, mask, 4, "block00", drop=drop)

  x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
  (_, states), _ = Layer().init_with_output(
    jax.random.key(0), x, np.ones((2, 5), bool)
  )
  assert len(drawn) == 2
  np.testing.assert_array_equal(states[..., :4], 0.0)
  assert np.all(states[..., 4:] != 0.0)

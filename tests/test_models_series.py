"""Networks for series of numbers, compared with PyTorch's layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_models_sequences import Network, close

from kdjax import config
from kdjax.data import arrays
from kdjax.errors import ShapeError, UserError
from kdjax.models import (
  deepconvlstm,
  inception_time,
  patch_series,
  resnet1d,
  rnn,
  series_cnn,
)
from kdjax.step import masks
from kdjax.step.addresses import Address
from kdjax.step.flow import Flow
from kdjax.training import check, workdir

_WHY = "Install '.[test,parity]' to compare networks with PyTorch's."
torch = pytest.importorskip("torch", reason=_WHY)

B, K, T, F = 4, 5, 11, 3
LENGTHS = (11, 7, 1, 4)
MASK = np.arange(T) < np.array(LENGTHS)[:, None]


def series(seed=0, features=F):
  value = np.random.default_rng(seed).normal(size=(B, T, features))
  return {"sequence": value.astype("f4"), "mask/sequence": MASK}


def parameters(model, features=F, steps=T):
  """The number of a network's parameters, without computing them."""
  x = {"sequence": jnp.zeros((1, steps, features))}
  start = functools.partial(model.init, jax.random.key(0), train=False)
  return sum(
    leaf.size for leaf in jax.tree.leaves(jax.eval_shape(start, x)["params"])
  )


def weights_of(module):
  """The number of weights of a PyTorch module."""
  return sum(weight.numel() for weight in module.parameters())


def tensor(leaf):
  return torch.tensor(np.asarray(leaf))


def torch_conv(x, params, stride=1):
  """A convolution over time [T C], padded as Keras pads: less in front."""
  kernel = tensor(params["kernel"])  # [k C D]
  size = kernel.shape[0]
  x = torch.nn.functional.pad(x.T[None], ((size - 1) // 2, size // 2))
  y = torch.nn.functional.conv1d(x, kernel.permute(2, 1, 0), stride=stride)
  return y[0].T


def torch_norm(x, variables, name):
  """Batch norm [T C] with running statistics."""
  params, statistics = (
    {key: tensor(leaf) for key, leaf in variables[kind][name].items()}
    for kind in ("params", "batch_stats")
  )
  return torch.nn.functional.batch_norm(
    x,
    statistics["mean"],
    statistics["var"],
    params["scale"],
    params["bias"],
    eps=1e-5,
  )


def head_of(variables, embedding):
  head = variables["params"]["head"]
  return embedding @ tensor(head["kernel"]) + tensor(head["bias"])


def compare(network, forward, tolerance=1e-5):
  """Compares each row of a network with a PyTorch function of its steps."""
  outputs = network(network.inputs)
  for row, length in enumerate(LENGTHS):
    x = tensor(network.inputs["sequence"][row, :length])
    for key, value in forward(network.variables, x).items():
      actual = np.asarray(outputs[key][row])
      if key not in ("logits", "embedding"):
        assert not actual[len(value) :].any(), key
        actual = actual[: len(value)]
      close(actual, value.numpy(), tolerance, key)


# Series CNN


def test_series_cnn_equals_layers_of_pytorch():
  model = series_cnn.Model(K, widths=(4, 6, 5), stride=2)

  def forward(variables, x):
    outputs = {}
    for stage in range(3):
      stride = 2 if stage else 1
      x = torch_conv(x, variables["params"][f"conv{stage}"], stride)
      x = torch_norm(x, variables, f"norm{stage}")
      outputs[f"preact{stage}"] = x
      x = outputs[f"stage{stage}"] = torch.relu(x)
    outputs |= {"tokens": x, "embedding": x.mean(0)}
    return {**outputs, "logits": head_of(variables, x.mean(0))}

  network = Network(model, series())
  compare(network, forward)
  steps = np.asarray(network(network.inputs)["mask/tokens"]).sum(1)
  assert steps.tolist() == [-(-length // 4) for length in LENGTHS]


@pytest.mark.parametrize("name", ["stage", "preact"])
def test_every_stage_of_series_cnn_has_its_mask_of_positions(name):
  model, batch = series_cnn.Model(K, widths=(4, 6, 5)), series()
  network = Network(model, batch)
  flow = Flow({"it": model}, {}, {"networks": {}}, None, batch)
  flow.outputs["it", ""] = network(batch)
  lengths = np.array(LENGTHS)
  for stage in range(3):
    array = flow.outputs["it", ""][f"{name}{stage}"]
    at = Address("it", "", f"{name}{stage}")
    mask = np.asarray(masks.of_positions(flow, at, array.shape[1]))
    lengths = -(-lengths // 2) if stage else lengths
    assert mask.sum(1).tolist() == lengths.tolist()
    np.testing.assert_array_equal(mask, np.asarray(array != 0).any(2))


def test_outputs_of_different_numbers_of_steps_are_not_compared():
  columns = {**series(), "label": np.arange(B, dtype=np.int32) % 2}
  arrays.hold("steps", {**columns, "split": np.repeat("train", B)})
  network = functools.partial(config.network, num_classes=2)
  terms = {"labels": config.term("cross_entropy")}
  tokens = {key: f"{key}/tokens" for key in ("student", "teacher")}
  student = config.stage(
    network("series_cnn", widths=(4, 4)),
    teachers={"teacher": config.teacher("teacher")},
    terms={"hidden": config.term("hidden_mse", reads=tokens), **terms},
  )
  teacher = network("resnet1d", widths=(4,))
  plan = config.experiment(
    "steps",
    data=config.data("arrays", held="steps", validation=0.0, test=0.0),
    stages={"teacher": config.stage(teacher, terms=terms), "student": student},
  )
  with pytest.raises(UserError, match=r"'hidden' .* of 6 and 11 positions"):
    check.plan(workdir.resolve(plan), ["student"])


@pytest.mark.parametrize("features", [3, 6])
def test_series_cnn_has_the_parameters_of_its_layers(features):
  conv = lambda before, after: torch.nn.Sequential(
    torch.nn.Conv1d(before, after, 5, bias=False), torch.nn.BatchNorm1d(after)
  )
  layers = [conv(features, 32), conv(32, 64), conv(64, 64)]
  expected = weights_of(torch.nn.Sequential(*layers, torch.nn.Linear(64, K)))
  assert parameters(series_cnn.Model(K), features) == expected
  if features == 3:
    assert f"{expected:,} for F = 3" in series_cnn.Model.__doc__


def test_a_stride_longer_than_the_kernel_is_refused():
  with pytest.raises(UserError, match="kernel=2 and stride=3"):
    parameters(series_cnn.Model(kernel=2, stride=3))


def test_an_image_is_no_series():
  start = functools.partial(
    series_cnn.Model().init, jax.random.key(0), train=False
  )
  with pytest.raises(ShapeError, match=r"Expected a series \[B T F\]"):
    jax.eval_shape(start, {"sequence": jnp.zeros((2, 4, 4, 1))})


# ResNet


@pytest.mark.slow
def test_resnet1d_equals_layers_of_pytorch():
  model = resnet1d.Model(K, widths=(4, 6, 6), kernels=(8, 5, 3))

  def layer(variables, x, name):
    x = torch_conv(x, variables["params"][f"conv{name}"])
    return torch_norm(x, variables, f"norm{name}")

  def forward(variables, x):
    outputs = {}
    for stage in range(3):
      y = torch.relu(layer(variables, x, f"{stage}_0"))
      y = torch.relu(layer(variables, y, f"{stage}_1"))
      y = layer(variables, y, f"{stage}_2")
      name = f"{stage}_shortcut"
      y += (
        layer(variables, x, name)
        if stage < 2
        else torch_norm(x, variables, f"norm{name}")
      )
      outputs[f"preact{stage}"] = y
      x = outputs[f"stage{stage}"] = torch.relu(y)
    return {**outputs, "logits": head_of(variables, x.mean(0))}

  compare(Network(model, series()), forward, 1e-4)


@pytest.mark.parametrize("features", [1, 3])
def test_resnet1d_has_the_parameters_of_its_layers(features):
  modules, before = [torch.nn.Linear(128, K)], features
  for width in (64, 128, 128):
    inner = before
    for size in (8, 5, 3):
      modules.append(torch.nn.Conv1d(inner, width, size, bias=False))
      modules.append(torch.nn.BatchNorm1d(width))
      inner = width
    if before != width:
      modules.append(torch.nn.Conv1d(before, width, 1, bias=False))
    modules.append(torch.nn.BatchNorm1d(width))
    before = width
  expected = weights_of(torch.nn.ModuleList(modules))
  assert parameters(resnet1d.Model(K), features) == expected


# InceptionTime


@pytest.mark.slow
@pytest.mark.parametrize("features", [1, 3])
def test_inception_time_equals_layers_of_pytorch(features):
  model = inception_time.Model(
    K, depth=6, width=2, bottleneck=3, kernels=(6, 4, 3)
  )

  def module(variables, x, stage):
    layer = lambda x, name: torch_conv(
      x, variables["params"][f"conv{stage}_{name}"]
    )
    y = layer(x, "bottleneck") if x.shape[1] > 1 else x
    parts = [layer(y, index) for index in range(3)]
    pool = torch.nn.functional.max_pool1d
    parts.append(layer(pool(x.T[None], 3, 1, 1)[0].T, "pooled"))
    return torch_norm(torch.cat(parts, 1), variables, f"norm{stage}")

  def forward(variables, x):
    outputs, before = {}, x
    for stage in range(6):
      x = torch.relu(module(variables, x, stage))
      if stage in (2, 5):
        name = f"{stage}_shortcut"
        added = torch_conv(before, variables["params"][f"conv{name}"])
        x = torch.relu(x + torch_norm(added, variables, f"norm{name}"))
        before = x
      outputs[f"stage{stage}"] = x
    return {**outputs, "logits": head_of(variables, x.mean(0))}

  compare(Network(model, series(features=features)), forward, 1e-4)


@pytest.mark.parametrize("features", [1, 3])
def test_inception_time_has_the_parameters_of_its_layers(features):
  conv = lambda before, after, size: torch.nn.Conv1d(
    before, after, size, bias=False
  )
  modules, before = [torch.nn.Linear(128, K)], features
  for _ in range(6):
    inner = before
    if before > 1:
      modules.append(conv(before, 32, 1))
      inner = 32
    modules += [conv(inner, 32, size) for size in (40, 20, 10)]
    modules += [conv(before, 32, 1), torch.nn.BatchNorm1d(128)]
    before = 128
  for before in (features, 128):
    modules += [conv(before, 128, 1), torch.nn.BatchNorm1d(128)]
  expected = weights_of(torch.nn.ModuleList(modules))
  assert parameters(inception_time.Model(K), features) == expected


# RNN

# A gate's name in our cell, in the order of PyTorch's rows.
GATES = {"lstm": "ifgo", "gru": "rzn"}


def load(module, cell, layer, sides):
  """Copies a layer's weights into one of PyTorch's recurrent modules."""
  for side, ending in zip(sides, ("", "_reverse"), strict=False):
    for theirs, ours in (("ih", "i"), ("hh", "h")):
      weight, bias = (
        getattr(module, f"{kind}_{theirs}_l{layer}{ending}")
        for kind in ("weight", "bias")
      )
      gates = [side[f"{ours}{gate}"] for gate in GATES[cell]]
      with torch.no_grad():
        rows = [tensor(gate["kernel"]).T for gate in gates]
        weight.copy_(torch.cat(rows))
        zero = torch.zeros(rows[0].shape[0])
        biases = [tensor(g["bias"]) if "bias" in g else zero for g in gates]
        bias.copy_(torch.cat(biases))


def torch_rnn(cell, features, width, depth, both, params, prefix="block"):
  """PyTorch's recurrent module with our weights."""
  kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
  module = kind(features, width, depth, bidirectional=both)
  for layer in range(depth):
    names = [f"{prefix}{layer:02d}_{side}" for side in ("forward", "backward")]
    sides = [params[name] for name in names[: 1 + both]]
    load(module, cell, layer, sides)
  return module.eval()


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("both", [True, False])
def test_an_rnn_equals_that_of_pytorch(cell, both):
  model = rnn.Model(K, cell, width=4, depth=2, bidirectional=both)

  def forward(variables, x):
    module = torch_rnn(cell, F, 4, 2, both, variables["params"])
    with torch.no_grad():
      states, last = module(x)
    last = last[0] if cell == "lstm" else last
    embedding = torch.cat([*last[-1 - both :]])
    logits = head_of(variables, embedding)
    return {"tokens": states, "embedding": embedding, "logits": logits}

  compare(Network(model, series()), forward)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_an_rnn_has_the_parameters_of_pytorch_without_double_biases(cell):
  kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
  modules = [kind(F, 8, 2, bidirectional=True), torch.nn.Linear(16, K)]
  # PyTorch has two biases per gate, of which the sum is one, except for a
  # GRU's candidate.
  double = {"lstm": 4, "gru": 2}[cell] * 8 * 2 * 2
  expected = weights_of(torch.nn.ModuleList(modules)) - double
  assert parameters(rnn.Model(K, cell, width=8, depth=2)) == expected


@pytest.mark.parametrize(
  ("options", "exists"),
  [({"cell": "grue"}, "gru"), ({"pooling": "las"}, "last")],
)
def test_an_unknown_cell_or_pooling_is_refused(options, exists):
  with pytest.raises(UserError, match=f"Did you mean '{exists}'"):
    parameters(rnn.Model(**options))


# DeepConvLSTM


@pytest.mark.slow
def test_deepconvlstm_equals_layers_of_pytorch():
  model = deepconvlstm.Model(K, 3, filters=4, kernel=5, width=6)

  def forward(variables, x):
    outputs, params = {}, variables["params"]
    x = x.T[:, None]  # channels are a batch: each is read by itself
    for index in range(3):
      layer = params[f"conv{index}"]
      x = torch.nn.functional.conv1d(
        x,
        tensor(layer["kernel"])[:, 0].permute(2, 1, 0),
        tensor(layer["bias"]),
        padding=2,
      ).relu()
      outputs[f"conv{index}"] = x.permute(2, 0, 1)
    x = outputs["embedded"] = x.permute(2, 0, 1).flatten(1)
    module = torch_rnn("lstm", 4 * F, 6, 2, False, params)
    with torch.no_grad():
      states, (last, _) = module(x)
    logits = head_of(variables, last[-1])
    return {
      **outputs,
      "tokens": states,
      "embedding": last[-1],
      "logits": logits,
    }

  compare(Network(model, series()), forward)


@pytest.mark.parametrize("features", [3, 6])
def test_deepconvlstm_has_the_parameters_of_its_layers(features):
  modules = [
    *(torch.nn.Conv2d(before, 64, (5, 1)) for before in (1, 64, 64, 64)),
    torch.nn.LSTM(64 * features, 128, 2),
    torch.nn.Linear(128, K),
  ]
  expected = weights_of(torch.nn.ModuleList(modules)) - 2 * 4 * 128
  assert parameters(deepconvlstm.Model(K), features) == expected


# Patches


def torch_blocks(width, heads, inner, depth, params):
  """PyTorch's encoder blocks with our weights."""
  modules = []
  for index in range(depth):
    module = torch.nn.TransformerEncoderLayer(
      width, heads, inner, 0.0, "gelu", batch_first=True, norm_first=True
    )
    part = lambda name, index=index: {
      key: tensor(leaf)
      for key, leaf in params[f"block{index:02d}_{name}"].items()
    }
    pairs = {
      "self_attn.out_proj": "out",
      "linear1": "dense0",
      "linear2": "dense1",
      "norm1": "norm0",
      "norm2": "norm1",
    }
    state = {}
    for theirs, ours in pairs.items():
      layer = part(ours)
      weight = layer["kernel"].T if "kernel" in layer else layer["scale"]
      state |= {f"{theirs}.weight": weight, f"{theirs}.bias": layer["bias"]}
    three = [part(name) for name in ("query", "key", "value")]
    state["self_attn.in_proj_weight"] = torch.cat(
      [x["kernel"].T for x in three]
    )
    state["self_attn.in_proj_bias"] = torch.cat([x["bias"] for x in three])
    module.load_state_dict(state)
    modules.append(module.eval())
  return torch.nn.Sequential(*modules)


SIZES = {"width": 8, "depth": 2, "heads": 2, "inner": 10}


@pytest.mark.slow
@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_patch_series_equals_layers_of_pytorch(independent, normalize):
  model = patch_series.Model(
    K,
    **SIZES,
    patch=3,
    stride=2,
    independent=independent,
    normalize=normalize,
  )

  def tokens_of(params, x):
    count = max(-(-(len(x) - 3) // 2), 0) + 1
    x = torch.nn.functional.pad(x, (0, 0, 0, 3 + 2 * (count - 1) - len(x)))
    patches = torch.stack(
      [x[2 * i : 2 * i + 3].flatten() for i in range(count)]
    )
    kernel = tensor(params["patches"]["kernel"]).flatten(0, 1)
    y = patches @ kernel + tensor(params["patches"]["bias"])
    y = y + tensor(params["places"])[:count]
    with torch.no_grad():
      y = torch_blocks(8, 2, 10, 2, params)(y[None])[0]
    norm = {key: tensor(leaf) for key, leaf in params["norm"].items()}
    return torch.nn.functional.layer_norm(y, (8,), norm["scale"], norm["bias"])

  def forward(variables, x):
    if normalize:
      x = x - x.mean(0)
      x = x / (x.var(0, unbiased=False) + 1e-5).sqrt()
    parts = x.split(1, dim=1) if independent else [x]
    tokens = torch.cat([tokens_of(variables["params"], p) for p in parts], 1)
    embedding = tokens.mean(0)
    logits = head_of(variables, embedding)
    return {"tokens": tokens, "embedding": embedding, "logits": logits}

  compare(Network(model, series()), forward, 1e-4)


def test_patch_series_has_the_parameters_of_its_layers():
  block = torch.nn.TransformerEncoderLayer(128, 16, 256)
  parts = [torch.nn.Conv1d(F, 128, 16), torch.nn.LayerNorm(128)]
  parts.append(torch.nn.Linear(128, K))
  places = 128 * (1 + (512 - 16) // 8)
  expected = weights_of(torch.nn.ModuleList(parts)) + 3 * weights_of(block)
  assert parameters(patch_series.Model(K), steps=40) == expected + places


def test_independent_channels_do_not_see_each_other():
  model = patch_series.Model(K, **SIZES, patch=3, stride=2, independent=True)
  network = Network(model, series())
  other = network.inputs["sequence"].copy()
  other[..., 1] += 1
  before = network(network.inputs)
  after = network({**network.inputs, "sequence": other})
  for key, axis in (("block01", 2), ("attention01", 1), ("query01", 2)):
    parts = [np.split(np.asarray(x[key]), F, axis) for x in (before, after)]
    same = [np.array_equal(*pair) for pair in zip(*parts, strict=True)]
    assert same == [True, False, True], key


def test_a_series_longer_than_the_network_is_refused():
  with pytest.raises(ShapeError, match=r"The series has 11 steps.*length=8"):
    parameters(patch_series.Model(length=8))

"""Networks for images equal those of their papers and of RepDistiller."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from kdjax import registry
from kdjax.errors import ShapeError, UserError
from kdjax.models import (
  _conv_norm,
  _init,
  _residual,
  lenet,
  mlp,
  mobilenet_v2,
  resnet,
  resnet_cifar,
  shufflenet_v1,
  shufflenet_v2,
  vgg,
  wide_resnet,
)

KEY = jax.random.key(0)
QUICK = {"xla_backend_optimization_level": 0}
WIDE = (32, 64, 128, 256)

# Trainable parameters of RepDistiller's networks with 100 classes.
COUNTS = [
  (resnet_cifar.Model(100, depth=8), 83_892),
  (resnet_cifar.Model(100, depth=14), 181_108),
  (resnet_cifar.Model(100, depth=20), 278_324),
  (resnet_cifar.Model(100, depth=32), 472_756),
  (resnet_cifar.Model(100, depth=44), 667_188),
  (resnet_cifar.Model(100, depth=56), 861_620),
  (resnet_cifar.Model(100, depth=110), 1_736_564),
  (resnet_cifar.Model(100, depth=8, widths=WIDE), 1_233_540),
  (resnet_cifar.Model(100, depth=32, widths=WIDE), 7_433_860),
  (resnet.Model(100, depth=50, stem="cifar"), 23_705_252),
  (wide_resnet.Model(100, depth=16, widen=1), 180_916),
  (wide_resnet.Model(100, depth=16, widen=2), 703_284),
  (wide_resnet.Model(100, depth=40, widen=1), 569_780),
  (wide_resnet.Model(100, depth=40, widen=2), 2_255_156),
  (vgg.Model(100, depth=8), 3_965_028),
  (vgg.Model(100, depth=11), 9_277_284),
  (vgg.Model(100, depth=13), 9_462_180),
  (vgg.Model(100, depth=16), 14_774_436),
  (vgg.Model(100, depth=19), 20_086_692),
  (mobilenet_v2.Model(100), 812_836),
  (shufflenet_v1.Model(100), 949_258),
  (shufflenet_v2.Model(100), 1_355_528),
]

# Those of torchvision's ResNets with 1000 classes.
COUNTS_IMAGENET = [
  (18, 11_689_512),
  (34, 21_797_672),
  (50, 25_557_032),
  (101, 44_549_160),
  (152, 60_192_808),
]

# The shapes of RepDistiller's feat[0], feat[1] ..: height and channels.
STAGES = [
  (resnet_cifar.Model(), [(32, 16), (32, 16), (16, 32), (8, 64)]),
  (
    resnet_cifar.Model(depth=8, widths=WIDE),
    [(32, 32), (32, 64), (16, 128), (8, 256)],
  ),
  (wide_resnet.Model(), [(32, 16), (32, 32), (16, 64), (8, 128)]),
  (
    resnet.Model(depth=50, stem="cifar"),
    [(32, 64), (32, 256), (16, 512), (8, 1024), (4, 2048)],
  ),
  (vgg.Model(), [(32, 64), (16, 128), (8, 256), (4, 512), (4, 512)]),
  (mobilenet_v2.Model(), [(16, 16), (16, 12), (8, 16), (4, 48), (2, 160)]),
  (shufflenet_v1.Model(), [(32, 24), (16, 240), (8, 480), (4, 960)]),
  (shufflenet_v2.Model(), [(32, 24), (16, 116), (8, 232), (4, 464)]),
]

# Small networks, to compare values.
SMALL = {
  "lenet": lenet.Model(5, padding=(2, 2), widths=(4, 6, 10, 8)),
  "mlp": mlp.Model(5, widths=(10, 8)),
  "mobilenet_v2": mobilenet_v2.Model(
    5, width=0.25, expansion=2, blocks=(1, 2, 0, 0, 1, 0, 1)
  ),
  "resnet": resnet.Model(5, depth=10, width=4),
  "resnet_cifar": resnet_cifar.Model(5, depth=8, widths=(4, 4, 6, 8)),
  "shufflenet_v1": shufflenet_v1.Model(
    5, widths=(48, 72, 96), blocks=(1, 2, 1)
  ),
  "shufflenet_v2": shufflenet_v2.Model(
    5, widths=(12, 16, 24, 32), blocks=(1, 1, 1)
  ),
  "vgg": vgg.Model(5, widths=(4, 6, 8, 10, 8)),
  "wide_resnet": wide_resnet.Model(5, depth=10, widen=1, width=4),
}


def name_of(model):
  return type(model).__module__.rpartition(".")[2]


def shapes(model, *size, dtype=jnp.float32):
  """Shapes of outputs and variables, without computing them."""
  size = size or (2, 32, 32, 3)
  start = functools.partial(model.init_with_output, train=False)
  inputs = {model.modality: jax.ShapeDtypeStruct(size, dtype)}
  return jax.eval_shape(start, KEY, inputs)


def size_of(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def images(*shape, seed=0):
  random = np.random.default_rng(seed)
  return {"image": jnp.asarray(random.normal(size=shape), jnp.float32)}


@functools.cache
def initialized(name):
  """A small network, its inputs and its initial variables."""
  model, inputs = SMALL[name], images(6, 8, 8, 1)
  start = functools.partial(model.init, train=False)
  return model, inputs, jax.jit(start, compiler_options=QUICK)(KEY, inputs)


@functools.cache
def trained(name):
  """The network's outputs in training and its new statistics."""
  model, inputs, variables = initialized(name)
  step = functools.partial(model.apply, train=True, mutable="batch_stats")
  return jax.jit(step, compiler_options=QUICK)(variables, inputs)


# Sizes


@pytest.mark.slow
@pytest.mark.parametrize(("model", "count"), COUNTS)
def test_the_number_of_parameters_equals_the_reference(model, count):
  assert size_of(shapes(model)[1]["params"]) == count


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "count"), COUNTS_IMAGENET)
def test_resnets_have_as_many_parameters_as_in_torchvision(depth, count):
  model = resnet.Model(1000, depth=depth)
  outputs, variables = shapes(model, 2, 224, 224, 3)
  assert size_of(variables["params"]) == count
  heights = [outputs[f"stage{stage}"].shape[1] for stage in range(5)]
  assert heights == [112, 56, 28, 14, 7]


def test_lenet_and_an_mlp_have_known_numbers_of_parameters():
  _, variables = shapes(lenet.Model(10), 2, 28, 28, 1)
  assert size_of(variables["params"]) == 61_706
  _, variables = shapes(mlp.Model(10, widths=(1200, 1200)), 2, 28, 28, 1)
  assert size_of(variables["params"]) == 785 * 1200 + 1201 * 1200 + 1201 * 10


def test_each_norm_has_a_running_mean_and_variance():
  for name in SMALL:
    variables = shapes(SMALL[name], 2, 8, 8, 1)[1]
    norms = size_of(
      [
        leaf
        for path, leaf in jax.tree.leaves_with_path(variables["params"])
        if jax.tree_util.keystr(path).endswith("['scale']")
      ]
    )
    assert size_of(variables.get("batch_stats", {})) == 2 * norms


@pytest.mark.slow
@pytest.mark.parametrize(("model", "expected"), STAGES)
def test_stages_have_the_shapes_of_the_references(model, expected):
  outputs, _ = shapes(model)
  for kind in ("stage", "preact"):
    keys = {key for key in outputs if key.startswith(kind)}
    assert keys == {f"{kind}{stage}" for stage in range(len(expected))}
    for stage, (height, width) in enumerate(expected):
      shape = outputs[f"{kind}{stage}"].shape
      assert shape == (2, height, height, width)


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for model, _ in STAGES], ids=name_of)
def test_odd_sizes_are_rounded_up_except_in_vgg(model):
  # PyTorch's padding of 1 keeps the last row; its pooling of 2 drops it.
  outputs, _ = shapes(model, 2, 19, 10, 3)
  heights = {outputs[key].shape[1:3] for key in outputs if "stage" in key}
  halved = ((9, 5), (4, 2)) if name_of(model) == "vgg" else ((10, 5), (5, 3))
  assert {*halved} <= heights


def test_vgg_pools_a_fourth_time_for_larger_images():
  outputs, _ = shapes(vgg.Model(), 2, 64, 64, 3)
  assert [outputs[f"stage{stage}"].shape[1] for stage in range(5)] == [
    64,
    32,
    16,
    8,
    4,
  ]


def test_a_wide_resnet_returns_its_sums():
  outputs, _ = shapes(wide_resnet.Model())
  for stage in range(4):
    shape = outputs[f"residual{stage}"].shape
    assert shape == outputs[f"stage{stage}"].shape


@pytest.mark.slow
@pytest.mark.parametrize(
  "model",
  [*(model for model, _ in STAGES), resnet.Model(), mlp.Model()],
  ids=name_of,
)
def test_the_defaults_work_for_small_images(model):
  outputs, _ = shapes(model.clone(num_classes=5), 2, 8, 8, 1)
  assert outputs["logits"].shape == (2, 5)


def test_without_classes_there_are_no_logits():
  for name, model in SMALL.items():
    outputs, _ = shapes(model.clone(num_classes=None), 2, 8, 8, 1)
    assert "embedding" in outputs and "logits" not in outputs, name


def test_the_modality_is_the_key_that_is_read():
  for name, model in SMALL.items():
    other = model.clone(modality="depth")
    assert other.needs == ("depth",), name
    assert other.reads in (("depth",), ("depth", "has/depth")), name
    assert "logits" in shapes(other, 2, 8, 8, 1)[0], name


def test_an_mlp_reads_vectors():
  assert shapes(mlp.Model(5), 2, 7)[0]["logits"].shape == (2, 5)


def test_an_mlp_may_normalize_numbers_of_different_units():
  """Then units make no difference, in training and with its statistics."""
  model = mlp.Model(5, widths=(8,), normalize=True)
  x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
  units = x * np.float32([1.0, 1e3, 1e-1]) + np.float32([0.0, 5e3, -1.0])
  variables = model.init(jax.random.key(0), {"image": x}, train=False)

  def outputs(x):
    step = lambda variables: model.apply(
      variables, {"image": x}, train=True, mutable=["batch_stats"]
    )
    first, statistics = step(variables)
    for _ in range(200):
      _, statistics = step({**variables, **statistics})
    last = model.apply({**variables, **statistics}, {"image": x}, train=False)
    return first["logits"], last["logits"]

  for one, two in zip(outputs(x), outputs(units), strict=True):
    np.testing.assert_allclose(one, two, atol=2e-3)


def test_an_mlp_without_layers_is_linear():
  outputs, variables = shapes(mlp.Model(5, widths=()), 2, 4, 3, 2)
  assert outputs["embedding"].shape == (2, 24)
  assert size_of(variables["params"]) == 25 * 5


# Values


def stages_of(name):
  outputs, _ = trained(name)
  return [key for key in outputs if key.startswith("stage")]


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SMALL if n != "mobilenet_v2"])
def test_stages_are_the_relu_of_preacts(name):
  outputs, _ = trained(name)
  assert stages_of(name)
  for key in stages_of(name):
    preact = np.asarray(outputs[key.replace("stage", "preact")])
    assert np.any(preact < 0), key
    np.testing.assert_array_equal(outputs[key], np.maximum(preact, 0))


@pytest.mark.slow
def test_bottlenecks_of_mobilenet_are_linear():
  outputs, _ = trained("mobilenet_v2")
  assert not np.any(np.asarray(outputs["stage0"]) < 0)
  for stage in range(1, 5):
    x = np.asarray(outputs[f"stage{stage}"])
    assert np.any(x < 0)
    np.testing.assert_array_equal(x, outputs[f"preact{stage}"])


@pytest.mark.slow
@pytest.mark.parametrize(
  "name", [n for n in SMALL if n not in ("lenet", "mlp")]
)
def test_the_embedding_is_the_mean_of_the_tokens(name):
  outputs, _ = trained(name)
  expected = np.mean(outputs["tokens"], axis=1)
  np.testing.assert_allclose(outputs["embedding"], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet", "resnet_cifar", "vgg"])
def test_the_embedding_is_the_mean_over_the_last_stage(name):
  outputs, _ = trained(name)
  expected = np.mean(outputs[stages_of(name)[-1]], axis=(1, 2))
  np.testing.assert_allclose(outputs["embedding"], expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_logits_are_linear_in_the_embedding(name):
  outputs, _ = trained(name)
  head = initialized(name)[2]["params"]["head"]
  expected = np.asarray(outputs["embedding"], float) @ head["kernel"]
  np.testing.assert_allclose(
    outputs["logits"], expected + head["bias"][None], atol=1e-5
  )


def test_preacts_are_normalized_in_training_if_a_norm_ends_a_stage():
  # With a scale of 1 and a bias of 0: mean 0 and variance 1 over the batch.
  for name in ("vgg", "wide_resnet"):
    x = np.asarray(trained(name)[0]["preact1"])
    np.testing.assert_allclose(x.mean((0, 1, 2)), 0, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(x.var((0, 1, 2)), 1, atol=1e-3, err_msg=name)


def test_a_wide_resnet_normalizes_its_sums():
  outputs, _ = trained("wide_resnet")
  for stage in range(4):
    x = np.asarray(outputs[f"residual{stage}"], float)
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    expected = (x - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(
      outputs[f"preact{stage}"], expected, atol=1e-4, rtol=1e-4
    )


def test_dropout_is_on_the_embedding_and_in_wide_resnets_in_blocks():
  key = {"dropout": jax.random.key(1)}
  for name in ("resnet_cifar", "wide_resnet"):
    model, inputs, variables = initialized(name)
    dropped, _ = jax.jit(
      functools.partial(
        model.clone(dropout=0.5).apply, train=True, mutable="batch_stats"
      ),
      compiler_options=QUICK,
    )(variables, inputs, rngs=key)
    outputs, _ = trained(name)
    same = np.allclose(dropped["embedding"], outputs["embedding"], atol=1e-5)
    assert same == (name == "resnet_cifar")
    assert not np.allclose(dropped["logits"], outputs["logits"])


def convolved(x, kernel, stride):
  """Convolves [B H W C] with a kernel [h w C D], padded with h // 2 zeros.

  By SciPy, in float64. A kernel with fewer channels means groups.
  """
  kernel = np.asarray(kernel, float)
  pad, part, width = kernel.shape[0] // 2, *kernel.shape[2:]
  x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  each = width // (x.shape[-1] // part)
  maps = [
    [
      sum(
        scipy.signal.correlate2d(
          image[..., d // each * part + c], kernel[..., c, d], "valid"
        )
        for c in range(part)
      )
      for d in range(width)
    ]
    for image in x
  ]
  return np.moveaxis(maps, 1, -1)[:, ::stride, ::stride]


def normed(x):
  return (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)


def relu(x):
  return np.maximum(x, 0)


def shuffled(x, groups):
  each = x.shape[-1] // groups
  order = [group * each + i for i in range(each) for group in range(groups)]
  return x[..., order]


LAYERS = _conv_norm.Layers(train=True)

# Blocks of 12 channels and their definitions in the papers: `conv` is a
# convolution with the kernel of that name, `unit` adds batch norm.
BLOCKS = [
  (
    _residual.Basic(12, 1, LAYERS),
    lambda x, conv, unit: x + unit(relu(unit(x, 0)), 1),
  ),
  (
    _residual.Basic(5, 2, LAYERS),
    lambda x, conv, unit: (
      unit(x, "_shortcut", 2) + unit(relu(unit(x, 0, 2)), 1)
    ),
  ),
  (
    _residual.Bottleneck(3, 1, LAYERS),
    lambda x, conv, unit: x + unit(relu(unit(relu(unit(x, 0)), 1)), 2),
  ),
  (
    _residual.Bottleneck(2, 2, LAYERS),
    lambda x, conv, unit: (
      unit(x, "_shortcut", 2) + unit(relu(unit(relu(unit(x, 0)), 1, 2)), 2)
    ),
  ),
  (
    wide_resnet._Block(12, 1, 0.0, LAYERS),
    lambda x, conv, unit: (
      x + conv(relu(normed(conv(relu(normed(x)), "0"))), "1")
    ),
  ),
  (
    wide_resnet._Block(5, 2, 0.0, LAYERS),
    lambda x, conv, unit: (
      conv(relu(normed(x)), "_shortcut", 2)
      + conv(relu(normed(conv(relu(normed(x)), "0", 2))), "1")
    ),
  ),
  (
    mobilenet_v2._Block(12, 2, 1, LAYERS),
    lambda x, conv, unit: x + unit(relu(unit(relu(unit(x, 0)), 1)), 2),
  ),
  (
    mobilenet_v2._Block(12, 2, 2, LAYERS),
    lambda x, conv, unit: unit(relu(unit(relu(unit(x, 0)), 1, 2)), 2),
  ),
  (
    shufflenet_v1._Block(24, False, (3, 3), LAYERS),
    lambda x, conv, unit: (
      x + unit(relu(unit(shuffled(relu(unit(x, 0)), 3), 1)), 2)
    ),
  ),
  (
    shufflenet_v2._Block(LAYERS),
    lambda x, conv, unit: shuffled(
      np.concatenate(
        [x[..., :12], unit(unit(relu(unit(x[..., 12:], 0)), 1), 2)], -1
      ),
      2,
    ),
  ),
  (
    shufflenet_v2._Halve(8, LAYERS),
    lambda x, conv, unit: shuffled(
      np.concatenate(
        [unit(unit(x, 0, 2), 1), unit(unit(relu(unit(x, 2)), 3, 2), 4)], -1
      ),
      2,
    ),
  ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("block", "by_hand"), BLOCKS)
def test_a_block_equals_its_definition(block, by_hand):
  width = 24 if "shufflenet" in name_of(block) else 12
  x = images(3, 6, 5, width)["image"]
  start = jax.jit(block.init_with_output, compiler_options=QUICK)
  actual, variables = start(KEY, x)
  if name_of(block) == "wide_resnet":
    np.testing.assert_allclose(actual[0], normed(np.asarray(x)), atol=1e-4)
    actual = actual[1]
  kernel = lambda name: variables["params"][f"conv{name}"]["kernel"]
  conv = lambda x, name, stride=1: convolved(x, kernel(name), stride)
  unit = lambda x, name, stride=1: normed(conv(x, name, stride))
  expected = by_hand(np.asarray(x, float), conv, unit)
  np.testing.assert_allclose(actual, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", [(8, 8), (7, 8), (5, 3)])
def test_padding_is_the_same_on_all_sides_if_a_map_is_halved(size):
  x = images(2, *size, 3)["image"]

  class One(nn.Module):
    @nn.compact
    def __call__(self, x):
      return _conv_norm.Layers(True).conv(x, 4, 3, "conv", stride=2)

  y, variables = One().init_with_output(KEY, x)
  kernel = variables["params"]["conv"]["kernel"]
  expected = convolved(np.asarray(x, float), kernel, 2)
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_shuffling_interleaves_the_groups():
  x = jnp.arange(12)[None, None, None]
  interleaved = _conv_norm.shuffle(x, 3)[0, 0, 0]
  assert interleaved.tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
  with pytest.raises(ShapeError, match="12 channels in 5 groups"):
    _conv_norm.shuffle(x, 5)


def test_the_pooled_shortcut_of_a_shufflenet_counts_the_zero_padding():
  outputs, _ = trained("shufflenet_v1")
  x = np.asarray(outputs["stage0"], float)
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  expected = np.zeros((6, 4, 4, 24))
  for i in range(4):
    for j in range(4):
      window = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
      expected[:, i, j] = window.sum((1, 2)) / 9
  # The shortcut follows the convolved channels and is not negative.
  shortcut = outputs["stage1"][..., -24:]
  np.testing.assert_allclose(shortcut, expected, atol=1e-5)


def test_half_of_the_channels_of_a_shufflenet_v2_is_kept():
  # After the shuffle, every second channel is unchanged.
  model, inputs, variables = initialized("shufflenet_v2")
  shorter = model.clone(blocks=(0, 1, 1))
  step = functools.partial(shorter.apply, train=True, mutable="batch_stats")
  before, _ = jax.jit(step, compiler_options=QUICK)(variables, inputs)
  after, _ = trained("shufflenet_v2")
  half = model.widths[0] // 2
  np.testing.assert_allclose(
    after["stage1"][..., 0::2], before["stage1"][..., :half], atol=1e-5
  )


# Batch statistics


def test_running_statistics_keep_nine_tenths():
  _, _, variables = initialized("vgg")
  outputs, update = trained("vgg")
  assert variables["batch_stats"]["norm1_0"]["var"].tolist() == [1] * 6
  # The norm's input is no output of the network, so it is computed here.
  x = np.asarray(outputs["stage0"], float)
  x = x.reshape(6, 4, 2, 4, 2, 4).max((2, 4))
  params = variables["params"]["conv1_0"]
  x = convolved(x, params["kernel"], 1) + np.asarray(params["bias"])
  after = update["batch_stats"]["norm1_0"]
  np.testing.assert_allclose(after["mean"], 0.1 * x.mean((0, 1, 2)), atol=1e-5)
  # The biased variance.
  expected = 0.9 + 0.1 * x.var((0, 1, 2))
  np.testing.assert_allclose(after["var"], expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
  "name", ["resnet_cifar", "wide_resnet", "mobilenet_v2", "shufflenet_v2"]
)
def test_devices_with_a_common_axis_share_batch_statistics(name):
  model, inputs, variables = initialized(name)
  expected, statistics = trained(name)
  parts = {"image": inputs["image"].reshape(2, 3, 8, 8, 1)}
  step = functools.partial(
    model.clone(axis_name="devices").apply,
    variables,
    train=True,
    mutable="batch_stats",
  )
  actual, update = jax.jit(
    jax.vmap(step, axis_name="devices"), compiler_options=QUICK
  )(parts)
  np.testing.assert_allclose(
    actual["logits"].reshape(6, -1), expected["logits"], rtol=1e-3, atol=1e-4
  )
  # Both devices have the statistics of one.
  for one, both in zip(
    jax.tree.leaves(statistics), jax.tree.leaves(update), strict=True
  ):
    np.testing.assert_allclose(
      both, jnp.stack([one, one]), rtol=1e-3, atol=1e-5
    )


# Initialization


def kernels(variables):
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
    for path, leaf in jax.tree.leaves_with_path(variables["params"])
  }


@pytest.mark.parametrize(
  "name", ["resnet", "wide_resnet", "vgg", "mobilenet_v2"]
)
def test_convolutions_start_normal_with_variance_by_fan_out(name):
  scaled = [
    leaf * np.sqrt(leaf.shape[0] * leaf.shape[1] * leaf.shape[3] / 2)
    for path, leaf in kernels(initialized(name)[2]).items()
    if leaf.ndim == 4
  ]
  x = np.concatenate([leaf.ravel() for leaf in scaled])
  assert len(x) > 1000
  np.testing.assert_allclose(x.std(), 1, atol=4 / np.sqrt(len(x)))
  # A normal's fourth moment; a uniform's is 1.8.
  np.testing.assert_allclose(np.mean(x**4), 3, atol=40 / np.sqrt(len(x)))


@pytest.mark.parametrize(
  "name", ["lenet", "mlp", "shufflenet_v1", "shufflenet_v2"]
)
def test_the_others_start_as_in_pytorch(name):
  params = kernels(initialized(name)[2])
  for path, leaf in params.items():
    if path.endswith("kernel"):
      fan_in = np.prod(leaf.shape[:-1])
      draws = leaf * np.sqrt(fan_in)
      assert np.abs(draws).max() <= 1 + 1e-6, path
      if leaf.size > 200:
        np.testing.assert_allclose(
          draws.std(), 3**-0.5, atol=2 / np.sqrt(leaf.size), err_msg=path
        )
      bias = params.get(path.replace("kernel", "bias"))
      if bias is not None:
        assert bias.any() and np.abs(bias).max() <= fan_in**-0.5, path


def test_heads_start_as_in_the_references():
  heads = {
    name: initialized(name)[2]["params"]["head"]
    for name in ("resnet", "resnet_cifar", "wide_resnet", "vgg", "mobilenet_v2")
  }
  for name in ("wide_resnet", "vgg", "mobilenet_v2"):
    assert not heads[name]["bias"].any(), name
  for name in ("resnet", "resnet_cifar"):
    assert heads[name]["bias"].any(), name
  draws = np.asarray(heads["mobilenet_v2"]["kernel"])
  np.testing.assert_allclose(draws.std(), 0.01, rtol=0.05)
  assert np.abs(heads["vgg"]["kernel"]).max() < 0.05
  wide = np.asarray(heads["wide_resnet"]["kernel"])
  assert np.abs(wide).max() <= wide.shape[0] ** -0.5


def test_biases_of_pytorch_are_uniform_within_one_over_the_root_of_the_fan():
  draws = _init.pytorch_bias(16)(KEY, (2000,), jnp.float32)
  assert draws.min() < -0.249 and draws.max() > 0.249
  assert abs(draws).max() <= 0.25 and abs(draws.mean()) < 0.02


def test_norms_start_at_one_and_convolutions_of_vgg_without_bias():
  for name in ("vgg", "resnet_cifar", "shufflenet_v2"):
    for path, leaf in kernels(initialized(name)[2]).items():
      if path.endswith("scale"):
        assert (leaf == 1).all(), path
      elif path.endswith("bias") and "head" not in path:
        assert not leaf.any(), path


# Mistakes


@pytest.mark.parametrize(
  ("model", "message"),
  [
    (resnet_cifar.Model(depth=18), "6 n \\+ 2"),
    (resnet_cifar.Model(widths=(4, 4, 4)), "3 widths. Expected four"),
    (wide_resnet.Model(depth=20), "6 n \\+ 4"),
    (resnet.Model(depth=20), "There are: 10, 101, 152, 18, 34, 50"),
    (resnet.Model(stem="cifr"), "Did you mean 'cifar'"),
    (vgg.Model(depth=12), "There are: 11, 13, 16, 19, 8"),
    (vgg.Model(widths=(4, 4)), "2 widths. Expected five"),
    (mobilenet_v2.Model(blocks=(1,)), "seven groups"),
    (shufflenet_v1.Model(widths=(48, 96)), "2 widths and 3"),
    (shufflenet_v1.Model(groups=7), "in 7 groups. The groups must divide"),
    (shufflenet_v2.Model(widths=(12, 16, 24)), "3 widths and 3"),
    (lenet.Model(widths=(4, 4)), "2 widths and 2 paddings"),
  ],
)
def test_invalid_options_are_refused(model, message):
  with pytest.raises(UserError, match=message):
    shapes(model)


@pytest.mark.parametrize(
  ("model", "size"),
  [(lenet.Model(), (2, 8, 8, 1)), (vgg.Model(), (2, 4, 4, 1))],
  ids=["lenet", "vgg"],
)
def test_images_that_are_too_small_are_refused(model, size):
  with pytest.raises(ShapeError, match="larger images"):
    shapes(model, *size)


def test_an_input_that_is_not_an_image_is_refused():
  for name, model in SMALL.items():
    if name != "mlp":
      with pytest.raises(ShapeError, match=r"Images are \[B H W C\]"):
        shapes(model, 2, 64)


# Rematerialisation


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("resnet", {"depth": 10, "width": 8, "stem": "cifar"}),
    ("resnet", {"depth": 50, "width": 8, "blocks": (1, 1)}),
    ("resnet_cifar", {"depth": 8, "widths": (4, 4, 6, 8)}),
    ("wide_resnet", {"depth": 10, "widen": 1, "width": 4, "dropout": 0.2}),
  ],
)
def test_remat_gives_equal_gradients_and_computes_again(name, options):
  kind = registry.find("models", name)
  inputs = {
    "image": jax.random.normal(KEY, (4, 16, 16, 3)),
    "has/image": jnp.array([True, True, False, True]),
  }
  results, products = {}, {}
  for remat in (False, True):
    model = kind(num_classes=3, remat=remat, **options)
    start = lambda model=model: model.init(KEY, inputs, train=False)
    variables = jax.jit(start)()

    def loss(params, model=model, variables=variables):
      outputs, new = model.apply(
        {**variables, "params": params},
        inputs,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": KEY},
      )
      return jnp.sum(outputs["logits"] ** 2), new

    step = jax.value_and_grad(loss, has_aux=True)
    results[remat] = jax.jit(step)(variables["params"])
    text = str(jax.make_jaxpr(step)(variables["params"]))
    products[remat] = text.count("conv_general_dilated")
  assert products[True] > products[False]
  for one, two in zip(
    jax.tree.leaves(results[False]),
    jax.tree.leaves(results[True]),
    strict=True,
  ):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)

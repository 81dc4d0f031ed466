"""The networks of images are those of their papers and of RepDistiller."""

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

# RepDistiller's networks with 100 classes: trainable parameters.
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

# torchvision's, with 1000 classes.
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

# Small networks, whose values are looked at.
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
  """Outputs and variables, computing neither."""
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
def started(name):
  """A small network, what it is called with, and its start."""
  model, inputs = SMALL[name], images(6, 8, 8, 1)
  start = functools.partial(model.init, train=False)
  return model, inputs, jax.jit(start, compiler_options=QUICK)(KEY, inputs)


@functools.cache
def ran(name):
  """What it gives in training: outputs, and new statistics."""
  model, inputs, variables = started(name)
  step = functools.partial(model.apply, train=True, mutable="batch_stats")
  return jax.jit(step, compiler_options=QUICK)(variables, inputs)


# Sizes


@pytest.mark.parametrize(("model", "count"), COUNTS)
def test_parameters_are_as_many_as_the_references(model, count):
  assert size_of(shapes(model)[1]["params"]) == count


@pytest.mark.parametrize(("depth", "count"), COUNTS_IMAGENET)
def test_resnets_have_as_many_parameters_as_torchvisions(depth, count):
  model = resnet.Model(1000, depth=depth)
  outputs, variables = shapes(model, 2, 224, 224, 3)
  assert size_of(variables["params"]) == count
  heights = [outputs[f"stage{stage}"].shape[1] for stage in range(5)]
  assert heights == [112, 56, 28, 14, 7]


def test_lenet_and_an_mlp_have_the_parameters_that_are_known():
  _, variables = shapes(lenet.Model(10), 2, 28, 28, 1)
  assert size_of(variables["params"]) == 61_706
  _, variables = shapes(mlp.Model(10, widths=(1200, 1200)), 2, 28, 28, 1)
  assert size_of(variables["params"]) == 785 * 1200 + 1201 * 1200 + 1201 * 10


def test_running_statistics_are_a_mean_and_a_variance_of_each_norm():
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


@pytest.mark.parametrize(("model", "expected"), STAGES)
def test_stages_have_the_shapes_of_the_references(model, expected):
  outputs, _ = shapes(model)
  for kind in ("stage", "preact"):
    found = {key for key in outputs if key.startswith(kind)}
    assert found == {f"{kind}{stage}" for stage in range(len(expected))}
    for stage, (height, width) in enumerate(expected):
      shape = outputs[f"{kind}{stage}"].shape
      assert shape == (2, height, height, width)


@pytest.mark.parametrize("model", [model for model, _ in STAGES], ids=name_of)
def test_odd_sizes_are_halved_upwards_but_by_vgg(model):
  # PyTorch's padding of 1 keeps the last row; its pooling of 2 drops it.
  outputs, _ = shapes(model, 2, 19, 10, 3)
  heights = {outputs[key].shape[1:3] for key in outputs if "stage" in key}
  halved = ((9, 5), (4, 2)) if name_of(model) == "vgg" else ((10, 5), (5, 3))
  assert {*halved} <= heights


def test_vgg_pools_a_fourth_time_where_images_are_larger():
  outputs, _ = shapes(vgg.Model(), 2, 64, 64, 3)
  assert [outputs[f"stage{stage}"].shape[1] for stage in range(5)] == [
    64,
    32,
    16,
    8,
    4,
  ]


def test_a_wide_resnet_shows_its_sums_too():
  outputs, _ = shapes(wide_resnet.Model())
  for stage in range(4):
    shape = outputs[f"residual{stage}"].shape
    assert shape == outputs[f"stage{stage}"].shape


@pytest.mark.parametrize(
  "model",
  [*(model for model, _ in STAGES), resnet.Model(), mlp.Model()],
  ids=name_of,
)
def test_the_defaults_see_small_images_too(model):
  outputs, _ = shapes(model.clone(num_classes=5), 2, 8, 8, 1)
  assert outputs["logits"].shape == (2, 5)


def test_no_classes_no_logits():
  for name, model in SMALL.items():
    outputs, _ = shapes(model.clone(num_classes=None), 2, 8, 8, 1)
    assert "embedding" in outputs and "logits" not in outputs, name


def test_the_modality_is_the_key_that_is_read():
  for name, model in SMALL.items():
    other = model.clone(modality="depth")
    assert other.needs == ("depth",), name
    assert other.reads in (("depth",), ("depth", "has/depth")), name
    assert "logits" in shapes(other, 2, 8, 8, 1)[0], name


def test_an_mlp_reads_what_has_no_height():
  assert shapes(mlp.Model(5), 2, 7)[0]["logits"].shape == (2, 5)


def test_an_mlp_without_layers_is_linear():
  outputs, variables = shapes(mlp.Model(5, widths=()), 2, 4, 3, 2)
  assert outputs["embedding"].shape == (2, 24)
  assert size_of(variables["params"]) == 25 * 5


# Values


def stages_of(name):
  outputs, _ = ran(name)
  return [key for key in outputs if key.startswith("stage")]


@pytest.mark.parametrize("name", [n for n in SMALL if n != "mobilenet_v2"])
def test_stages_are_what_is_positive_before_relu(name):
  outputs, _ = ran(name)
  assert stages_of(name)
  for key in stages_of(name):
    preact = np.asarray(outputs[key.replace("stage", "preact")])
    assert np.any(preact < 0), key
    np.testing.assert_array_equal(outputs[key], np.maximum(preact, 0))


def test_bottlenecks_of_mobilenet_are_linear():
  outputs, _ = ran("mobilenet_v2")
  assert not np.any(np.asarray(outputs["stage0"]) < 0)
  for stage in range(1, 5):
    x = np.asarray(outputs[f"stage{stage}"])
    assert np.any(x < 0)
    np.testing.assert_array_equal(x, outputs[f"preact{stage}"])


@pytest.mark.parametrize(
  "name", [n for n in SMALL if n not in ("lenet", "mlp")]
)
def test_the_embedding_is_the_mean_of_the_tokens(name):
  outputs, _ = ran(name)
  expected = np.mean(outputs["tokens"], axis=1)
  np.testing.assert_allclose(outputs["embedding"], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet", "resnet_cifar", "vgg"])
def test_the_embedding_is_the_mean_over_the_last_stage(name):
  outputs, _ = ran(name)
  expected = np.mean(outputs[stages_of(name)[-1]], axis=(1, 2))
  np.testing.assert_allclose(outputs["embedding"], expected, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_linear_in_the_embedding(name):
  outputs, _ = ran(name)
  head = started(name)[2]["params"]["head"]
  expected = np.asarray(outputs["embedding"], float) @ head["kernel"]
  np.testing.assert_allclose(
    outputs["logits"], expected + head["bias"][None], atol=1e-5
  )


def test_preacts_are_normalised_in_training_where_a_norm_ends_a_stage():
  # A scale of 1 and a shift of 0: over the batch, mean 0 and variance 1.
  for name in ("vgg", "wide_resnet"):
    x = np.asarray(ran(name)[0]["preact1"])
    np.testing.assert_allclose(x.mean((0, 1, 2)), 0, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(x.var((0, 1, 2)), 1, atol=1e-3, err_msg=name)


def test_a_wide_resnet_normalises_its_sums():
  outputs, _ = ran("wide_resnet")
  for stage in range(4):
    x = np.asarray(outputs[f"residual{stage}"], float)
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    expected = (x - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(
      outputs[f"preact{stage}"], expected, atol=1e-4, rtol=1e-4
    )


def test_dropout_is_of_the_embedding_and_in_wide_resnets_of_blocks():
  key = {"dropout": jax.random.key(1)}
  for name in ("resnet_cifar", "wide_resnet"):
    model, inputs, variables = started(name)
    dropped, _ = jax.jit(
      functools.partial(
        model.clone(dropout=0.5).apply, train=True, mutable="batch_stats"
      ),
      compiler_options=QUICK,
    )(variables, inputs, rngs=key)
    outputs, _ = ran(name)
    same = np.allclose(dropped["embedding"], outputs["embedding"], atol=1e-5)
    assert same == (name == "resnet_cifar")
    assert not np.allclose(dropped["logits"], outputs["logits"])


def convolved(x, kernel, stride):
  """[B H W C] by a kernel [h w C D], padded by h // 2 zeros on all sides.

  By SciPy, in float64. A kernel of fewer channels is of groups.
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


def dealt(x, groups):
  each = x.shape[-1] // groups
  order = [group * each + i for i in range(each) for group in range(groups)]
  return x[..., order]


LAYERS = _conv_norm.Layers(train=True)

# Blocks of 12 channels and how they are written in their papers: `conv` is a
# convolution with the kernel of that name, `unit` this and batch norm.
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
      x + unit(relu(unit(dealt(relu(unit(x, 0)), 3), 1)), 2)
    ),
  ),
  (
    shufflenet_v2._Block(LAYERS),
    lambda x, conv, unit: dealt(
      np.concatenate(
        [x[..., :12], unit(unit(relu(unit(x[..., 12:], 0)), 1), 2)], -1
      ),
      2,
    ),
  ),
  (
    shufflenet_v2._Halve(8, LAYERS),
    lambda x, conv, unit: dealt(
      np.concatenate(
        [unit(unit(x, 0, 2), 1), unit(unit(relu(unit(x, 2)), 3, 2), 4)], -1
      ),
      2,
    ),
  ),
]


@pytest.mark.parametrize(("block", "by_hand"), BLOCKS)
def test_a_block_is_what_its_paper_says(block, by_hand):
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
def test_padding_is_the_same_on_all_sides_where_a_map_is_halved(size):
  x = images(2, *size, 3)["image"]

  class One(nn.Module):
    @nn.compact
    def __call__(self, x):
      return _conv_norm.Layers(True).conv(x, 4, 3, "conv", stride=2)

  y, variables = One().init_with_output(KEY, x)
  kernel = variables["params"]["conv"]["kernel"]
  expected = convolved(np.asarray(x, float), kernel, 2)
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_shuffling_deals_out_the_groups():
  x = jnp.arange(12)[None, None, None]
  dealt = _conv_norm.shuffle(x, 3)[0, 0, 0]
  assert dealt.tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
  with pytest.raises(ShapeError, match="12 channels in 5 groups"):
    _conv_norm.shuffle(x, 5)


def test_the_pooled_shortcut_of_a_shufflenet_counts_the_zeros_around():
  outputs, _ = ran("shufflenet_v1")
  x = np.asarray(outputs["stage0"], float)
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  expected = np.zeros((6, 4, 4, 24))
  for i in range(4):
    for j in range(4):
      window = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
      expected[:, i, j] = window.sum((1, 2)) / 9
  # It is after what was convolved, and not below 0.
  shortcut = outputs["stage1"][..., -24:]
  np.testing.assert_allclose(shortcut, expected, atol=1e-5)


def test_half_of_the_channels_of_a_shufflenet_v2_is_kept():
  # The first of each two that are dealt out came through as it was.
  model, inputs, variables = started("shufflenet_v2")
  shorter = model.clone(blocks=(0, 1, 1))
  step = functools.partial(shorter.apply, train=True, mutable="batch_stats")
  before, _ = jax.jit(step, compiler_options=QUICK)(variables, inputs)
  after, _ = ran("shufflenet_v2")
  half = model.widths[0] // 2
  np.testing.assert_allclose(
    after["stage1"][..., 0::2], before["stage1"][..., :half], atol=1e-5
  )


# Batch statistics


def test_running_statistics_keep_nine_tenths():
  _, _, variables = started("vgg")
  outputs, update = ran("vgg")
  assert variables["batch_stats"]["norm1_0"]["var"].tolist() == [1] * 6
  # Before the norm, of which only what comes out is shown: what goes in is
  # made here.
  x = np.asarray(outputs["stage0"], float)
  x = x.reshape(6, 4, 2, 4, 2, 4).max((2, 4))
  params = variables["params"]["conv1_0"]
  x = convolved(x, params["kernel"], 1) + np.asarray(params["bias"])
  found = update["batch_stats"]["norm1_0"]
  np.testing.assert_allclose(found["mean"], 0.1 * x.mean((0, 1, 2)), atol=1e-5)
  # Of the variance over all positions, not over all but one.
  expected = 0.9 + 0.1 * x.var((0, 1, 2))
  np.testing.assert_allclose(found["var"], expected, rtol=1e-5)


@pytest.mark.parametrize(
  "name", ["resnet_cifar", "wide_resnet", "mobilenet_v2", "shufflenet_v2"]
)
def test_devices_with_a_common_axis_share_batch_statistics(name):
  model, inputs, variables = started(name)
  expected, statistics = ran(name)
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
  # Each device once: two have the statistics of one.
  for one, both in zip(
    jax.tree.leaves(statistics), jax.tree.leaves(update), strict=True
  ):
    np.testing.assert_allclose(
      both, jnp.stack([one, one]), rtol=1e-3, atol=1e-5
    )


# Starts


def kernels(variables):
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
    for path, leaf in jax.tree.leaves_with_path(variables["params"])
  }


@pytest.mark.parametrize(
  "name", ["resnet", "wide_resnet", "vgg", "mobilenet_v2"]
)
def test_convolutions_start_normal_with_the_variance_of_their_fan_out(name):
  found = [
    leaf * np.sqrt(leaf.shape[0] * leaf.shape[1] * leaf.shape[3] / 2)
    for path, leaf in kernels(started(name)[2]).items()
    if leaf.ndim == 4
  ]
  x = np.concatenate([leaf.ravel() for leaf in found])
  assert len(x) > 1000
  np.testing.assert_allclose(x.std(), 1, atol=4 / np.sqrt(len(x)))
  # A normal's fourth moment, which tells it from a uniform's 1.8.
  np.testing.assert_allclose(np.mean(x**4), 3, atol=40 / np.sqrt(len(x)))


@pytest.mark.parametrize(
  "name", ["lenet", "mlp", "shufflenet_v1", "shufflenet_v2"]
)
def test_the_others_start_as_pytorchs_layers(name):
  params = kernels(started(name)[2])
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
    name: started(name)[2]["params"]["head"]
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
    for path, leaf in kernels(started(name)[2]).items():
      if path.endswith("scale"):
        assert (leaf == 1).all(), path
      elif path.endswith("bias") and "head" not in path:
        assert not leaf.any(), path


# Mistakes


@pytest.mark.parametrize(
  ("model", "message"),
  [
    (resnet_cifar.Model(depth=18), "6 n \\+ 2"),
    (resnet_cifar.Model(widths=(4, 4, 4)), "3 widths. There are four"),
    (wide_resnet.Model(depth=20), "6 n \\+ 4"),
    (resnet.Model(depth=20), "There are: 10, 101, 152, 18, 34, 50"),
    (resnet.Model(stem="cifr"), "Did you mean 'cifar'"),
    (vgg.Model(depth=12), "There are: 11, 13, 16, 19, 8"),
    (vgg.Model(widths=(4, 4)), "2 widths. There are five"),
    (mobilenet_v2.Model(blocks=(1,)), "seven groups"),
    (shufflenet_v1.Model(widths=(48, 96)), "2 widths and 3"),
    (shufflenet_v1.Model(groups=7), "in 7 groups. The groups must divide"),
    (shufflenet_v2.Model(widths=(12, 16, 24)), "3 widths and 3"),
    (lenet.Model(widths=(4, 4)), "2 widths and 2 paddings"),
  ],
)
def test_options_that_make_no_network_are_said(model, message):
  with pytest.raises(UserError, match=message):
    shapes(model)


@pytest.mark.parametrize(
  ("model", "size"),
  [(lenet.Model(), (2, 8, 8, 1)), (vgg.Model(), (2, 4, 4, 1))],
  ids=["lenet", "vgg"],
)
def test_images_that_are_too_small_are_said(model, size):
  with pytest.raises(ShapeError, match="larger images"):
    shapes(model, *size)


def test_what_is_no_image_is_said():
  for name, model in SMALL.items():
    if name != "mlp":
      with pytest.raises(ShapeError, match=r"Images are \[B H W C\]"):
        shapes(model, 2, 64)


# Rematerialisation


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("resnet", {"depth": 10, "width": 8, "stem": "cifar"}),
    ("resnet", {"depth": 50, "width": 8, "blocks": (1, 1)}),
    ("resnet_cifar", {"depth": 8, "widths": (4, 4, 6, 8)}),
    ("wide_resnet", {"depth": 10, "widen": 1, "width": 4, "dropout": 0.2}),
  ],
)
def test_blocks_computed_again_are_the_same_and_are_not_kept(name, options):
  kind = registry.find("models", name)
  inputs = {
    "image": jax.random.normal(KEY, (4, 16, 16, 3)),
    "has/image": jnp.array([True, True, False, True]),
  }
  found, products = {}, {}
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
    found[remat] = jax.jit(step)(variables["params"])
    text = str(jax.make_jaxpr(step)(variables["params"]))
    products[remat] = text.count("conv_general_dilated")
  assert products[True] > products[False]
  for one, two in zip(
    jax.tree.leaves(found[False]), jax.tree.leaves(found[True]), strict=True
  ):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)

"""Public checkpoints: reading, refusals and inheritance."""

import json
import os
import re
import struct
import tracemalloc
from unittest import mock

import huggingface_hub
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from huggingface_hub import errors
from safetensors.numpy import save_file

from kdjax import pretrained, registry
from kdjax.errors import UserError
from kdjax.pretrained import files, header
from kdjax.pretrained.weights import Weights

# A minimal network with a leaf of every kind.
TINY = r'''
"""A network of three layers."""

import flax.linen as nn
import jax.numpy as jnp

from kdjax.models._modality import OneModality

TYPES = ("tiny", "tinier")
PREFIXES = ("", "tiny.")
UNREAD = (r"lm\..*", r"encoder\.steps")
FRESH = ("head", "pooler")


class Model(OneModality, nn.Module):
  """Token embeddings, blocks, two convolutions and a head."""

  width: int = 6
  vocabulary: int = 11
  depth: int = 2
  num_classes: int | None = None
  modality: str = "text"

  @nn.compact
  def __call__(self, inputs, *, train):
    x = nn.Embed(self.vocabulary, self.width, name="words")(
      inputs[self.modality]
    )
    for index in range(self.depth):
      x = nn.LayerNorm(name=f"block{index:02d}_norm")(x)
      x = nn.Dense(5, name=f"block{index:02d}_in")(x)
      x = nn.Dense(self.width, name=f"block{index:02d}_out")(x)
    x = nn.Conv(self.width, (3,), name="time")(x)
    x = nn.Conv(4, (3, 2), name="both")(x[..., None])
    x = nn.BatchNorm(use_running_average=True, name="batch")(x)
    x *= self.param("scale", nn.initializers.ones, (1, 1, 1, 1))
    outputs = {"embedding": jnp.mean(x, axis=(1, 2))}
    outputs["pooled"] = nn.Dense(4, name="pooler")(outputs["embedding"])
    if self.num_classes:
      outputs["logits"] = nn.Dense(self.num_classes, name="head")(
        outputs["pooled"]
      )
    return outputs


def options(config):
  return {"width": config["hidden"], "num_classes": config.get("classes")}


def names(model):
  table = {
    "params/words/embedding": "words.weight",
    "params/scale": "scale",
    "params/time/kernel": "time.weight",
    "params/time/bias": "time.bias",
    "params/both/kernel": "both.weight",
    "params/both/bias": "both.bias",
    "params/batch/scale": "batch.weight",
    "params/batch/bias": "batch.bias",
    "batch_stats/batch/mean": "batch.running_mean",
    "batch_stats/batch/var": "batch.running_var",
    "params/pooler/kernel": "pooler.weight",
    "params/pooler/bias": "pooler.bias",
  }
  for index in range(model.depth):
    for part in ("in", "out"):
      ours = f"params/block{index:02d}_{part}"
      table[f"{ours}/kernel"] = f"encoder.{index}.{part}.weight"
      table[f"{ours}/bias"] = f"encoder.{index}.{part}.bias"
    ours = f"params/block{index:02d}_norm"
    table[f"{ours}/scale"] = f"encoder.{index}.LayerNorm.weight"
    table[f"{ours}/bias"] = f"encoder.{index}.LayerNorm.bias"
  if model.num_classes:
    table["params/head/kernel"] = "classifier.weight"
    table["params/head/bias"] = "classifier.bias"
  return table
'''

CONFIG = {"model_type": "tiny", "hidden": 6, "classes": 3}


def published(classes=3, blocks=2):
  """Random tensors in PyTorch's layout; all sizes differ."""
  random = np.random.default_rng(0)
  make = lambda *shape: random.normal(size=shape).astype("f4")
  tensors = {
    "words.weight": make(11, 6),
    "scale": make(1, 1, 1, 1),
    "time.weight": make(6, 6, 3),
    "time.bias": make(6),
    "both.weight": make(4, 1, 3, 2),
    "both.bias": make(4),
    "batch.weight": make(4),
    "batch.bias": make(4),
    "batch.running_mean": make(4),
    "batch.running_var": make(4) ** 2,
    "pooler.weight": make(4, 4),
    "pooler.bias": make(4),
    "classifier.weight": make(classes, 4),
    "classifier.bias": make(classes),
  }
  for index in range(blocks):
    tensors[f"encoder.{index}.in.weight"] = make(5, 6)
    tensors[f"encoder.{index}.in.bias"] = make(5)
    tensors[f"encoder.{index}.out.weight"] = make(6, 5)
    tensors[f"encoder.{index}.out.bias"] = make(6)
    tensors[f"encoder.{index}.LayerNorm.weight"] = make(6)
    tensors[f"encoder.{index}.LayerNorm.bias"] = make(6)
  return tensors


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
  """The tiny network's name: its path."""
  path = tmp_path_factory.mktemp("network") / "tiny.py"
  path.write_text(TINY)
  return str(path)


@pytest.fixture(scope="module")
def template(tiny):
  """The network of `CONFIG` and the shapes of its variables."""
  model = registry.find("models", tiny)(num_classes=3)
  return model, shapes(model)


def shapes(model):
  ids = {"text": jax.ShapeDtypeStruct((1, 4), jnp.int32)}
  start = lambda ids: model.init(jax.random.key(0), ids, train=False)
  return jax.eval_shape(start, ids)


@pytest.fixture
def folder(tmp_path):
  """A checkpoint that fits."""
  write(tmp_path, published())
  return tmp_path


def write(folder, tensors, shards=1):
  """A checkpoint of one file, or an index of several."""
  (folder / "config.json").write_text(json.dumps(CONFIG))
  if shards == 1:
    save_file(tensors, folder / "model.safetensors")
    return
  names, shard_of = sorted(tensors), {}
  for number in range(shards):
    file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
    selected = names[number::shards]
    save_file({name: tensors[name] for name in selected}, folder / file)
    shard_of |= dict.fromkeys(selected, file)
  index = {"metadata": {}, "weight_map": shard_of}
  (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def flat(tree):
  """Leaves by path."""
  leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {"/".join(key.key for key in path): leaf for path, leaf in leaves}


def same(actual, expected):
  actual, expected = flat(actual), flat(expected)
  assert actual.keys() == expected.keys()
  for name, leaf in expected.items():
    np.testing.assert_array_equal(actual[name], leaf, err_msg=name)


def refused(folder, tiny, template):
  """The message with which `variables` refuses a checkpoint."""
  with pytest.raises(UserError) as caught:
    pretrained.variables(str(folder), tiny, *template)
  return str(caught.value)


# Reading


def test_every_tensor_becomes_the_leaf_of_its_name(folder, tiny, template):
  tensors = published()
  _, variables = pretrained.load(str(folder), tiny)
  params = variables["params"]
  kernel = params["block01_in"]["kernel"]
  assert kernel.shape == (6, 5)
  for i, o in np.ndindex(6, 5):
    assert kernel[i, o] == tensors["encoder.1.in.weight"][o, i]
  for k, i, o in np.ndindex(3, 6, 6):
    value = params["time"]["kernel"][k, i, o]
    assert value == tensors["time.weight"][o, i, k]
  for h, w, i, o in np.ndindex(3, 2, 1, 4):
    value = params["both"]["kernel"][h, w, i, o]
    assert value == tensors["both.weight"][o, i, h, w]
  for leaf, name in (
    (params["words"]["embedding"], "words.weight"),
    (params["scale"], "scale"),
    (params["block00_norm"]["scale"], "encoder.0.LayerNorm.weight"),
    (params["block00_norm"]["bias"], "encoder.0.LayerNorm.bias"),
    (params["head"]["bias"], "classifier.bias"),
    (variables["batch_stats"]["batch"]["var"], "batch.running_var"),
  ):
    np.testing.assert_array_equal(leaf, tensors[name], err_msg=name)
  like = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), template[1])
  assert like == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables)


def test_the_network_runs_with_the_loaded_variables(folder, tiny):
  model, variables = pretrained.load(str(folder), tiny)
  inputs = {"text": jnp.array([[1, 2, 3]])}
  apply = jax.jit(lambda leaves: model.apply(leaves, inputs, train=False))
  outputs = apply(variables)
  assert outputs["logits"].shape == (1, 3)


def test_shapes_follow_from_inputs_or_from_an_example(
  monkeypatch, folder, tiny
):
  # The inputs of an unknown modality cannot be guessed.
  kind = registry.find("models", tiny)
  monkeypatch.setattr(kind, "modality", "smell")
  with pytest.raises(UserError, match=r"unknown: smell.*as `inputs`"):
    pretrained.load(str(folder), tiny, modality="smell")
  inputs = {"smell": jax.ShapeDtypeStruct((1, 4), jnp.int32)}
  _, expected = pretrained.load(
    str(folder), tiny, modality="smell", inputs=inputs
  )
  file = pretrained.loading._file(tiny)
  monkeypatch.setattr(file, "example", lambda model: inputs, raising=False)
  same(pretrained.load(str(folder), tiny, modality="smell")[1], expected)


def test_shards_are_one_checkpoint(folder, tmp_path, tiny, template):
  expected = pretrained.variables(str(folder), tiny, *template)
  sharded = tmp_path / "sharded"
  sharded.mkdir()
  write(sharded, published(), shards=3)
  same(pretrained.variables(str(sharded), tiny, *template), expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float64])
def test_other_floats_become_float32(tmp_path, tiny, template, dtype):
  tensors = {name: x.astype(dtype) for name, x in published().items()}
  write(tmp_path, tensors)
  variables = pretrained.variables(str(tmp_path), tiny, *template)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
  same(
    {"embedding": variables["params"]["words"]["embedding"]},
    {"embedding": tensors["words.weight"].astype("f4")},
  )
  same(
    {"kernel": variables["params"]["pooler"]["kernel"]},
    {"kernel": tensors["pooler.weight"].astype("f4").T},
  )


def test_a_tensor_is_read_in_slabs(monkeypatch, folder, tiny, template):
  expected = pretrained.variables(str(folder), tiny, *template)
  monkeypatch.setattr("kdjax.pretrained.weights.SLAB", 50)
  same(pretrained.variables(str(folder), tiny, *template), expected)


def test_names_may_have_a_prefix(tmp_path, tiny, template):
  tensors = published()
  write(tmp_path, tensors)
  expected = pretrained.variables(str(tmp_path), tiny, *template)
  head = lambda name: name.startswith("classifier")
  write(
    tmp_path,
    {name if head(name) else f"tiny.{name}": tensors[name] for name in tensors},
  )
  same(pretrained.variables(str(tmp_path), tiny, *template), expected)


def test_names_of_older_files_are_known(tmp_path, tiny, template):
  tensors = published()
  write(tmp_path, tensors)
  expected = pretrained.variables(str(tmp_path), tiny, *template)
  old = lambda name: name.replace(
    "LayerNorm.weight", "LayerNorm.gamma"
  ).replace("LayerNorm.bias", "LayerNorm.beta")
  write(tmp_path, {old(name): tensors[name] for name in tensors})
  same(pretrained.variables(str(tmp_path), tiny, *template), expected)


def test_the_table_that_fits_best_is_used(
  monkeypatch, tmp_path, tiny, template
):
  write(tmp_path, published())
  expected = pretrained.variables(str(tmp_path), tiny, *template)
  file = pretrained.loading._file(tiny)
  first = file.names
  other = lambda model: {
    leaf: f"o.{name}" for leaf, name in first(model).items()
  }
  monkeypatch.setattr(file, "names", lambda model: [other(model), first(model)])
  same(pretrained.variables(str(tmp_path), tiny, *template), expected)
  write(tmp_path, {f"o.{name}": x for name, x in published().items()})
  same(pretrained.variables(str(tmp_path), tiny, *template), expected)


def test_unread_tensors_are_ignored(tmp_path, tiny, template):
  steps = np.ones(1, np.int64)
  tensors = {f"tiny.{name}": x for name, x in published().items()}
  more = {"lm.bias": steps, "tiny.encoder.steps": steps}
  write(tmp_path, tensors | more)
  pretrained.variables(str(tmp_path), tiny, *template)


def test_memory_holds_one_copy(tmp_path, tiny):
  # In addition to the copy, at most one slab is in memory.
  tensors = published()
  tensors["words.weight"] = np.ones((1_000_000, 6), "f4")
  write(tmp_path, tensors)
  model = registry.find("models", tiny)(num_classes=3, vocabulary=1_000_000)
  like = shapes(model)
  tracemalloc.start()
  pretrained.variables(str(tmp_path), tiny, model, like)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 1.05 * 24_000_000


# The config of a checkpoint


def test_a_config_is_read_without_weights(tmp_path, tiny):
  (tmp_path / "config.json").write_text(json.dumps(CONFIG))
  fields = pretrained.describe(str(tmp_path), tiny)
  assert fields == {"width": 6, "num_classes": 3}
  fields = pretrained.describe(str(tmp_path), tiny, num_classes=None, depth=1)
  assert fields == {"width": 6, "num_classes": None, "depth": 1}


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (
      json.dumps(CONFIG | {"model_type": "huge"}),
      "'huge'.*supports tiny, tinier",
    ),
    ("{", "cannot be read"),
    ("[]", "not a JSON object"),
    (None, "no config.json"),
  ],
)
def test_a_config_that_does_not_fit_is_refused(
  tmp_path, tiny, content, message
):
  if content is not None:
    (tmp_path / "config.json").write_text(content)
  with pytest.raises(UserError, match=message):
    pretrained.describe(str(tmp_path), tiny)


def test_an_unknown_option_is_refused(folder, tiny):
  with pytest.raises(UserError, match=r"'widht'.*Did you mean 'width'"):
    pretrained.describe(str(folder), tiny, widht=5)


def test_a_network_without_published_weights_is_refused(folder):
  with pytest.raises(
    UserError, match="'mlp' does not support published weights"
  ):
    pretrained.load(str(folder), "mlp")


# Checkpoints that do not fit


def test_a_message_lists_all_that_does_not_fit(tmp_path, tiny, template):
  tensors = published()
  for index in range(2):
    del tensors[f"encoder.{index}.in.weight"]
  del tensors["both.bias"]
  tensors["spare.weight"] = np.ones(2, "f4")
  tensors["time.weight"] = np.ones((6, 5, 3), "f4")
  tensors["words.weight"] = np.ones((11, 6), np.int32)
  write(tmp_path, tensors)
  message = refused(tmp_path, tiny, template)
  assert "3 missing:\n" in message
  assert "\n  encoder.{0,1}.in.weight\n" in message
  assert "\n  both.bias\n" in message
  assert "1 unexpected:\n  spare.weight\n" in message
  assert "2 of another shape or dtype:\n" in message
  assert "time.weight [6, 5, 3], expected [6, 6, 3]" in message
  assert "words.weight of dtype I32" in message


@pytest.mark.parametrize("name", ["encoder.1.in.weight", "scale"])
def test_a_missing_tensor_is_refused(tmp_path, tiny, template, name):
  write(tmp_path, {k: v for k, v in published().items() if k != name})
  message = refused(tmp_path, tiny, template)
  assert f"1 missing:\n  {name}" in message and "unexpected" not in message


def test_an_extra_tensor_is_refused(tmp_path, tiny, template):
  write(tmp_path, published(blocks=3))
  message = refused(tmp_path, tiny, template)
  assert "6 unexpected:\n  encoder.2." in message and "missing" not in message


def test_a_wrong_shape_is_reported_in_the_layout_of_the_file(
  tmp_path, tiny, template
):
  tensors = published() | {"encoder.0.in.weight": np.ones((6, 5), "f4")}
  write(tmp_path, tensors)
  expected = "encoder.0.in.weight [6, 5], expected [5, 6]"
  assert expected in refused(tmp_path, tiny, template)


def test_a_leaf_without_public_name_is_refused(
  monkeypatch, folder, tiny, template
):
  file = pretrained.loading._file(tiny)
  table = file.names(template[0])
  del table["params/scale"]
  monkeypatch.setattr(file, "names", lambda model: table)
  message = refused(folder, tiny, template)
  assert "params/scale" in message and "1 unexpected:\n  scale" in message


# Parts that a checkpoint lacks


def without_head(tensors):
  return {k: v for k, v in tensors.items() if "classifier" not in k}


def test_a_missing_part_is_drawn_by_its_seed(tmp_path, tiny, template):
  write(tmp_path, without_head(published()))
  draw = lambda seed: pretrained.variables(
    str(tmp_path), tiny, *template, seed=seed
  )["params"]
  head = draw(1)["head"]
  assert not head["bias"].any() and head["kernel"].all()
  same(draw(1), draw(1))
  assert (draw(2)["head"]["kernel"] != head["kernel"]).all()
  same(draw(2)["pooler"], draw(1)["pooler"])


def test_a_missing_part_keeps_the_values_of_the_template(
  tmp_path, tiny, template
):
  write(tmp_path, without_head(published()))
  model, like = template
  head = {"kernel": np.full((4, 3), 5, "f4"), "bias": np.full(3, 6, "f4")}
  like = {**like, "params": {**like["params"], "head": head}}
  variables = pretrained.variables(str(tmp_path), tiny, model, like)
  same(variables["params"]["head"], head)
  np.testing.assert_array_equal(
    variables["params"]["scale"], published()["scale"]
  )


def test_a_classifier_of_other_classes_is_drawn(tmp_path, tiny, template):
  write(tmp_path, published(classes=7))
  plan = pretrained.fit(str(tmp_path), tiny, *template)
  assert set(plan.fresh) == {"params/head/kernel", "params/head/bias"}
  variables = pretrained.variables(str(tmp_path), tiny, *template)
  assert variables["params"]["head"]["kernel"].shape == (4, 3)


@pytest.mark.parametrize("lost", ["classifier.bias", "pooler.weight"])
def test_half_of_a_part_is_refused(tmp_path, tiny, template, lost):
  write(tmp_path, {k: v for k, v in published().items() if k != lost})
  assert f"1 missing:\n  {lost}" in refused(tmp_path, tiny, template)


# Broken files


def raw(entries, data=b"", length=None):
  """The bytes of a file with this header."""
  text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
  length = len(text) if length is None else length
  return struct.pack("<Q", length) + text + data


def entry(begin, end, shape=(2,), dtype="F32"):
  return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


BROKEN = {
  "empty": (b"", "truncated: 0 bytes are less than a header"),
  "header of 100 GB": (
    raw({"a": entry(0, 8)}, bytes(8), length=100 * 10**9),
    "declares a header of 100000000000 bytes",
  ),
  "header of all bits": (
    raw({}, length=2**64 - 1),
    "declares a header of 18446744073709551615 bytes",
  ),
  "truncated": (
    raw({"a": entry(0, 8), "b": entry(8, 16)}, bytes(12)),
    "truncated: 'b' ends at byte",
  ),
  "truncated header": (raw({"a": entry(0, 8)})[:20], "truncated"),
  "overlap": (
    raw({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
    "'b' overlap those of 'a'",
  ),
  "outside": (
    raw({"a": entry(10**15, 10**15 + 8)}, bytes(8)),
    "'a' ends at byte",
  ),
  "hole": (
    raw({"a": entry(0, 8), "b": entry(16, 24)}, bytes(24)),
    "bytes before 'b' that belong to no tensor",
  ),
  "rest": (raw({"a": entry(0, 8)}, bytes(9)), "not a valid safetensors file"),
  "backwards": (raw({"a": entry(8, 0)}, bytes(8)), "take 8 bytes"),
  "other bytes": (
    raw({"a": entry(0, 8, shape=[10**9, 10**9])}, bytes(8)),
    "take 4000000000000000000 bytes",
  ),
  "negative": (
    raw({"a": entry(0, 8, shape=[-2, -1])}, bytes(8)),
    "Expected a dtype, a shape",
  ),
  "no offsets": (raw({"a": {"dtype": "F32"}}), "Expected a dtype, a shape"),
  "no entry": (raw({"a": 5}), "bad entry 'a'"),
  "no object": (raw([1]), "not a JSON object"),
  "no json": (raw(b"{'a': 1}"), "is not valid JSON"),
  "no text": (raw(b'{"\xff": 1}'), "is not valid JSON"),
  "deep": (raw(b"[" * 100_000), "is not valid JSON"),
  "twice": (raw(b'{"a": {}, "a": {}}'), "a name occurs twice"),
  "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_without_allocating_memory(tmp_path, kind):
  content, message = BROKEN[kind]
  (tmp_path / "model.safetensors").write_bytes(content)
  tracemalloc.start()
  with pytest.raises(UserError, match=message):
    Weights(str(tmp_path))
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 10_000_000


def test_a_header_as_long_as_a_huge_file_is_refused(tmp_path):
  path = tmp_path / "model.safetensors"
  path.write_bytes(struct.pack("<Q", 200_000_000))
  os.truncate(path, 300_000_000)  # a sparse file
  with pytest.raises(UserError, match="A header has at most 100000000"):
    header.read(str(path))


def test_a_file_truncated_anywhere_is_refused(folder):
  path = folder / "model.safetensors"
  whole = path.read_bytes()
  for size in np.linspace(0, len(whole) - 1, 40).astype(int):
    path.write_bytes(whole[:size])
    with pytest.raises(UserError, match="truncated"):
      header.read(str(path))


@pytest.mark.parametrize("ending", ["bin", "pt", "pth"])
def test_a_pickle_is_refused_with_the_reason(tmp_path, tiny, template, ending):
  (tmp_path / "config.json").write_text(json.dumps(CONFIG))
  path = tmp_path / f"pytorch_model.{ending}"
  path.write_bytes(b"\x80\x04.")
  message = refused(tmp_path, tiny, template)
  assert "can run arbitrary code" in message
  assert "save_file" in message and f"torch.load('{path}'" in message
  with pytest.raises(UserError, match="can run arbitrary code"):
    pretrained.describe(str(path), tiny)


def test_a_folder_without_weights_is_refused(tmp_path, tiny, template):
  assert "no model.safetensors" in refused(tmp_path, tiny, template)


SHARD = "model-00002-of-00003.safetensors"


def lose_shard(folder, index):
  (folder / SHARD).unlink()


def lose_tensor(folder, index):
  index["weight_map"]["ghost"] = SHARD


def forget_tensor(folder, index):
  del index["weight_map"]["both.bias"]


def leave_folder(folder, index):
  index["weight_map"]["scale"] = "../model.safetensors"


def no_map(folder, index):
  del index["weight_map"]


def no_names(folder, index):
  index["weight_map"]["scale"] = 5


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lose_shard, f"lacks 1 of the 3 shards of its index: {SHARD}"),
    (lose_tensor, "Tensors that their shard lacks: ghost"),
    (forget_tensor, "the index does not list: both.bias"),
    (leave_folder, r"lists the shard '\.\./model"),
    (no_map, "not an index of shards"),
    (no_names, "not an index of shards"),
  ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(
  tmp_path, tiny, template, change, message
):
  write(tmp_path, published(), shards=3)
  path = tmp_path / "model.safetensors.index.json"
  index = json.loads(path.read_text())
  change(tmp_path, index)
  path.write_text(json.dumps(index))
  assert re.search(message, refused(tmp_path, tiny, template))


# Folders and the hub


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """The hub's local cache with lab/tiny at main, without a network."""
  from huggingface_hub import constants

  commit = "0123456789" * 4
  repository = tmp_path / "hub" / "models--lab--tiny"
  (repository / "refs").mkdir(parents=True)
  (repository / "refs" / "main").write_text(commit)
  snapshot = repository / "snapshots" / commit
  snapshot.mkdir(parents=True)
  write(snapshot, published())
  monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
  return commit


def test_cached_files_need_no_network(cache, tiny, template):
  for name in ("lab/tiny", "lab/tiny@main", f"lab/tiny@{cache}"):
    assert pretrained.describe(name, tiny) == {"width": 6, "num_classes": 3}
    pretrained.variables(name, tiny, *template)


def test_without_a_network_other_files_are_refused(cache):
  message = "'lab/other@main' is not a folder"
  with pytest.raises(UserError, match=message) as error:
    files.folder("lab/other")
  assert "Without a network" in str(error.value)
  with pytest.raises(UserError, match="'lab/tiny@v2' is not a folder"):
    files.folder("lab/tiny@v2")


@pytest.mark.parametrize(
  ("kind", "message"),
  [
    (errors.GatedRepoError, "'lab/tiny@v1' on the hub is gated"),
    (
      errors.RevisionNotFoundError,
      "'lab/tiny' on the hub has no revision 'v1'",
    ),
    (
      errors.RepositoryNotFoundError,
      "'lab/tiny@v1' is neither a folder nor a repository",
    ),
    (ConnectionError, "from the hub failed: ConnectionError It"),
  ],
)
def test_an_error_of_the_hub_is_one_message(monkeypatch, kind, message):
  def refuse(*_, **__):
    if issubclass(kind, errors.HfHubHTTPError):
      raise kind("It\nis so.", response=mock.MagicMock())
    raise kind("It\nis so.")

  monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
  with pytest.raises(UserError, match=message) as error:
    files.folder("lab/tiny@v1")
  assert "\n" not in str(error.value)


def test_the_revision_and_only_safetensors_are_downloaded(monkeypatch):
  request = {}

  def download(name, *, revision, allow_patterns):
    request.update(name=name, revision=revision, patterns=allow_patterns)
    return "/local"

  monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
  assert files.folder("lab/tiny@v1") == "/local"
  assert (request["name"], request["revision"]) == ("lab/tiny", "v1")
  assert "model.safetensors" in request["patterns"]
  assert not any("bin" in pattern for pattern in request["patterns"])


@pytest.mark.parametrize("path", ["/not/there", "./not", "a/b/c", "", "@main"])
def test_a_missing_path_is_not_a_name_on_the_hub(path):
  with pytest.raises(UserError, match="No folder"):
    files.folder(path)


# Students that inherit


def numbered(depth, width=6, inner=5, parts=("",), head=None):
  """Variables with values that encode their block and position."""
  params = {}
  for part in parts:
    inside = params.setdefault(part, {}) if part else params
    inside["norm"] = {"scale": np.arange(width, dtype="f4")}
    for index in range(depth):
      rows = 100 * index + np.arange(width)[:, None] + 10 * np.arange(inner)
      inside[f"block{index:02d}_in"] = {"kernel": rows.astype("f4")}
  if head:
    params["head"] = {"kernel": np.full((width, head), -1, "f4")}
  return {"params": params}


def blocks_of(variables):
  """The source's block of each block."""
  return [
    int(leaf["kernel"][0, 0]) // 100
    for name, leaf in sorted(variables["params"].items())
    if name.startswith("block")
  ]


@pytest.mark.parametrize(
  ("depth", "layers", "expected"),
  [
    (4, "first", [0, 1, 2, 3]),
    (4, "last", [8, 9, 10, 11]),
    (2, "even", [0, 11]),
    (4, "even", [0, 4, 7, 11]),
    (12, "even", list(range(12))),
    (11, "even", [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]),
    (1, "even", [0]),
    (3, (2, 7, 2), [2, 7, 2]),
    (12, None, list(range(12))),
  ],
)
def test_blocks_are_selected_by_layers(depth, layers, expected):
  inherited = pretrained.inherit(numbered(depth), numbered(12), layers)
  assert blocks_of(inherited) == expected


def test_a_narrower_network_takes_leading_slices():
  like = jax.eval_shape(lambda: numbered(2, width=4, inner=3))
  inherited = pretrained.inherit(like, numbered(3), "last")["params"]
  for index in range(2):
    kernel = inherited[f"block{index:02d}_in"]["kernel"]
    assert kernel.shape == (4, 3)
    for i, o in np.ndindex(4, 3):
      assert kernel[i, o] == 100 * (index + 1) + i + 10 * o
  np.testing.assert_array_equal(inherited["norm"]["scale"], [0, 1, 2, 3])


def test_inherited_arrays_are_copies():
  source = numbered(2)
  inherited = pretrained.inherit(numbered(2), source)
  inherited["params"]["norm"]["scale"][:] = 9
  assert source["params"]["norm"]["scale"][0] == 0


def test_parts_count_their_blocks_separately():
  source = numbered(4, parts=("image", "text"))
  source["params"]["text"].pop("block03_in")
  like = numbered(2, parts=("image", "text"))
  inherited = pretrained.inherit(like, source, "last")["params"]
  assert blocks_of({"params": inherited["image"]}) == [2, 3]
  assert blocks_of({"params": inherited["text"]}) == [1, 2]


def test_a_part_may_keep_its_values():
  inherited = pretrained.inherit(
    numbered(2, head=4), numbered(2), keep=("head",)
  )
  assert (inherited["params"]["head"]["kernel"] == -1).all()
  assert inherited["params"]["head"]["kernel"].shape == (6, 4)


def test_a_message_lists_all_that_cannot_be_inherited():
  source = numbered(2, width=4)
  del source["params"]["block01_in"]
  source["params"]["block01_out"] = {"kernel": np.ones(3, "f4")}
  with pytest.raises(UserError) as error:
    pretrained.inherit(numbered(2, head=3), source)
  message = str(error.value)
  kernel = "params/block00_in/kernel"
  assert f"{kernel} [6, 5] is not a slice of {kernel} [4, 5]" in message
  assert "the source has no params/block01_in/kernel" in message
  assert "the source has no params/head/kernel" in message
  assert "params/norm/scale [6]" in message


@pytest.mark.parametrize(
  ("depth", "layers", "message"),
  [
    (2, None, "Select the source's blocks by layers"),
    (2, "middle", "No layers 'middle'"),
    (4, "even", "It must have at most as many"),
    (2, (0, 3), "Expected 2 indices from 0 to 2"),
    (2, (0,), "Expected 2 indices from 0 to 2"),
    (2, (0, -1), "Expected 2 indices from 0 to 2"),
  ],
)
def test_invalid_layers_are_refused(depth, layers, message):
  with pytest.raises(UserError, match=message):
    pretrained.inherit(numbered(depth), numbered(3), layers)


def test_a_source_without_blocks_is_refused():
  with pytest.raises(UserError, match="no blocks to inherit"):
    pretrained.inherit(numbered(2), numbered(0), "first")

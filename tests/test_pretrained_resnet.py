"""ResNets equal those of transformers and timm with the same weights."""

import json
import re

import jax
import numpy as np
import pytest
from published import close, load, random, run, torch, transformers
from safetensors import torch as safetensors

from kdjax import pretrained
from kdjax.errors import UserError
from kdjax.models import resnet

pytestmark = pytest.mark.slow

SMALL = {
  "embedding_size": 8,
  "hidden_sizes": [8, 12, 16, 20],
  "depths": [2, 1, 2, 1],
  "layer_type": "basic",
}
DEEP = {
  "embedding_size": 6,
  "hidden_sizes": [16, 24, 32],
  "depths": [2, 1, 3],
  "layer_type": "bottleneck",
}
CASES = {
  "basic": SMALL,
  "basic, halved at once": {**SMALL, "downsample_in_first_stage": True},
  "bottleneck": DEEP,
  "bottleneck, halved at once": {**DEEP, "downsample_in_first_stage": True},
  "bottleneck, halved early": {**DEEP, "downsample_in_bottleneck": True},
}


def images(size=37):
  return np.random.default_rng(0).normal(size=(3, size, size, 3)).astype("f4")


def theirs_of(image):
  """In PyTorch's layout, [B C H W]."""
  return image.transpose(0, 3, 1, 2).copy()


def moved(model):
  """Makes all values of batch norms different from 0 and 1."""
  draw = torch.Generator().manual_seed(1)
  with torch.no_grad():
    for leaf in (*model.parameters(), *model.buffers()):
      if leaf.ndim == 1:
        leaf.copy_(torch.rand(leaf.shape, generator=draw) + 0.5)
  return model.eval()


def build(kind, options):
  return moved(random(kind, transformers.ResNetConfig(**options)))


@pytest.mark.parametrize("name", CASES)
def test_every_stage_is_that_of_transformers(name, tmp_path):
  model = build("ResNetModel", CASES[name])
  outputs = load(model, tmp_path, "resnet")({"image": images()})
  found = run(model, pixel_values=theirs_of(images()))
  states = found.hidden_states[1:]
  assert len(states) == len(CASES[name]["depths"])
  for stage, state in enumerate(states, 1):
    close(outputs[f"stage{stage}"], state.permute(0, 2, 3, 1))
  close(outputs["embedding"], found.pooler_output[:, :, 0, 0])


@pytest.mark.parametrize("name", ["basic", "bottleneck"])
def test_a_classifier_gives_the_logits_of_transformers(name, tmp_path):
  options = {**CASES[name], "num_labels": 5}
  model = build("ResNetForImageClassification", options)
  outputs = load(model, tmp_path, "resnet")({"image": images()})
  found = run(model, pixel_values=theirs_of(images()))
  close(outputs["logits"], found.logits)


def test_other_classes_get_a_new_classifier(tmp_path):
  model = build("ResNetForImageClassification", {**SMALL, "num_labels": 5})
  ours = load(model, tmp_path, "resnet", num_classes=4)({"image": images()})
  theirs = load(model, tmp_path, "resnet")({"image": images()})
  assert ours["logits"].shape == (3, 4)
  np.testing.assert_array_equal(ours["embedding"], theirs["embedding"])


def test_the_classifier_may_be_omitted(tmp_path):
  model = build("ResNetForImageClassification", {**SMALL, "num_labels": 5})
  ours = load(model, tmp_path, "resnet", num_classes=None)
  assert "logits" not in ours({"image": images()})


# Names of transformers -> names of timm.
TIMM = (
  (r"embedder\.embedder\.convolution", lambda at: "conv1"),
  (r"embedder\.embedder\.normalization", lambda at: "bn1"),
  (r"encoder\.stages\.(\d)\.layers", lambda at: f"layer{int(at[1]) + 1}"),
  (r"layer\.(\d)\.convolution", lambda at: f"conv{int(at[1]) + 1}"),
  (r"layer\.(\d)\.normalization", lambda at: f"bn{int(at[1]) + 1}"),
  (r"shortcut\.convolution", lambda at: "downsample.0"),
  (r"shortcut\.normalization", lambda at: "downsample.1"),
  (r"classifier\.1", lambda at: "fc"),
)


def save_as_timm(state, folder, name):
  """A checkpoint in the format of timm's on the hub."""
  safetensors.save_file(state, folder / "model.safetensors")
  config = {"architecture": name, "num_classes": 5, "pretrained_cfg": {}}
  (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
  ("name", "options"), [("resnet18", SMALL), ("resnet50", DEEP)]
)
def test_names_of_timm_are_read(name, options, tmp_path):
  options = {**options, "num_labels": 5}
  model = build("ResNetForImageClassification", options)
  state = {}
  for public, tensor in model.state_dict().items():
    for pattern, timm_name in TIMM:
      public = re.sub(pattern, timm_name, public)
    state[public.removeprefix("resnet.")] = tensor
  assert "layer2.0.downsample.1.running_var" in state
  save_as_timm(state, tmp_path, name)
  ours, variables = pretrained.load(
    str(tmp_path),
    "resnet",
    width=options["embedding_size"],
    blocks=tuple(options["depths"]),
    widths=tuple(options["hidden_sizes"]),
  )
  outputs = ours.apply(variables, {"image": images()}, train=False)
  found = run(model, pixel_values=theirs_of(images()))
  close(np.asarray(outputs["logits"]), found.logits)


def saved_by_timm(name, folder):
  """A model of timm, saved in the format of timm's on the hub."""
  timm = pytest.importorskip(
    "timm", reason="compares with timm: pip install timm"
  )
  torch.manual_seed(0)
  model = moved(timm.create_model(name, num_classes=5))
  save_as_timm(model.state_dict(), folder, name)
  return model


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_every_stage_is_that_of_timm(name, tmp_path):
  model = saved_by_timm(name, tmp_path)
  ours, variables = pretrained.load(str(tmp_path), "resnet")
  infer = jax.jit(lambda variables, x: ours.apply(variables, x, train=False))
  outputs = infer(variables, {"image": images()})
  with torch.no_grad():
    image = torch.from_numpy(theirs_of(images()))
    states = model.forward_intermediates(image, intermediates_only=True)
    logits = model(image)
  for stage, state in enumerate(states):
    close(np.asarray(outputs[f"stage{stage}"]), state.permute(0, 2, 3, 1))
  close(np.asarray(outputs["logits"]), logits)


def test_an_unsupported_network_of_timm_is_refused():
  config = {"architecture": "resnet50d", "num_classes": 5}
  with pytest.raises(UserError, match="resnet50d"):
    resnet.options(config)


def test_another_activation_than_relu_is_refused():
  config = transformers.ResNetConfig(hidden_act="gelu").to_dict()
  with pytest.raises(UserError, match="hidden_act='gelu'"):
    resnet.options(config)


def test_explicit_blocks_and_widths_equal_those_of_a_depth():
  plain = resnet.Model(5, depth=50, width=8)
  explicit = resnet.Model(
    5,
    width=8,
    blocks=(3, 4, 6, 3),
    widths=(32, 64, 128, 256),
    bottleneck=True,
  )
  start = lambda model: jax.eval_shape(
    lambda: model.init(jax.random.key(0), {"image": images()}, train=False)
  )
  assert start(plain) == start(explicit)

"""Image encoders equal those of transformers with the same weights."""

import numpy as np
import pytest
from published import blocks, close, load, random, run, transformers

pytestmark = pytest.mark.slow

B = 2
SMALL = {
  "hidden_size": 24,
  "num_hidden_layers": 2,
  "num_attention_heads": 3,
  "image_size": 12,
  "patch_size": 4,
  "num_channels": 3,
}
INNER = {**SMALL, "intermediate_size": 40}

# Our name, class and config class of transformers, the config's options.
CASES = {
  "vit": ("vit", "ViTModel", "ViTConfig", INNER),
  "vit, other patches, norms and GELU, no biases": (
    "vit",
    "ViTModel",
    "ViTConfig",
    {
      **INNER,
      "patch_size": 3,
      "qkv_bias": False,
      "hidden_act": "gelu_pytorch_tanh",
      "layer_norm_eps": 1e-3,
    },
  ),
  "deit": ("vit", "DeiTModel", "DeiTConfig", INNER),
  "dinov2": ("dinov2", "Dinov2Model", "Dinov2Config", SMALL),
  "dinov2, SwiGLU": (
    "dinov2",
    "Dinov2Model",
    "Dinov2Config",
    {**SMALL, "use_swiglu_ffn": True, "mlp_ratio": 3, "qkv_bias": False},
  ),
  "dinov2, registers": (
    "dinov2",
    "Dinov2WithRegistersModel",
    "Dinov2WithRegistersConfig",
    {**SMALL, "num_register_tokens": 2},
  ),
}
CLASSIFIERS = {
  "vit": ("vit", "ViTForImageClassification", "ViTConfig", INNER),
  "deit": ("vit", "DeiTForImageClassification", "DeiTConfig", INNER),
  "deit, two heads": (
    "vit",
    "DeiTForImageClassificationWithTeacher",
    "DeiTConfig",
    INNER,
  ),
  "dinov2": ("dinov2", "Dinov2ForImageClassification", "Dinov2Config", SMALL),
}


def image(height=12, width=12):
  shape = (B, height, width, 3)
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def pixels(value):
  """In PyTorch's layout, [B C H W]."""
  return np.moveaxis(value, -1, 1).copy()


def build(kind, config, options):
  return random(kind, getattr(transformers, config)(**options))


@pytest.fixture(params=CASES, scope="module")
def pair(request, tmp_path_factory):
  name, *arguments = CASES[request.param]
  theirs = build(*arguments)
  return theirs, load(theirs, tmp_path_factory.mktemp("checkpoint"), name)


def patches(states, registers):
  """Tokens without the registers, which follow the first token."""
  return np.delete(np.asarray(states), np.arange(1, 1 + registers), axis=1)


def compare(pair, value, **options):
  model, ours = pair
  outputs = ours({"image": value})
  found = run(model, pixel_values=pixels(value), **options)
  assert len(found.attentions) == 2
  blocks(outputs, found.hidden_states, found.attentions)
  registers = getattr(model.config, "num_register_tokens", 0)
  close(outputs["tokens"], patches(found.last_hidden_state, registers))
  close(outputs["embedding"], found.last_hidden_state[:, 0])
  return outputs, found


def test_every_block_is_that_of_transformers(pair):
  outputs, found = compare(pair, image())
  if "pooled" in outputs:
    close(outputs["pooled"], found.pooler_output)


@pytest.mark.parametrize("size", [(24, 24), (12, 36)], ids=str)
def test_positions_are_interpolated_as_in_transformers(pair, size):
  dino = pair[0].config.model_type.startswith("dinov2")
  # DINOv2 always interpolates.
  options = {} if dino else {"interpolate_pos_encoding": True}
  compare(pair, image(*size), **options)


def test_positions_of_a_smaller_image_are_interpolated(pair):
  dino = pair[0].config.model_type.startswith("dinov2")
  options = {} if dino else {"interpolate_pos_encoding": True}
  patch = pair[0].config.patch_size
  compare(pair, image(2 * patch, patch), **options)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_gives_the_logits_of_transformers(name, tmp_path):
  ours, kind, config, options = CLASSIFIERS[name]
  theirs = build(kind, config, {**options, "num_labels": 5})
  outputs = load(theirs, tmp_path, ours)({"image": image()})
  found = run(theirs, pixel_values=pixels(image()))
  close(outputs["logits"], found.logits)
  if "two heads" in name:
    close(outputs["distillation_logits"], found.distillation_logits)

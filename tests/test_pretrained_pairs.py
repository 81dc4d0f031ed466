"""CLIP and SigLIP equal those of transformers with the same weights."""

import numpy as np
import pytest
from published import blocks, close, load, random, run, torch, transformers

pytestmark = pytest.mark.slow

B, T, WORDS = 3, 6, 23
LENGTHS = np.array([6, 4, 2])
MASK = np.arange(T) < LENGTHS[:, None]
IMAGE = {
  "hidden_size": 24,
  "num_hidden_layers": 2,
  "num_attention_heads": 3,
  "intermediate_size": 40,
  "image_size": 12,
  "patch_size": 4,
}
TEXT = {
  "hidden_size": 20,
  "num_hidden_layers": 3,
  "num_attention_heads": 2,
  "intermediate_size": 28,
  "vocab_size": WORDS,
  "max_position_embeddings": 9,
}
TANH = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-3}

# Our name, theirs, the config of images, the config of texts.
CASES = {
  "clip": ("clip", "CLIP", IMAGE, {**TEXT, "eos_token_id": 7}),
  "clip, an old file": ("clip", "CLIP", IMAGE, {**TEXT, "eos_token_id": 2}),
  "clip, other patches, norms and GELU": (
    "clip",
    "CLIP",
    {**IMAGE, **TANH, "patch_size": 3},
    {**TEXT, **TANH, "eos_token_id": 7},
  ),
  "siglip": (
    "siglip",
    "Siglip",
    IMAGE,
    {**TEXT, "projection_size": 24, "pad_token_id": 1},
  ),
  "siglip, patches that leave a rest": (
    "siglip",
    "Siglip",
    {**IMAGE, "patch_size": 5},
    {**TEXT, "projection_size": 24, "pad_token_id": 3},
  ),
}


@pytest.fixture(params=CASES, scope="module")
def pair(request, tmp_path_factory):
  name, kind, image, text = CASES[request.param]
  extra = {"projection_dim": 10} if name == "clip" else {}
  config = getattr(transformers, f"{kind}Config")(
    vision_config=image, text_config=text, **extra
  )
  theirs = random(f"{kind}Model", config)
  ours = load(theirs, tmp_path_factory.mktemp("checkpoint"), name)
  return name, theirs, ours


def images(height=12, width=12):
  shape = (B, height, width, 3)
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def pixels(value):
  """In PyTorch's layout, [B C H W]."""
  return np.moveaxis(value, -1, 1).copy()


def texts(name, model):
  """Token ids for our network, and inputs for theirs."""
  words = np.random.default_rng(1).integers(8, WORDS, (B, T))
  last = np.arange(T) == LENGTHS[:, None] - 1
  special = model.config.text_config
  if name == "siglip":
    # Padded to the last position and not masked.
    filled = np.full((B, 9), special.pad_token_id)
    filled[:, :T] = np.where(MASK, words, special.pad_token_id)
    return words, {"input_ids": filled}
  end = WORDS - 1 if special.eos_token_id == 2 else special.eos_token_id
  words = np.where(last, end, np.where(words == end, 8, words))
  return words, {"input_ids": words, "attention_mask": 1 * MASK}


def test_every_block_of_both_towers_is_that_of_transformers(pair):
  name, model, ours = pair
  words, theirs = texts(name, model)
  outputs = ours({"image": images(), "text": words, "mask/text": MASK})
  found = run(model.vision_model, pixel_values=pixels(images()))
  blocks(outputs, found.hidden_states, found.attentions, "image/")
  found = run(model.text_model, **theirs)
  assert len(found.attentions) == 3
  mask = MASK if name == "clip" else None
  blocks(outputs, found.hidden_states, found.attentions, "text/", mask)
  rows = None if mask is None else mask[..., None]
  close(outputs["text/tokens"], found.last_hidden_state, rows)


def test_cosines_are_those_of_transformers(pair):
  name, model, ours = pair
  words, theirs = texts(name, model)
  outputs = ours({"image": images(), "text": words, "mask/text": MASK})
  found = run(model, pixel_values=pixels(images()), **theirs)
  unit = {
    key: outputs[f"{key}/embedding"]
    / np.linalg.norm(outputs[f"{key}/embedding"], axis=-1, keepdims=True)
    for key in ("image", "text")
  }
  close(unit["image"], found.image_embeds)
  close(unit["text"], found.text_embeds)
  logits = outputs["scale"][:, None] * (unit["image"] @ unit["text"].T)
  logits = logits + outputs.get("bias", np.zeros(B))[:, None]
  close(logits, found.logits_per_image)


def test_features_are_what_transformers_pools(pair):
  name, model, ours = pair
  words, theirs = texts(name, model)
  outputs = ours({"image": images(), "text": words, "mask/text": MASK})
  found = run(model.vision_model, pixel_values=pixels(images()))
  close(outputs["image/features"], found.pooler_output)
  found = run(model.text_model, **theirs).pooler_output
  key = "features" if name == "clip" else "embedding"
  close(outputs[f"text/{key}"], found)


@pytest.mark.parametrize("size", [(24, 36), (6, 12)], ids=str)
def test_positions_are_interpolated_as_in_transformers(pair, size):
  _, model, ours = pair
  outputs = ours({"image": images(*size)})
  assert not any(key.startswith("text/") for key in outputs)
  with torch.no_grad():
    found = model.get_image_features(
      torch.tensor(pixels(images(*size))), interpolate_pos_encoding=True
    )
  close(outputs["image/embedding"], found.pooler_output)


def test_a_tower_runs_without_the_other(pair):
  name, model, ours = pair
  words, _ = texts(name, model)
  inputs = {"text": words, "mask/text": MASK}
  both = ours({**inputs, "image": images()})
  for key, value in ours(inputs).items():
    np.testing.assert_allclose(value, both[key], rtol=1e-5, atol=1e-5)

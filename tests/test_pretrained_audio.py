"""Audio encoders equal those of transformers with the same weights."""

import numpy as np
import pytest
from published import blocks, close, load, random, run, transformers
from safetensors.torch import load_file, save_file

from kdjax import pretrained
from kdjax.errors import ShapeError, UserError
from kdjax.models import ast, wav2vec2, whisper

pytestmark = pytest.mark.slow

B, N = 3, 90
LENGTHS = np.array([90, 61, 33])

# Wav2Vec2 and HuBERT

SPEECH = {
  "vocab_size": 12,
  "hidden_size": 24,
  "num_hidden_layers": 3,
  "num_attention_heads": 4,
  "intermediate_size": 40,
  "conv_dim": [8, 10, 12],
  "conv_kernel": [5, 3, 2],
  "conv_stride": [3, 2, 1],
  "num_conv_pos_embeddings": 6,
  "num_conv_pos_embedding_groups": 3,
  "classifier_proj_size": 10,
}
LARGE = {
  "feat_extract_norm": "layer",
  "conv_bias": True,
  "do_stable_layer_norm": True,
}
WAVES = {
  "wav2vec2, group norm, post-norm": ("Wav2Vec2", {}),
  "wav2vec2, layer norm, pre-norm": ("Wav2Vec2", LARGE),
  "wav2vec2, layer norm, post-norm, odd places": (
    "Wav2Vec2",
    {"feat_extract_norm": "layer", "num_conv_pos_embeddings": 5},
  ),
  "wav2vec2, group norm, pre-norm, other GELU": (
    "Wav2Vec2",
    {
      "do_stable_layer_norm": True,
      "conv_bias": True,
      "hidden_act": "gelu_new",
      "feat_extract_activation": "relu",
      "layer_norm_eps": 1e-3,
    },
  ),
  "hubert, group norm, post-norm": ("Hubert", {}),
  "hubert, layer norm, pre-norm": ("Hubert", LARGE),
  "hubert without a norm of the frames": (
    "Hubert",
    {"feat_proj_layer_norm": False},
  ),
}


def waves():
  """Samples, 0 at padding, and their mask."""
  mask = np.arange(N) < LENGTHS[:, None]
  values = np.random.default_rng(0).normal(size=(B, N)).astype("f4")
  return np.where(mask, values, 0).astype("f4"), mask


def frames(length):
  """Number of frames of a waveform, by counting."""
  for kernel, stride in zip(
    SPEECH["conv_kernel"], SPEECH["conv_stride"], strict=True
  ):
    length = len(range(0, length - kernel + 1, stride))
  return length


def speech(kind, options, task="Model"):
  config = getattr(transformers, f"{kind}Config")(**{**SPEECH, **options})
  return random(f"{kind}{task}", config)


@pytest.fixture(params=WAVES, scope="module")
def pair(request, tmp_path_factory):
  model = speech(*WAVES[request.param])
  folder = tmp_path_factory.mktemp("checkpoint")
  return model, load(model, folder, "wav2vec2")


def test_every_block_of_speech_is_that_of_transformers(pair):
  model, ours = pair
  values, _ = waves()
  found = run(model, input_values=values)
  outputs = ours({"audio": values})
  blocks(outputs, found.hidden_states, found.attentions)
  close(outputs["tokens"], found.last_hidden_state)
  close(outputs["embedding"], found.last_hidden_state.mean(1))


def test_padding_of_a_waveform_is_that_of_transformers(pair):
  model, ours = pair
  values, mask = waves()
  found = run(model, input_values=values, attention_mask=1 * mask)
  outputs = ours({"audio": values, "mask/audio": mask})
  count = frames(N)
  valid = np.arange(count) < np.array([[frames(n)] for n in LENGTHS])
  np.testing.assert_array_equal(outputs["mask/tokens"], valid)
  blocks(outputs, found.hidden_states, found.attentions, mask=valid)
  close(outputs["tokens"], found.last_hidden_state, valid[..., None])


@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert"])
def test_a_classifier_of_speech_gives_the_logits_of_transformers(
  kind, tmp_path
):
  model = speech(kind, {"num_labels": 3}, "ForSequenceClassification")
  values, mask = waves()
  outputs = load(model, tmp_path, "wav2vec2")(
    {"audio": values, "mask/audio": mask}
  )
  found = run(model, input_values=values, attention_mask=1 * mask)
  close(outputs["logits"], found.logits)


@pytest.mark.parametrize("task", ["ForPreTraining", "ForCTC"])
def test_parts_for_pretraining_are_not_read(task, tmp_path):
  model = speech("Wav2Vec2", {}, task)
  values, _ = waves()
  outputs = load(model, tmp_path, "wav2vec2")({"audio": values})
  found = run(model.wav2vec2, input_values=values)
  close(outputs["tokens"], found.last_hidden_state)


@pytest.mark.parametrize(
  "endings",
  [
    ("weight_g", "weight_v"),
    tuple(f"parametrizations.weight.original{i}" for i in (0, 1)),
  ],
  ids=["before", "since"],
)
def test_weight_norm_is_read_by_both_of_its_names(endings, tmp_path):
  model = speech("Wav2Vec2", {})
  values, _ = waves()
  found = run(model, input_values=values)
  ours = load(model, tmp_path, "wav2vec2")
  file = tmp_path / "model.safetensors"
  tensors = load_file(file)
  conv = "encoder.pos_conv_embed.conv."
  kept = {n: t for n, t in tensors.items() if "original" not in n}
  kept = {n: t for n, t in kept.items() if not n.endswith(("_g", "_v"))}
  weight = model.encoder.pos_conv_embed.conv.parametrizations.weight
  for name, tensor in zip(
    endings, (weight.original0, weight.original1), strict=True
  ):
    kept[conv + name] = tensor.detach().clone()
  save_file(kept, file)
  network, variables = pretrained.load(str(tmp_path), "wav2vec2")
  outputs = network.apply(variables, {"audio": values}, train=False)
  close(np.asarray(outputs["tokens"]), found.last_hidden_state)
  np.testing.assert_allclose(
    ours({"audio": values})["tokens"], outputs["tokens"], rtol=1e-4, atol=1e-4
  )


@pytest.mark.parametrize(
  "options",
  [{"add_adapter": True}, {"adapter_attn_dim": 4}],
  ids=str,
)
def test_unsupported_options_of_speech_are_refused(options):
  config = transformers.Wav2Vec2Config(**options).to_dict()
  with pytest.raises(UserError, match=next(iter(options))):
    wav2vec2.options(config)


def test_a_waveform_shorter_than_a_frame_is_refused(pair):
  _, ours = pair
  with pytest.raises(ShapeError, match="12 samples"):
    ours({"audio": np.ones((2, 12), np.float32)})


# Whisper

WHISPER = {
  "vocab_size": 12,
  "pad_token_id": 0,
  "bos_token_id": 1,
  "eos_token_id": 2,
  "decoder_start_token_id": 1,
  "d_model": 24,
  "encoder_layers": 3,
  "encoder_attention_heads": 4,
  "encoder_ffn_dim": 40,
  "decoder_layers": 1,
  "decoder_attention_heads": 2,
  "decoder_ffn_dim": 16,
  "num_mel_bins": 10,
  "max_source_positions": 9,
  "max_target_positions": 6,
  "classifier_proj_size": 10,
}


def mels(frames=18, bins=10):
  values = np.random.default_rng(0).normal(size=(B, frames, bins))
  return values.astype("f4")


def whispered(task, **options):
  config = transformers.WhisperConfig(**{**WHISPER, **options})
  return random(f"Whisper{task}", config)


def transposed(spectrogram):
  """In Whisper's layout, [B F T]."""
  return spectrogram.swapaxes(1, 2).copy()


@pytest.mark.parametrize(
  ("task", "options"),
  [
    ("Model", {}),
    ("Model", {"activation_function": "gelu_new"}),
    ("ForConditionalGeneration", {"activation_function": "relu"}),
  ],
)
def test_every_block_of_whisper_is_that_of_transformers(
  task, options, tmp_path
):
  model = whispered(task, **options)
  outputs = load(model, tmp_path, "whisper")({"audio": mels()})
  found = run(model.get_encoder(), input_features=transposed(mels()))
  # Its last hidden state is normalized.
  blocks(outputs, found.hidden_states[:-1], found.attentions[:-1])
  close(outputs["attention02"], found.attentions[-1])
  close(outputs["tokens"], found.last_hidden_state)
  close(outputs["embedding"], found.last_hidden_state.mean(1))


def test_a_classifier_of_whisper_gives_the_logits_of_transformers(tmp_path):
  model = whispered("ForAudioClassification", num_labels=3)
  ours = load(model, tmp_path, "whisper", num_classes=3, projector=10)
  found = run(model, input_features=transposed(mels()))
  close(ours({"audio": mels()})["logits"], found.logits)


def test_whisper_on_short_audio_equals_a_whisper_of_that_length(tmp_path):
  long = whispered("Model")
  ours = load(long, tmp_path, "whisper")
  # The same weights, with the position embeddings of five tokens.
  config = transformers.WhisperConfig(**{**WHISPER, "max_source_positions": 5})
  short = transformers.WhisperModel(config).eval()
  state = long.state_dict()
  places = "encoder.embed_positions.weight"
  short.load_state_dict({**state, places: state[places][:5]})
  found = run(short.get_encoder(), input_features=transposed(mels(10)))
  close(ours({"audio": mels(10)})["tokens"], found.last_hidden_state)


def test_whisper_with_a_mask_equals_whisper_without_padding(tmp_path):
  ours = load(whispered("Model"), tmp_path, "whisper")
  mask = np.broadcast_to(np.arange(18) < 12, (B, 18))
  tokens = ours({"audio": mels(), "mask/audio": mask})["tokens"]
  alone = ours({"audio": mels()[:, :12]})["tokens"]
  assert not tokens[:, 6:].any()
  np.testing.assert_allclose(tokens[:, :6], alone, rtol=1e-4, atol=1e-4)


def test_positions_of_whisper_start_as_published():
  config = transformers.WhisperConfig(**WHISPER)
  places = transformers.WhisperModel(config).encoder.embed_positions.weight
  actual = whisper._sinusoids(None, tuple(places.shape))
  close(np.asarray(actual), places.detach())


# AST

AST = {
  "hidden_size": 24,
  "num_hidden_layers": 3,
  "num_attention_heads": 4,
  "intermediate_size": 40,
  "patch_size": 4,
  "frequency_stride": 3,
  "time_stride": 2,
  "max_length": 15,
  "num_mel_bins": 11,
}
SOUNDS = {
  "patches that overlap": {},
  "patches that do not": {"frequency_stride": 4, "time_stride": 4},
  "no biases, other GELU and norms": {
    "qkv_bias": False,
    "hidden_act": "gelu_new",
    "layer_norm_eps": 1e-3,
    "patch_size": 3,
  },
}


def sounds(task, **options):
  config = transformers.ASTConfig(**{**AST, **options})
  return random(f"AST{task}", config)


@pytest.mark.parametrize("name", SOUNDS)
def test_every_block_of_ast_is_that_of_transformers(name, tmp_path):
  model = sounds("Model", **SOUNDS[name])
  outputs = load(model, tmp_path, "ast")({"audio": mels(15, 11)})
  found = run(model, input_values=mels(15, 11))
  blocks(outputs, found.hidden_states, found.attentions)
  close(outputs["tokens"], found.last_hidden_state)
  close(outputs["pooled"], found.pooler_output)
  np.testing.assert_array_equal(outputs["embedding"], outputs["pooled"])


def test_a_classifier_of_ast_gives_the_logits_of_transformers(tmp_path):
  model = sounds("ForAudioClassification", num_labels=3)
  ours = load(model, tmp_path, "ast", num_classes=3)
  found = run(model, input_values=mels(15, 11))
  close(ours({"audio": mels(15, 11)})["logits"], found.logits)


def test_ast_with_a_mask_equals_ast_without_padding(tmp_path):
  ours = load(sounds("Model"), tmp_path, "ast", pooling="mean")
  mask = np.broadcast_to(np.arange(15) < 10, (B, 15))
  values = np.where(mask[..., None], mels(15, 11), 0)
  outputs = ours({"audio": values, "mask/audio": mask})
  # A fifth patch in time starts in the last two frames.
  alone = ours({"audio": np.pad(values[:, :10], ((0, 0), (0, 2), (0, 0)))})
  valid = outputs["mask/tokens"]
  count = valid[0].sum()
  assert valid.all(0).sum() == count == 2 + 3 * 5
  np.testing.assert_allclose(
    outputs["tokens"][:, valid[0]], alone["tokens"], rtol=1e-4, atol=1e-4
  )
  np.testing.assert_allclose(
    outputs["embedding"], alone["embedding"], rtol=1e-4, atol=1e-4
  )


def test_patches_that_are_not_square_are_refused():
  config = transformers.ASTConfig(**{**AST, "patch_size": [4, 3]}).to_dict()
  with pytest.raises(UserError, match="patch_size"):
    ast.options(config)


# All of them


@pytest.mark.parametrize("fields", [{"remat": True}, {"fused": True}], ids=str)
@pytest.mark.parametrize("name", ["wav2vec2", "whisper", "ast"])
def test_remat_and_fused_attention_give_equal_outputs(name, fields, tmp_path):
  make = {
    "wav2vec2": lambda: (speech("Wav2Vec2", {}), waves()[0]),
    "whisper": lambda: (whispered("Model"), mels()),
    "ast": lambda: (sounds("Model"), mels(15, 11)),
  }
  theirs, values = make[name]()
  count = values.shape[1]
  mask = np.arange(count) < np.array([[count], [count // 2], [1]])
  inputs = {"audio": values, "mask/audio": mask}
  ours = load(theirs, tmp_path, name, **fields)(inputs)
  for key, value in load(theirs, tmp_path, name)(inputs).items():
    np.testing.assert_allclose(
      ours[key], value, rtol=1e-4, atol=1e-4, err_msg=key
    )

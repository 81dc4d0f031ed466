"""Small random checkpoints in public formats, written without PyTorch."""

import json
import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
from examples import image_file, write_csv
from safetensors.numpy import save_file

from kdjax import registry

PADDING, UNKNOWN, START, END = range(4)
WORDS = ("red", "green", "blue", "a", "dog", "cat", "boat", "film")

BERT = {
  "model_type": "bert",
  "architectures": ["BertModel"],
  "vocab_size": 4 + len(WORDS),
  "hidden_size": 8,
  "num_hidden_layers": 4,
  "num_attention_heads": 2,
  "intermediate_size": 12,
  "max_position_embeddings": 16,
}


def clip(side, width, depth=1):
  """The config.json of a CLIP for images of side x side."""
  tower = {
    "hidden_size": width,
    "num_hidden_layers": depth,
    "num_attention_heads": 2,
    "intermediate_size": 2 * width,
  }
  text = {"vocab_size": 4 + len(WORDS), "max_position_embeddings": 77}
  return {
    "model_type": "clip",
    "projection_dim": width - 2,
    "text_config": {
      **tower,
      **text,
      "bos_token_id": START,
      "eos_token_id": END,
    },
    "vision_config": {**tower, "image_size": side, "patch_size": 4},
  }


def preprocessor(side):
  """The preprocessor_config.json of a CLIP for this image size."""
  return {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": side},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": side, "width": side},
    "do_normalize": True,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
  }


def write(folder, name, config, *, seed=0, without=(), words=True, **options):
  """Writes a checkpoint with random parameters.

  Args:
    folder: to create.
    name: of the network, a file of kdjax/models.
    config: content of its config.json.
    seed: of the parameters.
    without: public names to omit.
    words: whether to write a tokenizer.
    **options: fields of the network in addition to those of the config.

  Returns:
    The leaves of the network's variables, by path.
  """
  file = sys.modules[registry.find("models", name).__module__]
  model = file.Model(**{**file.options(config), **options})
  leaves = random_leaves(model, seed)
  names = file.names(model)
  # If there are several tables, the second has BERT's pooler and head.
  names = names if isinstance(names, dict) else names[1]
  tensors = {names[leaf]: public(leaf, leaves[leaf]) for leaf in leaves}
  for name in without:
    del tensors[name]
  folder.mkdir(parents=True)
  save_file(tensors, folder / "model.safetensors")
  write_json(folder / "config.json", config)
  if words:
    tokenizer(folder)
  return leaves


def random_leaves(model, seed):
  """Leaf -> random numbers, around 1 for scales and around 0 otherwise."""
  height, width = getattr(model, "image_size", (8, 8))
  inputs = {
    "text": jnp.zeros((1, 4), jnp.int32),
    "image": jnp.zeros((1, height, width, 3)),
  }
  inputs = {key: inputs[key] for key in model.reads if key in inputs}
  shapes = jax.eval_shape(
    lambda key: model.init(key, inputs, train=False), jax.random.key(0)
  )
  rng = np.random.default_rng(seed)
  return {
    leaf: np.asarray(
      leaf.endswith("/scale") + 0.1 * rng.normal(size=like.shape), np.float32
    )
    for leaf, like in flax.traverse_util.flatten_dict(shapes, sep="/").items()
  }


def public(leaf, value):
  """A leaf in PyTorch's layout."""
  axes = tuple(range(value.ndim))
  if leaf.endswith("/kernel"):
    # [in out], [k I O] and [h w I O] to [out in], [O I k] and [O I h w].
    axes = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}[value.ndim]
  return value.transpose(axes).copy()


def tokenizer(folder):
  """Writes a tokenizer with the vocabulary WORDS."""
  import tokenizers
  from tokenizers import models, normalizers, pre_tokenizers, processors
  from transformers import PreTrainedTokenizerFast

  special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
  ids = {word: index for index, word in enumerate((*special, *WORDS))}
  model = tokenizers.Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
  model.normalizer = normalizers.Lowercase()
  model.pre_tokenizer = pre_tokenizers.Whitespace()
  model.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[("[CLS]", START), ("[SEP]", END)]
  )
  PreTrainedTokenizerFast(
    tokenizer_object=model,
    unk_token="[UNK]",
    pad_token="[PAD]",
    sep_token="[SEP]",
  ).save_pretrained(folder)


def clip_pair(folder):
  """Writes two complete CLIP checkpoints, and a table of noise with captions.

  Returns:
    The argument of configs/clip_kd.py for them.
  """
  for name, side, width in (("teacher", 16, 12), ("student", 8, 8)):
    write(folder / name, "clip", clip(side, width), seed=width)
    write_json(folder / name / "preprocessor_config.json", preprocessor(side))
  rows = []
  for index in range(24):
    image_file(folder / f"{index}.png", index, size=(18 + index % 3, 22))
    caption = f"a {WORDS[index % 3]} {WORDS[4 + index % 4]}"
    split = ("train", "train", "validation", "test")[index % 4]
    rows.append({"image": f"{index}.png", "caption": caption, "split": split})
  write_csv(folder / "manifest.csv", rows)
  return f"teacher={folder / 'teacher'},student={folder / 'student'}"


def write_json(path, content):
  path.write_text(json.dumps(content))

"""Networks as public checkpoints have them: names of tensors and config.json.

The inverse of `options` and `names` in files of `models/`. A network without an
entry here is exported with names of its own.
"""

import sys
from typing import Any

Published = tuple[dict[str, str], dict[str, Any]]


def of(name: str, module: Any) -> Published | None:
  """leaf -> name of its tensor, and the config.json of `transformers`.

  Args:
    name: of the network, a file of `kdjax/models`.
    module: the network.

  Returns:
    None if it has no public architecture.
  """
  if name not in _CONFIGS:
    return None
  config = _CONFIGS[name](module)
  kind = config["model_type"]
  tables = sys.modules[type(module).__module__].names(module)
  if isinstance(tables, list):  # one per naming of the classifier
    tables = tables[_HEADS[kind] if len(tables) > 1 else 0]
  whole = config["architectures"][0].removesuffix("WithTeacher")
  # Inside of a network that classifies, the base network has its own name.
  prefix = f"{kind}." if whole.endswith("Classification") else ""
  names = {
    leaf: public if _outside(leaf) else f"{prefix}{public}"
    for leaf, public in tables.items()
  }
  return names, config


# The classifier's table among those of `names`, by model_type.
_HEADS = {"distilbert": 0, "bert": 1, "roberta": 2}


def _outside(leaf: str) -> bool:
  """Whether a leaf is outside of the published base network."""
  return leaf.split("/")[1] in ("head", "distillation_head")


def _bert(module: Any) -> dict[str, Any]:
  """config.json of BERT, RoBERTa or DistilBERT."""
  classifies = module.num_classes is not None and module.pooling == "pooler"
  suffix = "ForSequenceClassification" if classifies else "Model"
  labels = {"num_labels": module.num_classes} if classifies else {}
  if not module.kinds:
    return {
      "model_type": "distilbert",
      "architectures": [f"DistilBert{suffix}"],
      "vocab_size": module.vocabulary,
      "dim": module.width,
      "n_layers": module.depth,
      "n_heads": module.heads,
      "hidden_dim": module.inner,
      "max_position_embeddings": module.length,
      "activation": module.activation,
      **labels,
    }
  roberta = module.offset is not None
  return {
    "model_type": "roberta" if roberta else "bert",
    "architectures": [f"{'Roberta' if roberta else 'Bert'}{suffix}"],
    "vocab_size": module.vocabulary,
    "hidden_size": module.width,
    "num_hidden_layers": module.depth,
    "num_attention_heads": module.heads,
    "intermediate_size": module.inner,
    "max_position_embeddings": module.length,
    "type_vocab_size": module.kinds,
    "hidden_act": module.activation,
    "layer_norm_eps": module.epsilon,
    **({"pad_token_id": module.offset} if roberta else {}),
    **labels,
  }


def _vit(module: Any) -> dict[str, Any]:
  """config.json of ViT or DeiT."""
  deit = module.distillation_token
  kind = "DeiT" if deit else "ViT"
  classifies = module.num_classes is not None and module.pooling == "cls"
  suffix = "ForImageClassification" if classifies else "Model"
  if classifies and deit and module.distillation_head:
    suffix += "WithTeacher"
  height, width = module.image_size
  labels = {"num_labels": module.num_classes} if classifies else {}
  return {
    "model_type": "deit" if deit else "vit",
    "architectures": [f"{kind}{suffix}"],
    "hidden_size": module.width,
    "num_hidden_layers": module.depth,
    "num_attention_heads": module.heads,
    "intermediate_size": module.inner,
    "image_size": height if height == width else [height, width],
    "patch_size": module.patch,
    "hidden_act": module.activation,
    "layer_norm_eps": module.epsilon,
    "qkv_bias": module.qkv_bias,
    **labels,
  }


_CONFIGS = {"bert": _bert, "vit": _vit}

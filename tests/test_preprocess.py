"""Preprocessing: what comes before a network, on the host."""

import unicodedata

import numpy as np
import pytest

from kdjax.errors import UserError
from kdjax.preprocess.words import PADDING, UNKNOWN, Vocabulary, joined, split

TEXTS = ["The cat sat.", "the dog; a cat's dog", "THE end"]


def test_words_are_lower_case_and_without_punctuation():
  assert split("Don't STOP: naïve_été, 42!") == [
    "don't",
    "stop",
    "naïve",
    "été",
    "42",
  ]


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902", 2),  # Hindi
    ("\u0623\u064f\u062d\u0650\u0628\u0651 \u0642\u0650\u0637", 2),  # Arabic
    ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", 1),  # Hebrew, with points
    ("\u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u0bae\u0bca\u0bb4\u0bbf", 2),  # Tamil
    (
      "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
      1,
    ),  # Persian, a joiner
  ],
)
def test_marks_are_of_their_word(text, words):
  assert split(text) == unicodedata.normalize("NFC", text).split()
  assert len(split(text)) == words


def test_a_letter_and_its_accent_are_one_character_however_written():
  assert split("cafe\u0301 nin\u0303o") == split("caf\u00e9 ni\u00f1o")


@pytest.mark.parametrize(
  ("text", "run"),
  [
    ("\u6211\u559c\u6b22\u8fd9\u53ea\u5c0f\u732b", True),  # Chinese
    ("\u3053\u308c\u306f\u732b\u3067\u3059\u3088", True),  # Japanese
    ("\u0e41\u0e21\u0e27\u0e15\u0e31\u0e27\u0e19\u0e35\u0e49", True),  # Thai
    ("\u6211 \u559c\u6b22 \u732b", False),  # words apart
    ("a cat", False),
  ],
)
def test_scripts_without_spaces_are_found(text, run):
  assert bool(joined(["plain", text])) == run


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

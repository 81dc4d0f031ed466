"""Tokenizers of exported students: a `tokenizer.json` beside the file.

Written and read by the package `tokenizers`, on which `transformers` builds.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int32

from kdjax.errors import UserError
from kdjax.preprocess import words
from kdjax.preprocess.tokenizer import Characters, Pretrained, backend
from kdjax.preprocess.words import PADDING, UNKNOWN, Vocabulary
from kdjax.students.inputs import TEXT
from kdjax.students.signature import WRITTEN, Signature


class Reader:
  """A tokenizer of a file; as the data set's own.

  Args:
    path: of a `tokenizer.json`.
    padding: the id of padding.
  """

  def __init__(self, path: pathlib.Path, padding: int):
    import tokenizers

    try:
      self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises `Exception` itself
      raise UserError(
        f"'{path}' cannot be read: {error}.", "Export the student again."
      ) from None
    self._padding = padding

  def encode(
    self, texts: Sequence[str], length: int
  ) -> tuple[Int32[np.ndarray, "N T"], Bool[np.ndarray, "N T"]]:
    """Ids, and a mask that is False on padding; texts are cut at `length`."""
    self._tokenizer.enable_truncation(length)
    ids = np.full((len(texts), length), self._padding, np.int32)
    mask = np.zeros((len(texts), length), bool)
    for row, text in enumerate(self._tokenizer.encode_batch(list(texts))):
      ids[row, : len(text.ids)] = text.ids
      mask[row, : len(text.ids)] = True
    return ids, mask

  def text(self, ids: Int32[np.ndarray, "T"]) -> str:
    """A text of these ids, without padding and special tokens."""
    known = [it for it in ids.tolist() if it != self._padding]
    return self._tokenizer.decode(known, skip_special_tokens=True)


def texts_of(signature: Signature) -> list[str]:
  """The texts that a student reads or writes."""
  read = [it.key for it in signature.inputs if it.kind == TEXT]
  written = [it.label for it in signature.results if it.kind == WRITTEN]
  return list(dict.fromkeys([*read, *written]))


def write(
  readers: Mapping[str, Any], signature: Signature, folder: pathlib.Path
) -> dict[str, dict[str, Any]]:
  """Writes the tokenizer of each text that a student reads or writes.

  Returns:
    text -> {"file": name, "padding": id}, for `student.json`.
  """
  texts = texts_of(signature)
  found = {}
  for key in texts:
    if key not in readers:
      continue
    name = "tokenizer.json" if len(texts) == 1 else f"tokenizer-{key}.json"
    content, padding = _content(readers[key])
    (folder / name).write_text(content)
    found[key] = {"file": name, "padding": padding}
  return found


def read(
  folder: pathlib.Path,
  signature: Signature,
  stated: Mapping[str, Mapping[str, Any]],
) -> dict[str, Reader]:
  """The tokenizer of each text of an exported student.

  Args:
    folder: of the student.
    signature: of the student.
    stated: as `write` returned it.
  """
  return {
    key: Reader(folder / stated[key]["file"], stated[key]["padding"])
    for key in texts_of(signature)
    if key in stated
  }


def _content(reader: Any) -> tuple[str, int]:
  """A `tokenizer.json` that gives a reader's ids, and the id of padding."""
  if isinstance(reader, Pretrained):
    opened, padding = backend(reader)
    whole = json.loads(opened.to_str())
    # They change with the texts encoded last.
    whole |= {"truncation": None, "padding": None}
    return json.dumps(whole), padding
  from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
  )

  of_letters = isinstance(reader, Characters)
  known = reader.characters if of_letters else reader.words
  vocabulary = {word: number for number, word in enumerate(known, start=2)}
  # As the reader writes it.
  unknown = reader.text(np.array([UNKNOWN]))
  unknown = "[unk]" if unknown in vocabulary else unknown
  special = {"[PAD]": PADDING, unknown: UNKNOWN}
  made = Tokenizer(
    models.WordLevel({**special, **vocabulary}, unk_token=unknown)
  )
  if of_letters:
    made.decoder = decoders.Fuse()
  pattern, inverted = r"[\s\S]", False
  if isinstance(reader, Vocabulary):
    pattern, inverted = words.PATTERN, True
    # Lower case letter by letter, but for the sigma that ends a word.
    sigma = normalizers.Replace(Regex(r"(?<=\p{L})Σ(?!\p{L})"), "ς")
    made.normalizer = normalizers.Sequence(
      [normalizers.NFC(), sigma, normalizers.Lowercase()]
    )
  behavior = "removed" if inverted else "isolated"
  made.pre_tokenizer = pre_tokenizers.Split(
    Regex(pattern), behavior, invert=inverted
  )
  return made.to_str(), PADDING

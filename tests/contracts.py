"""What a contract test says when it fails: what the file has to do."""

import contextlib


@contextlib.contextmanager
def must(sentence):
  """Fails with a sentence, such as "`load` of data/mine.py must raise ...".

  The first failure inside, of any kind, is its cause. It is in the traceback,
  above the sentence.
  """
  try:
    yield
  except BaseException as error:
    # A failed `pytest.raises` is no Exception, and a skipped test no failure.
    if isinstance(error, Exception) or type(error).__name__ == "Failed":
      raise AssertionError(sentence) from error
    raise

"""A student that can be called: from a workdir, or from an exported file."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kdjax.errors import UserError
from kdjax.students.decoding import Decoder, readable
from kdjax.students.inputs import Input
from kdjax.students.signature import WRITTEN, Result, Signature

# Examples that are computed at once; fewer are padded to a power of two, so
# that few sizes are compiled.
MOST = 64


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What a student says of one record.

  Attributes:
    outputs: name -> array of the record.
    results: names and classes of the results.
    fault: why the record cannot be read; "" if it can.
    texts: result -> the text that the student wrote.
  """

  outputs: Mapping[str, np.ndarray]
  results: tuple[Result, ...] = ()
  fault: str = ""
  texts: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def probabilities(self, name: str = "") -> dict[str, float]:
    """class -> probability; of a value, its name -> the value.

    Args:
      name: of a result; "" is the first.
    """
    for result in self.results:
      if name in ("", result.name):
        values = np.atleast_1d(self.outputs[result.name]).tolist()
        names = result.classes or tuple(map(str, range(len(values))))
        return dict(zip(names, values, strict=True))
    raise UserError(
      f"No result '{name}'.", exists=[it.name for it in self.results], near=name
    )

  def top(self, k: int = 1, name: str = "") -> list[tuple[str, float]]:
    """The k classes with the largest probabilities, the largest first."""
    probabilities = self.probabilities(name)
    return sorted(probabilities.items(), key=lambda it: -it[1])[:k]


class Student:
  """A trained student, called with the inputs that its data set gives.

    student = kdjax.student("runs/digits", "distilled")
    outputs = student(image=images)          # {"probabilities": [B K], ..}
    student.predict([{"image": "7.png"}])[0].top(3)

  Args:
    signature: what it takes and gives.
    compute: a batch with an entry for every array of every input -> outputs.
    readers: text -> its tokenizer, for texts that are read or written.
    any_size: False if `compute` takes batches of one example alone.

  Attributes:
    signature: as the argument.
    decoder: makes the arrays of a record, for a batch of `outputs`.
  """

  def __init__(
    self,
    signature: Signature,
    compute: Callable[[dict[str, np.ndarray]], Mapping[str, Any]],
    readers: Mapping[str, Any] | None = None,
    any_size: bool = True,
  ):
    self.signature = signature
    self._compute, self._any_size = compute, any_size
    self._readers = readers or {}
    self.decoder = Decoder(signature, self._readers)

  def __call__(self, **inputs) -> dict[str, np.ndarray]:
    """Results and outputs of a batch.

    Args:
      **inputs: modality -> [B ...], or one example; as in `Signature.batch`.

    Raises:
      UserError: an input is unknown, missing, or of another shape, dtype or
        range.
    """
    return self.outputs(inputs)

  def readable(self) -> list[Input]:
    """The inputs that a file or a text can be decoded to.

    Raises:
      UserError: there is none.
    """
    return readable(self.signature, self._readers)

  def outputs(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Results and outputs of a batch, by keys such as "mask/text" too."""
    batch = self.signature.batch(inputs)
    count = len(next(iter(batch.values())))
    most = MOST if self._any_size else 1
    chunks = [
      self._chunk({key: x[start : start + most] for key, x in batch.items()})
      for start in range(0, count, most)
    ]
    return {
      name: np.concatenate([chunk[name] for chunk in chunks])
      for name in chunks[0]
    }

  def texts(self, outputs: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """result -> the text of each example, of the texts that it writes.

    Args:
      outputs: of a batch.
    """
    return {
      it.name: [self._readers[it.label].text(ids) for ids in outputs[it.name]]
      for it in self.signature.results
      if it.kind == WRITTEN and it.label in self._readers
    }

  def predict(
    self, records: Iterable[Mapping[str, Any]], *, batch_size: int = MOST
  ) -> list[Prediction]:
    """What the student says of records.

    Args:
      records: modality -> a path, bytes, a text, a list of numbers, or an
        array; a modality that may be missing may be left out or None.
      batch_size: records that are decoded and computed at once.

    Returns:
      A prediction for each; of one that cannot be read, its fault.
    """
    return list(self.predictions(records, batch_size=batch_size))

  def predictions(
    self, records: Iterable[Mapping[str, Any]], *, batch_size: int = MOST
  ) -> Iterator[Prediction]:
    """As `predict`, one after the other."""
    held: list[Mapping[str, Any]] = []
    for record in records:
      held.append(record)
      if len(held) == batch_size:
        yield from self._predicted(held)
        held = []
    if held:
      yield from self._predicted(held)

  def _predicted(self, records: Sequence[Mapping]) -> list[Prediction]:
    decoded, faults = [], {}
    for row, record in enumerate(records):
      try:
        decoded.append(self.decoder.record(record))
      except (ValueError, UserError) as error:
        faults[row] = f"{error}"
    outputs = self.outputs(_stacked(decoded)) if decoded else {}
    texts = self.texts(outputs) if decoded else {}
    rows = iter(range(len(decoded)))
    predictions = []
    for row in range(len(records)):
      if row in faults:
        predictions.append(Prediction({}, fault=faults[row]))
        continue
      place = next(rows)
      of_record = {name: array[place] for name, array in outputs.items()}
      predictions.append(
        Prediction(
          of_record,
          self.signature.results,
          texts={name: its[place] for name, its in texts.items()},
        )
      )
    return predictions

  def _chunk(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of at most `MOST` examples."""
    count = len(next(iter(batch.values())))
    size = 1 << (count - 1).bit_length()
    padded = {
      key: np.concatenate([x, np.repeat(x[-1:], size - count, axis=0)])
      for key, x in batch.items()
    }
    outputs = self._compute(padded)
    return {name: np.asarray(x)[:count] for name, x in outputs.items()}


def _stacked(records: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
  """Records with the same keys, on a leading axis."""
  return {
    key: np.stack([record[key] for record in records]) for key in records[0]
  }

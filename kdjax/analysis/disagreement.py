"""Where teacher and student disagree: counts, classes and examples."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from kdjax.analysis import _examples
from kdjax.analysis._subject import SHOWN, STUDENT, NotApplicableError, Subject


def divergence(
  p: Float[np.ndarray, "N K"], q: Float[np.ndarray, "N K"]
) -> Float[np.ndarray, "N"]:
  """The Jensen-Shannon divergence of each pair of distributions, in nats.

  Lin, "Divergence Measures Based on the Shannon Entropy", 1991, Eq. (4.1): from
  0, of equal distributions, to log 2.
  """
  p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
  middle = (p + q) / 2
  term = lambda a: np.where(
    a > 0,
    a * np.log(np.where(a > 0, a, 1) / np.where(middle > 0, middle, 1)),
    0,
  )
  return np.sum(term(p) + term(q), axis=1) / 2


def disagreement(subject: Subject) -> dict[str, np.ndarray]:
  """Predictions of the student and its first teacher, compared.

  Returns:
    teacher: its name. classes: names [K].
    confusion: int [K K], teacher's by student's predictions.
    counts: int [4] of labelled examples: both right, the teacher alone, the
      student alone, both wrong.
    divergence: f64 [N], Jensen-Shannon.
    shown/..: the examples on which they disagree most, with the largest
      divergence first: shown/label, /teacher, /student (classes, the label -1
      where unknown), /certain_teacher, /certain_student (probabilities), and
      what they look like: shown/<modality>/kind and /value.

  Raises:
    NotApplicableError: there is no teacher, or the two do not predict the same
      classes.
  """
  teacher = subject.teacher()
  sizes = {
    name: subject.shapes(name)["logits"].shape[-1]
    if subject.has_scores(name)
    else 0
    for name in (STUDENT, teacher)
  }
  if not all(sizes.values()) or len({*sizes.values()}) > 1:
    raise NotApplicableError(
      f"The student of '{subject.name}' and '{teacher}' do not predict the"
      " same classes."
    )

  def read(flow, viewed):
    del viewed
    scores = lambda name: subject.run(flow, name)["logits"].astype(jnp.float32)
    return {name: jax.nn.softmax(scores(name)) for name in (STUDENT, teacher)}

  found = subject.collect(read)
  ours, theirs = found[STUDENT], found[teacher]
  label = found.get("label", np.full(len(ours), -1))
  said = {name: found[name].argmax(1) for name in (STUDENT, teacher)}
  size = sizes[STUDENT]
  confusion = np.zeros((size, size), np.int64)
  np.add.at(confusion, (said[teacher], said[STUDENT]), 1)
  known = label >= 0
  right = [said[name][known] == label[known] for name in (teacher, STUDENT)]
  counts = [
    np.sum((right[0] == first) & (right[1] == second))
    for first, second in ((1, 1), (1, 0), (0, 1), (0, 0))
  ]
  apart = divergence(theirs, ours)
  differ = np.flatnonzero(said[teacher] != said[STUDENT])
  rows = differ[np.argsort(-apart[differ], kind="stable")][:SHOWN]
  names = subject.classes if len(subject.classes) == size else range(size)
  result = {
    "teacher": np.array(teacher),
    "classes": np.array([*map(str, names)]),
    "confusion": confusion,
    "counts": np.array(counts),
    "divergence": apart,
    "shown/label": label[rows],
    "shown/teacher": said[teacher][rows],
    "shown/student": said[STUDENT][rows],
    "shown/certain_teacher": theirs[rows].max(1),
    "shown/certain_student": ours[rows].max(1),
  }
  return result | _looks(subject, rows)


def summary(found: dict[str, np.ndarray]) -> str:
  """How often they agree, and who is right where they do not."""
  confusion, counts = found["confusion"], found["counts"]
  total = confusion.sum()
  text = (
    f"Student and {found['teacher']} agree on"
    f" {100 * np.trace(confusion) / max(total, 1):.1f} % of {total} examples"
  )
  if counts.sum():
    text += (
      f"; the teacher alone is right on {counts[1]}, the student alone on"
      f" {counts[2]}"
    )
  return f"{text}."


def _looks(subject: Subject, rows: np.ndarray) -> dict[str, np.ndarray]:
  """What the student reads of some examples."""
  if not len(rows):
    return {}
  keys = subject.inputs(STUDENT)
  wanted = [it for key in keys for it in (key, f"mask/{key}")]
  read = lambda flow, viewed: {k: viewed[k] for k in wanted if k in viewed}
  viewed = subject.compiled(read)(subject.rows(rows))
  looks = _examples.of_batch(subject, STUDENT, viewed)
  return {f"shown/{key}": value for key, value in looks.items()}

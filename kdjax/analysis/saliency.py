"""Saliency: which parts of an input a network's decision depends on."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from kdjax.analysis import _examples, _scores
from kdjax.analysis._subject import SHOWN, STUDENT, NotApplicableError, Subject
from kdjax.types import Array

# Points of the path integral.
STEPS = 32
# Parts of an axis that occlusion replaces, at most; of a text each token.
CELLS, TOKENS = 8, 64
METHODS = ("gradient", "integrated", "occlusion")

Score = Callable[[Float[Array, "B ..."]], Float[Array, "B"]]


def gradient(score: Score, x: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
  """The gradient of each example's score with respect to its input.

  Simonyan et al., "Deep Inside Convolutional Networks", ICLR workshop 2014,
  arXiv:1312.6034, Section 3.

  Args:
    score: of each example, which depends on no other example of the batch.
    x: inputs.
  """
  return jax.grad(lambda it: jnp.sum(score(it)))(x)


def integrated_gradients(
  score: Score,
  x: Float[Array, "B ..."],
  baseline: Float[Array, "B ..."],
  steps: int = STEPS,
) -> Float[Array, "B ..."]:
  """Each input value's part in score(x) - score(baseline).

    IG = (x - baseline) * sum over a of w_a score'(baseline + a (x - baseline))

  with the points a and weights w_a of Gauss-Legendre quadrature from 0 to 1.
  The parts add up to the difference of the scores (completeness), up to the
  error of the quadrature.
  Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017,
  arXiv:1703.01365, Eqs. (1) and (3).

  Args:
    score: of each example.
    x: inputs.
    baseline: inputs without information, such as black images.
    steps: points of the sum; a larger number is more exact.
  """

  def add(total, point):
    at, weight = point
    slope = gradient(score, baseline + at * (x - baseline))
    return total + weight * slope, None

  nodes, weights = np.polynomial.legendre.leggauss(steps)
  points = jnp.asarray([(nodes + 1) / 2, weights / 2], jnp.float32).T
  total, _ = jax.lax.scan(add, jnp.zeros_like(x), points)
  return (x - baseline) * total


def occlusion(
  score: Score,
  x: Float[Array, "B ..."],
  baseline: Float[Array, "B ..."],
  cells: Int[np.ndarray, "..."],
) -> Float[Array, "B cells"]:
  """How much the score falls if one cell of the input is the baseline's.

  Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks",
  ECCV 2014, arXiv:1311.2901, Section 4.2.

  Args:
    score: of each example.
    x: inputs.
    baseline: what replaces a cell.
    cells: the number of the cell of each value of an example, from 0; of the
      first axes, the others belong to the same cell.
  """
  count = int(np.max(cells)) + 1
  own = cells.reshape(1, *cells.shape, *[1] * (x.ndim - 1 - cells.ndim))
  whole = score(x)
  without = lambda cell: score(jnp.where(own == cell, baseline, x))
  return (whole[None] - jax.lax.map(without, jnp.arange(count))).T


def grid_of(shape: tuple[int, ...], most: int = CELLS) -> np.ndarray:
  """Numbers of the cells of an array: each axis in at most `most` parts."""
  numbers = np.zeros(shape, np.int32)
  for axis, size in enumerate(shape):
    parts = min(size, most)
    along = np.arange(size) * parts // size
    along = along.reshape([-1 if at == axis else 1 for at in range(len(shape))])
    numbers = numbers * parts + along
  return numbers


def saliency(subject: Subject) -> dict[str, np.ndarray]:
  """Three saliency methods for each modality of student and first teacher.

  The score is the logit of the class that the network predicts. A network
  without class scores has the length of its embedding along its direction: the
  score of another input is its projection on this embedding.

  The baseline is the least value over the examples of each channel of an image
  or spectrogram (black, silence), and 0 of numbers, series and embeddings of
  words. Methods apply after all pipelines: to the spectrogram, to the words'
  embeddings. The other modalities stay as they are.

  Returns:
    places: "student/image", .. for each network and modality; of the teacher on
      the S examples alone. left_out: a sentence on each that is not there. For
      each place:
    <place>/kind and <place>/value: of S examples, see `_examples.of_batch`.
    <place>/gradient, /integrated, /occlusion: f32 [S H W], [S T F], [S T]: sums
      over the channels; of gradients their absolute values. Occlusion has the
      value of a cell at each of its positions.
    <place>/mean: f32 [H W], .., the mean over examples of |integrated|.
    <place>/error: f32 [N], completeness: how far the parts' sum is from
      score(x) - score(baseline), divided by the mean |score(x) -
      score(baseline)|.

  Raises:
    NotApplicableError: no input has gradients.
  """
  result, places, left_out = {}, [], []
  for network in subject.networks[:2]:
    for key, it in subject.inputs(network).items():
      place = f"{network}/{key}"
      try:
        found = _of_modality(subject, network, it)
      except NotApplicableError as error:
        left_out.append(f"{error}")
        continue
      if found is not None:
        places.append(place)
        result |= {f"{place}/{name}": array for name, array in found.items()}
  if not places:
    raise NotApplicableError(
      f"No input of the networks of '{subject.name}' has gradients. "
      + " ".join(left_out)
    )
  kept = {"places": np.array(places), "left_out": np.array(left_out, str)}
  return kept | result


def summary(found: dict[str, np.ndarray]) -> str:
  """How complete the integrated gradients are."""
  errors = [
    f"{place} {100 * np.mean(found[f'{place}/error']):.1f} %"
    for place in found["places"]
  ]
  said = (
    "Integrated gradients add up to the score's difference, with a mean error"
    f" of: {', '.join(errors)}."
  )
  return " ".join([said, *found["left_out"]])


def _of_modality(subject, network, it) -> dict[str, np.ndarray] | None:
  """The maps of one modality; None if the network has none of its values."""
  output = _scores.output(subject, network, it.key)
  if output is None:
    return None
  low = _scores.least(subject, it)

  def read(flow, viewed):
    mask = viewed["valid"] & viewed.get(f"has/{it.key}", viewed["valid"])
    score, x, baseline = _scores.score(
      subject, flow, viewed, network, it, low, output
    )
    cells = _cells(it, viewed[it.key])
    fallen = occlusion(score, x, baseline, cells)
    parts = integrated_gradients(score, x, baseline)
    channels = tuple(range(1 + cells.ndim, x.ndim))
    gap = score(x) - score(baseline)
    return {
      "gradient": jnp.sum(jnp.abs(gradient(score, x)), axis=channels),
      "integrated": jnp.sum(parts, axis=channels),
      "occlusion": fallen[:, cells],
      "gap": gap,
      "off": jnp.sum(parts.reshape(len(parts), -1), axis=1) - gap,
      "mask": mask,
      "viewed": {key: viewed[key] for key in _with_mask(it.key, viewed)},
    }

  batches = subject.batches()
  if network != STUDENT:  # it is large: the examples of the figure alone
    batches = itertools.islice(subject.batches(size=SHOWN), 1)
  shown, rows = None, {"mean": [], "gap": [], "off": []}
  compute = subject.compiled(read)
  for batch in batches:
    found = compute(batch)
    shown = shown or found
    kept = found["mask"]
    rows["mean"].append(np.abs(found["integrated"][kept]).sum(0))
    rows["gap"].append(found["gap"][kept])
    rows["off"].append(found["off"][kept])
  gap, off = (np.concatenate(rows[name]) for name in ("gap", "off"))
  if not len(gap):
    return None
  few = {key: value[:SHOWN] for key, value in shown["viewed"].items()}
  drawn = _examples.of_batch(subject, network, few)
  return {
    **{name: shown[name][:SHOWN] for name in METHODS},
    **{key.partition("/")[2]: value for key, value in drawn.items()},
    "mean": np.sum(rows["mean"], axis=0) / len(gap),
    "error": np.abs(off) / max(np.mean(np.abs(gap)), 1e-12),
  }


def _cells(it, value) -> np.ndarray:
  """The cells that occlusion replaces, over the positions of an input."""
  kind = _examples.kind_of(it, value)
  if kind == "text":
    return grid_of(value.shape[1:], TOKENS)
  return grid_of(value.shape[1:3] if kind == "image" else value.shape[1:])


def _with_mask(key: str, viewed) -> list[str]:
  return [it for it in (key, f"mask/{key}") if it in viewed]

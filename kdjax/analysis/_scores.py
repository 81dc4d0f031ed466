"""The score of an input that saliency explains, and its baseline."""

import contextlib
from collections.abc import Callable, Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from kdjax.analysis import _examples
from kdjax.analysis._subject import NotApplicableError, Subject
from kdjax.step.addresses import needs_of
from kdjax.step.flow import Flow
from kdjax.students.inputs import AUDIO, Input
from kdjax.types import Array, Batch


def score(
  subject: Subject,
  flow: Flow,
  viewed: Batch,
  network: str,
  it: Input,
  low: np.ndarray,
  name: str,
) -> tuple[Callable[[Array], Array], Array, Array]:
  """The score of an input, the input, and its baseline; it can be traced.

  Args:
    subject: the stage.
    flow: of a batch.
    viewed: the batch after all pipelines.
    network: of which the score is.
    it: the modality that the score is a function of.
    low: the baseline of an example that is no text.
    name: of the output that the score is made of, see `output`.

  Returns:
    The score, [B ...] -> [B]; the input, of a text its words' embeddings; and
    its baseline, of the same shape.

  Raises:
    NotApplicableError: the network does not embed the text with a layer
      `words`, or does it twice.
  """
  key, fixed, variables = it.key, flow.fixed, flow.variables

  def run(value, words=None):
    other = subject.flow(variables, fixed, {**viewed, key: value})
    with _with_words(viewed[key].shape, words) as seen:
      outputs = subject.run(other, network)
    return outputs, seen

  outputs, seen = run(viewed[key])
  if _examples.kind_of(it, viewed[key]) == "text":
    if len(seen) != 1:
      raise NotApplicableError(f"'{network}' embeds '{key}' {len(seen)} times.")
    (x,) = seen
    replaced = lambda value: run(viewed[key], value)[0]
    baseline = jnp.zeros_like(x)
  else:
    x = viewed[key].astype(jnp.float32)
    replaced = lambda value: run(value)[0]
    baseline = jnp.broadcast_to(jnp.asarray(low)[None], x.shape)
  along = outputs[name].astype(jnp.float32)
  if name == "logits":
    along = jax.nn.one_hot(jnp.argmax(along, axis=1), along.shape[1])
  else:
    along = along / jnp.maximum(jnp.linalg.norm(along, axis=1), 1e-12)[:, None]
  along = jax.lax.stop_gradient(along)
  along_of = lambda value: jnp.sum(replaced(value)[name] * along, axis=1)
  return along_of, x, baseline


@contextlib.contextmanager
def _with_words(shape: tuple[int, ...], words: Array | None) -> Iterator[list]:
  """Records the embeddings of ids of a shape, or puts others in their place."""
  seen = []

  def intercept(call, arguments, options, context):
    result = call(*arguments, **options)
    embeds = isinstance(context.module, nn.Embed) and arguments
    named = embeds and context.module.name == "words"
    if named and arguments[0].shape == shape:
      seen.append(result)
      return result if words is None else words.astype(result.dtype)
    return result

  with nn.intercept_methods(intercept):
    yield seen


def output(subject: Subject, network: str, key: str) -> str | None:
  """The output that a modality's score is made of; None without one."""
  module = subject.module(network)
  shapes = subject.shapes(network)
  flat = [name for name, leaf in shapes.items() if leaf.ndim == 2]
  towers = [
    name
    for name in flat
    if name.endswith("/embedding") and key in needs_of(module, name)
  ]
  return next(
    (it for it in ("logits", "embedding", *towers) if it in flat), None
  )


def least(subject: Subject, it: Input) -> np.ndarray:
  """The baseline of a modality, of the shape of an example."""
  key, least = it.key, None
  for found, batch in subject.stream(lambda flow, viewed: viewed[key]):
    if not (found.ndim == 4 or (found.ndim == 3 and it.kind == AUDIO)):
      return np.zeros(found.shape[1:], np.float32)
    kept = found[batch["valid"] & batch.get(f"has/{key}", batch["valid"])]
    if len(kept):
      low = kept.min(axis=(0, 1, 2))  # of each channel; of a spectrogram, alone
      least = low if least is None else np.minimum(least, low)
  shape = found.shape[1:]
  return np.broadcast_to(0.0 if least is None else least, shape).astype("f4")

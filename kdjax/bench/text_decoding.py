"""Texts written with kept keys and values, and by whole passes.

An `encoder_decoder` with initial variables writes about images: greedily, by
draws and by beam search, each with the keys and values of the tokens before
kept, and greedily by a pass over the whole text for every token. All have
written the same number of tokens: the logit of the end is so low that no text
ends before its last position, which is checked.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from kdjax import registry
from kdjax.bench.runner import milliseconds, seconds_per_call
from kdjax.bench.timing import interleaved, quartiles
from kdjax.types import Array

# Tokens of a text, and texts of a batch.
LENGTHS, BATCHES = (32, 128), (1, 32)

# The decoder, and the images [side side 3] of its encoder.
DECODER = {"vocabulary": 1000, "width": 64, "depth": 2, "heads": 4, "beams": 4}
SIDE, WIDTHS = 32, (16, 32, 64)

RECOMPUTED, GREEDY = "greedy, whole passes", "greedy"
WAYS = (RECOMPUTED, GREEDY, "sampled", "beam")

# The logit of the end: no text has it.
NEVER = -1e9


def measure(
  *,
  seconds: float,
  rounds: int,
  log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
  """Times every way to write texts; the ways take turns.

  Args:
    seconds: of each way, over all rounds.
    rounds: each measures every way once.
    log: is called with lines about the progress.

  Returns:
    {"decoder": its sizes, "cases": [{"case", "length", "batch_size", "same":
    the share of greedy texts that equal those of whole passes, "rows": [{"way",
    "milliseconds": of a batch, "tokens_per_second", "faster": the time of the
    whole passes over its own in the same round}]}]}. Numbers but the sizes and
    "same" are `quartiles`.
  """
  cases = []
  for length in LENGTHS:
    for rows in BATCHES:
      name = f"{length} tokens, batch {rows}"
      log(name)
      ways = programs(length, rows)
      same = _checked({way: run() for way, run in ways.items()})
      timed = {
        # The check was the first call. A default binds each way's program.
        way: lambda seconds, run=run: seconds_per_call(run, seconds, warm_up=0)
        for way, run in ways.items()
      }
      times = interleaved(timed, rounds, seconds / rounds)
      cases.append(
        {
          "case": name,
          "length": length,
          "batch_size": rows,
          "same": same,
          "rows": list(_rows(times, length * rows)),
        }
      )
  sizes = ", ".join(f"{name} {size}" for name, size in DECODER.items())
  return {"decoder": sizes, "cases": cases}


def programs(
  length: int, rows: int
) -> dict[str, Callable[[], Int[Array, "B T"]]]:
  """Way -> writes the texts of a batch of random images, compiled.

  Args:
    length: T, the tokens of a text.
    rows: B, the images of a batch.
  """
  encoder = registry.find("models", "conv")(widths=WIDTHS)
  model = registry.find("models", "encoder_decoder")(
    {"image": encoder}, length=length, **DECODER
  )
  image = np.random.default_rng(0).normal(size=(rows, SIDE, SIDE, 3))
  inputs = {"image": jnp.asarray(image, jnp.float32)}
  init = jax.jit(functools.partial(model.init, train=False))
  variables = _without_end(init(jax.random.key(0), inputs))

  def written(variables, inputs, output):
    # What is not returned is not computed.
    return model.apply(variables, inputs, train=False)[output]

  functions = {RECOMPUTED: functools.partial(by_whole_passes, model)}
  for output in WAYS[1:]:
    functions[output] = functools.partial(written, output=output)
  return {
    way: functools.partial(jax.jit(function), variables, inputs)
    for way, function in functions.items()
  }


def by_whole_passes(
  model: Any, variables: Any, inputs: Mapping[str, Array]
) -> Int[Array, "B T"]:
  """Greedy texts, computed anew from the first token for every token.

  The encoders run once. Shapes are fixed: a pass is over all T positions.

  Args:
    model: an `encoder_decoder`.
    variables: of the model.
    inputs: of its encoders.
  """
  call = lambda method, *values: model.apply(variables, *values, method=method)
  kept, mask = call("remember", inputs)

  def step(position, carry):
    ids, ended = carry
    logits = call("logits", ids, kept, mask)
    token = jnp.argmax(logits[:, position], axis=-1).astype(jnp.int32)
    token = jnp.where(ended, 0, token)
    return ids.at[:, position].set(token), ended | (token == 0)

  start = jnp.zeros((len(mask), model.length), jnp.int32)
  ended = jnp.zeros(len(mask), bool)
  return jax.lax.fori_loop(0, model.length, step, (start, ended))[0]


def _without_end(variables: Any) -> Any:
  """The variables, with a bias that no text's end is drawn with."""

  def changed(path, leaf):
    names = [part.key for part in path]
    if names[-3:] != ["decoder", "head", "bias"]:
      return leaf
    return leaf.at[0].set(NEVER)

  return jax.tree_util.tree_map_with_path(changed, variables)


def _checked(texts: Mapping[str, Array]) -> float:
  """The share of equal greedy texts; raises where a text has an end.

  Raises:
    RuntimeError: a text is shorter than the others.
  """
  for way, ids in texts.items():
    if not np.all(ids):
      raise RuntimeError(f"'{way}' wrote the end of a text, and less work.")
  # Sums in another order can change which of two equal logits is the larger.
  equal = np.asarray(texts[GREEDY]) == np.asarray(texts[RECOMPUTED])
  return float(np.mean(np.all(equal, axis=1)))


def _rows(
  times: Mapping[str, Sequence[float]], tokens: int
) -> Iterator[dict[str, Any]]:
  """A row for each way, from its seconds in each round."""
  for way, seconds in times.items():
    yield {
      "way": way,
      "milliseconds": milliseconds(seconds),
      "tokens_per_second": quartiles(np.divide(tokens, seconds)),
      "faster": quartiles(np.divide(times[RECOMPUTED], seconds)),
    }

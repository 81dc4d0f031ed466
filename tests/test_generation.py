"""Texts that `encoder_decoder` writes, against computations without a cache."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kdjax.models import (
  _decoding,
  audio_cnn,
  conv,
  encoder_decoder,
  fusion,
  mlp,
  series_cnn,
  text_transformer,
)

B, V, T = 5, 7, 6

ENCODERS = {
  "image": lambda: {"image": conv.Model(widths=(3, 4))},
  "audio": lambda: {"audio": audio_cnn.Model(widths=(3, 4))},
  "sensors": lambda: {"sequence": series_cnn.Model(widths=(3, 4))},
  "words": lambda: {
    "words": text_transformer.Model(vocabulary=V, width=4, modality="words")
  },
  "numbers": lambda: {"numbers": mlp.Model(widths=(4,), modality="numbers")},
  "several": lambda: {
    "image": conv.Model(widths=(3, 4)),
    "words": text_transformer.Model(vocabulary=V, width=4, modality="words"),
  },
  "fusion": lambda: {
    "both": fusion.Model(encoders=ENCODERS["several"](), num_classes=2, width=4)
  },
}


def inputs(seed=0):
  """Inputs of all encoders, texts of every length, and what is absent."""
  random = np.random.default_rng(seed)
  length = np.array([6, 3, 0, 1, 5])
  mask = np.arange(T) < length[:, None]
  words = np.arange(4) < np.array([4, 2, 0, 1, 3])[:, None]
  return {
    "image": random.normal(size=(B, 4, 4, 1)).astype(np.float32),
    "audio": random.normal(size=(B, 8, 6)).astype(np.float32),
    "sequence": random.normal(size=(B, 8, 3)).astype(np.float32),
    "numbers": random.normal(size=(B, 3)).astype(np.float32),
    "words": np.where(words, random.integers(1, V, (B, 4)), 0),
    "mask/words": words,
    "has/image": np.array([True, True, False, True, True]),
    "text": np.where(mask, random.integers(1, V, (B, T)), 0),
    "mask/text": mask,
  }


@functools.cache
def network(kind="several", **options):
  """A network, its variables, random enough to say different things."""
  options = {"width": 8, "depth": 2, "heads": 2, "length": T, **options}
  model = encoder_decoder.Model(ENCODERS[kind](), V, **options)
  shapes = jax.eval_shape(
    functools.partial(model.init, train=False), jax.random.key(0), inputs()
  )
  leaves, tree = jax.tree.flatten(shapes)
  random = np.random.default_rng(1)
  leaves = [
    (np.abs if name == "var" else np.asarray)(
      random.normal(0.0, 0.8, size=leaf.shape)
    ).astype(np.float32)
    for leaf, name in zip(leaves, names(shapes), strict=True)
  ]
  return model, jax.tree.unflatten(tree, leaves)


def names(tree):
  paths = jax.tree_util.tree_leaves_with_path(tree)
  return [path[-1].key for path, _ in paths]


@functools.cache
def outputs(kind="several", **options):
  model, variables = network(kind, **options)
  apply = jax.jit(functools.partial(model.apply, train=False))
  return jax.tree.map(np.asarray, apply(variables, inputs()))


@functools.cache
def teacher_forced(kind="several"):
  """(ids [B T]) -> log probabilities [B T V], in a pass over whole texts."""
  model, variables = network(kind)

  @jax.jit
  def run(ids):
    given = {**inputs(), "text": ids, "mask/text": ids != 0}
    found = model.apply(variables, given, train=False)
    return jax.nn.log_softmax(found["logits"])

  return lambda ids: np.asarray(run(ids))


@pytest.mark.parametrize(
  "kind",
  [
    "several",
    *(
      pytest.param(kind, marks=pytest.mark.slow)
      for kind in ENCODERS
      if kind != "several"
    ),
  ],
)
def test_greedy_texts_are_those_of_whole_passes(kind):
  """The text is computed anew for each token."""
  run, ids = teacher_forced(kind), np.zeros((B, T), int)
  score, ended = np.zeros(B), np.zeros(B, bool)
  for place in range(T):
    log_p = run(ids)[:, place]
    token = np.where(ended, 0, log_p.argmax(axis=1))
    score += np.where(ended, 0.0, log_p[np.arange(B), token])
    ids[:, place] = token
    ended |= token == 0
  found = outputs(kind)
  np.testing.assert_array_equal(found["greedy"], ids)
  np.testing.assert_array_equal(found["mask/greedy"], ids != 0)
  np.testing.assert_allclose(found["greedy_score"], score, atol=1e-4)


def probability(run, ids):
  """The log probability of texts, the end included."""
  log_p = run(ids)
  tokens = np.take_along_axis(log_p, ids[..., None], axis=-1)[..., 0]
  counts = np.arange(ids.shape[1]) <= (ids != 0).sum(axis=1)[:, None]
  return np.sum(np.where(counts, tokens, 0.0), axis=1)


def test_scores_are_the_probabilities_of_what_is_written():
  found, run = outputs(), teacher_forced()
  for name in ("greedy", "beam"):
    expected = probability(run, found[name])
    np.testing.assert_allclose(found[f"{name}_score"], expected, atol=1e-4)
  assert (found["beam_score"] >= found["greedy_score"] - 1e-5).mean() > 0.7


def test_a_beam_of_one_is_greedy():
  found = outputs(beams=1)
  np.testing.assert_array_equal(found["beam"], found["greedy"])
  np.testing.assert_allclose(
    found["beam_score"], found["greedy_score"], atol=1e-4
  )


@pytest.mark.parametrize("penalty", [0.0, 0.8])
def test_a_wide_beam_finds_the_best_of_all_texts(penalty):
  """Logits depend on the token before, and on a state of those before it."""
  rows, words, length = 3, 4, 4
  random = np.random.default_rng(2)
  table = random.normal(0, 2, (rows, words + 1, length, words))
  table = table.astype(np.float32)
  of_sum = lambda total: (
    0.5 * jnp.sin(jnp.tensordot(jnp.asarray(total), jnp.arange(1.0 * words), 0))
  )

  def advance(state, before, position):
    logits = jnp.asarray(table)[state["row"], before, position]
    logits += of_sum(state["sum"])
    return {**state, "sum": state["sum"] + jnp.maximum(before, 0)}, logits

  state = {"row": jnp.arange(rows), "sum": jnp.zeros(rows)}
  written = _decoding.beam(
    advance, state, rows, length, beams=words**length, penalty=penalty
  )
  for row in range(rows):
    scores = {}
    for ids in itertools.product(range(words), repeat=length):
      ends = ids.index(0) if 0 in ids else length
      if any(ids[ends:]):
        continue
      score, before, total = 0.0, -1, 0
      for place, token in enumerate(ids[: ends + 1]):
        logits = table[row, before, place] + of_sum(np.float32(total))
        score += float(jax.nn.log_softmax(logits)[token])
        before, total = token, total + max(before, 0)
      scores[ids] = score / ((5 + min(ends + 1, length)) / 6) ** penalty
    best = max(scores, key=scores.get)
    np.testing.assert_array_equal(written.ids[row], best)
    np.testing.assert_allclose(written.score[row], scores[best], atol=1e-4)


@pytest.mark.parametrize(
  ("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.6), (2.0, 0.8)]
)
def test_sampled_tokens_are_as_frequent_as_probable(temperature, top_p):
  count = 20_000
  logits = np.array([0.0, 1.0, 2.0, -1.0, 0.5])
  advance = lambda state, before, _: (
    state,
    jnp.broadcast_to(jnp.asarray(logits, jnp.float32), (len(before), 5)),
  )
  keys = jax.random.split(jax.random.key(3), count)
  written = _decoding.sampled(
    advance, {}, count, 2, keys, temperature=temperature, top_p=top_p
  )
  p = np.exp(logits / temperature)
  p /= p.sum()
  order = np.argsort(-p)
  kept = order[: np.searchsorted(np.cumsum(p[order]), top_p) + 1]
  p = np.where(np.isin(np.arange(5), kept), p, 0.0)
  p /= p.sum()
  share = np.bincount(written.ids[:, 0], minlength=5) / count
  assert np.all(np.abs(share - p) <= 4 * np.sqrt(p * (1 - p) / count))
  # The second token is drawn apart from the first, and never after the end.
  first, second = np.asarray(written.ids).T
  assert not second[first == 0].any()
  going = first != 0
  share = np.bincount(second[going], minlength=5) / going.sum()
  assert np.all(np.abs(share - p) <= 4 * np.sqrt(p * (1 - p) / going.sum()))


def test_what_has_ended_stays_so():
  found = outputs()
  for name in ("greedy", "beam", "sampled"):
    ids, mask = found[name], found[f"mask/{name}"]
    assert ids.shape == (B, T) and ids.dtype == np.int32
    np.testing.assert_array_equal(mask, ids != 0)
    assert not (mask[:, 1:] & ~mask[:, :-1]).any()


@pytest.mark.slow
def test_longer_padding_changes_no_value():
  model, variables = network(length=2 * T)
  run = jax.jit(functools.partial(model.apply, train=False))
  given = inputs()
  longer = {
    **given,
    **{
      key: np.pad(given[key], ((0, 0), (0, 3)))
      for key in ("text", "mask/text", "words", "mask/words")
    },
  }
  # What is there at padding is never read.
  longer["text"] = np.where(longer["mask/text"], longer["text"], 5)
  longer["words"] = np.where(longer["mask/words"], longer["words"], 5)
  short, long = run(variables, given), run(variables, longer)
  for name in ("greedy", "beam", "sampled"):
    np.testing.assert_array_equal(short[name], long[name])
  # The end of a text that filled all positions counts now.
  mask = np.asarray(short["mask/logits"])
  for name in ("logits", "tokens", "block00"):
    np.testing.assert_allclose(
      np.asarray(short[name])[mask],
      np.asarray(long[name])[:, :T][mask],
      rtol=1e-3,
      atol=1e-3,
    )


def test_a_later_token_changes_no_earlier_logits():
  model, variables = network()
  run = jax.jit(functools.partial(model.apply, train=False))
  given = {**inputs(), "mask/text": np.ones((B, T), bool)}
  before = run(variables, given)["logits"]
  for place in range(T):
    text = given["text"].copy()
    text[:, place] = (text[:, place] + 1) % V
    after = run(variables, {**given, "text": text})["logits"]
    np.testing.assert_array_equal(before[:, : place + 1], after[:, : place + 1])
    if place < T - 1:
      assert np.any(
        np.asarray(before != after)[:, place + 1 :], axis=(1, 2)
      ).all()


@pytest.mark.slow
def test_an_absent_modality_has_no_effect():
  model, variables = network()
  run = jax.jit(functools.partial(model.apply, train=False))
  given = inputs()
  other = {**given, "image": given["image"] + 1.0}
  first, second = run(variables, given), run(variables, other)
  same = [
    np.array_equal(first["logits"][row], second["logits"][row])
    for row in range(B)
  ]
  np.testing.assert_array_equal(same, ~given["has/image"])
  without = {key: it for key, it in given.items() if "image" not in key}
  alone = run(variables, without)
  np.testing.assert_allclose(alone["logits"][2], first["logits"][2], atol=1e-5)


@pytest.mark.slow
def test_seeds_on_one_axis_write_what_each_writes():
  model, variables = network()
  other = jax.tree.map(lambda x: 0.7 * x, variables)
  both = jax.tree.map(lambda *x: jnp.stack(x), variables, other)
  run = functools.partial(model.apply, inputs=inputs(), train=False)
  found = jax.jit(jax.vmap(run))(both)
  for number, one in enumerate((variables, other)):
    alone = jax.jit(run)(one)
    for name in ("greedy", "beam", "sampled"):
      np.testing.assert_array_equal(found[name][number], alone[name])


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"remat": True}, {"dtype": jnp.bfloat16}])
def test_gradients_are_those_of_the_plain_network(options):
  model, variables = network()
  given = inputs()

  def loss(params, model):
    rest = {key: it for key, it in variables.items() if key != "params"}
    outputs, _ = model.apply(
      {**rest, "params": params},
      given,
      train=True,
      rngs={"dropout": jax.random.key(0)},
      mutable=[*rest],
    )
    log_p = jax.nn.log_softmax(outputs["logits"])
    tokens = jnp.take_along_axis(log_p, given["text"][..., None], axis=-1)
    return -jnp.mean(jnp.where(outputs["mask/logits"], tokens[..., 0], 0.0))

  other = model.clone(**options)
  expected = jax.jit(jax.grad(functools.partial(loss, model=model)))
  found = jax.jit(jax.grad(functools.partial(loss, model=other)))
  loose = {"atol": 1e-5} if "remat" in options else {"atol": 0.05, "rtol": 0.2}
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **loose),
    found(variables["params"]),
    expected(variables["params"]),
  )

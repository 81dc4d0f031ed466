"""Parts of networks: each with its origin, held still, slowed down."""

import dataclasses
import itertools
import shutil

import checkpoints
import flax
import jax
import layouts
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.step import parts as held
from kdjax.step import state as states
from kdjax.teachers import cache_writer, programs
from kdjax.training import (
  check,
  initialization,
  origins,
  provenance_check,
  stage_variables,
  workdir,
)
from kdjax.training import experiment as experiments

N, T, K, BATCH = 40, 5, 3, 8
CE = {"cross_entropy": config.term("cross_entropy")}


@pytest.fixture(scope="module", autouse=True)
def data():
  """Images, and texts as word pieces with padding; 3 or 2 classes."""
  rng = np.random.default_rng(0)
  mask = np.arange(T) < rng.integers(2, T + 1, size=N)[:, None]
  ids = rng.integers(1, checkpoints.BERT["vocab_size"], size=(N, T))
  pairs = {
    "image": rng.normal(size=(N, 6, 6, 1)).astype(np.float32),
    "pieces": np.where(mask, ids, checkpoints.PADDING),
    "mask/pieces": mask,
  }
  arrays.hold("three", pairs | {"label": np.arange(N) % K})
  arrays.hold("two", pairs | {"label": np.arange(N) % 2})


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
  """The folder of a checkpoint without a classifier, and its leaves."""
  folder = tmp_path_factory.mktemp("bert") / "checkpoint"
  leaves = checkpoints.write(folder, "bert", checkpoints.BERT, words=False)
  return str(folder), leaves


def published(folder, **options):
  return config.network("bert", pretrained=folder, modality="pieces", **options)


def conv(classes=K, **options):
  return config.network("conv", widths=(4,), num_classes=classes, **options)


def fused(image, text, join="concatenate", **options):
  return config.network(
    "fusion",
    encoders={"image": image, "text": text},
    num_classes=K,
    width=8,
    join=join,
    **options,
  )


def stage(network, data=None, **knobs):
  knobs = {"steps": 3, "batch_size": BATCH, "log_every": 1, **knobs}
  if data:
    knobs["data"] = {"held": data} if isinstance(data, str) else data
  return config.stage(network, **{"terms": CE, **knobs})


def plan(seeds=2, **stages):
  return config.experiment(
    "parts",
    seeds=seeds,
    data=config.data("arrays", held="three"),
    stages=stages,
  )


def flat(variables):
  return flax.traverse_util.flatten_dict(dict(variables), sep="/")


def checked(name="one", **stages):
  """What the check of a stage says about its origins."""
  plain = workdir.resolve(plan(**stages))
  check.plan(plain, list(plain["order"]))
  return initialization.check(plain, build.build(plain, name))


def run(folder, **stages):
  return kdjax.run(plan(**stages), folder, quiet=True)


# Origins


@pytest.mark.parametrize("join", ["concatenate", "cross_attention"])
def test_an_encoder_of_a_fused_network_is_published(bert, tmp_path, join):
  plain = workdir.resolve(
    plan(one=stage(fused(conv(None), published(bert[0]), join)))
  )
  check.plan(plain, ["one"])
  one = build.build(plain, "one")
  found = initialization.initial_variables(plain, one, tmp_path, [0, 1])
  for of_seed in found:
    student = of_seed["networks"]["student"]
    assert student.keys() == {"params"}
    assert student["params"].keys() == {"encoders_text"}
    leaves = flat({"params": student["params"]["encoders_text"]})
    assert leaves.keys() == bert[1].keys()
    for leaf, value in leaves.items():
      np.testing.assert_array_equal(value, bert[1][leaf])
  fixed = one.fixed({})
  state = jax.jit(one.init)(0, fixed, found[0])
  fresh = jax.jit(one.init)(0, fixed)
  of = lambda it, part: flat(it.params["networks"]["student"][part])
  image, text = "encoders_image", "encoders_text"
  jax.tree.map(
    np.testing.assert_array_equal, of(state, image), of(fresh, image)
  )
  other = of(fresh, text)
  assert any(np.any(it != other[key]) for key, it in of(state, text).items())


WRONG = {
  "nonsense": (
    lambda bert: conv(None, init_from="nonsense"),
    "'nonsense', which does not come before it",
  ),
  "later": (
    lambda bert: conv(None, init_from="one"),
    "does not come before it",
  ),
  "no part": (
    lambda bert: conv(None, init_from="first/picture"),
    "no network 'picture'",
  ),
  "width": (
    lambda bert: config.network("conv", widths=(5,), init_from="first"),
    "cannot start from first/student",
  ),
  "checkpoint": (
    lambda bert: published(bert[0] + "x"),
    "x",
  ),
  "arrays": (
    lambda bert: conv(None, arrays=("no.npz", {"a": "b"})),
    "no.npz",
  ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_origin_of_a_part_is_an_error_before_training(
  bert, tmp_path, case
):
  part, message = WRONG[case]
  stages = {
    "first": stage(conv()),
    "one": stage(fused(part(bert), published(bert[0]))),
  }
  with pytest.raises(UserError, match=message):
    run(tmp_path, **stages)
  assert not (tmp_path / "stages").exists()


def test_an_unknown_option_or_key_of_a_part_is_an_error(bert):
  with pytest.raises(UserError, match="No 'widhts'"):
    conv(widhts=(3,))
  with pytest.raises(UserError, match="no source"):
    conv(from_layers="first")


@pytest.mark.slow
def test_parts_move_between_stages_with_other_heads(bert, tmp_path, capsys):
  """Pretrain, fuse, take the image branch out, other classes."""
  stages = {
    "image": stage(conv()),
    "fused": stage(fused(conv(None, init_from="image"), published(bert[0]))),
    "branch": stage(conv(2, init_from="fused/image"), data="two", steps=1),
    "again": stage(conv(init_from="branch"), steps=1),
  }
  said = {
    name: checked(name, **stages) for name in ("fused", "branch", "again")
  }
  assert said["fused"] == [
    "student/encoders_image starts from image/student: 5 arrays; left over:"
    " head."
  ]
  assert said["branch"] == [
    "student starts from fused/student/encoders_image: 5 arrays; new: head."
  ]
  assert said["again"] == [
    "student starts from branch/student: 5 arrays; new: head; left over: head."
  ]
  config_of = plan(**stages)
  kdjax.run(config_of, tmp_path)
  assert f"branch: {said['branch'][0]}" in capsys.readouterr().out
  for target, source, path in (
    ("fused", "image", ""),
    ("branch", "fused", "encoders_image"),
  ):
    plain = workdir.resolve(config_of)
    one = build.build(plain, target)
    (first, _) = initialization.initial_variables(plain, one, tmp_path, [0, 1])
    taken = first["networks"]["student"]["params"]
    taken = taken.get("encoders_image", taken)
    _, variables = kdjax.restore(tmp_path, source)
    origin = held.at(variables, path)["params"]
    assert "head" not in taken
    for module, tree in taken.items():
      jax.tree.map(np.testing.assert_array_equal, tree, origin[module])


# Still


PATTERNS = {
  ("encoders/text",): {"encoders_text"},
  ("encoders_text",): {"encoders_text"},
  ("encoders/*",): {"encoders_text", "encoders_image"},
  ("encoders/text/block0[0-2]", "encoders/text/token"): {
    "encoders_text/block00",
    "encoders_text/block01",
    "encoders_text/block02_dense",
    "encoders_text/block02_norm",
    "encoders_text/token",
  },
  ("encoders/text", "!encoders/text/token"): {
    "encoders_text/block00",
    "encoders_text/block01",
    "encoders_text/block010",
    "encoders_text/block02_dense",
    "encoders_text/block02_norm",
    "encoders_text/norm_last",
  },
  ("encoders/text/block02",): {
    "encoders_text/block02_dense",
    "encoders_text/block02_norm",
  },
  # Whole names: not norm_last, token_.. or encoders_textual.
  (
    "encoders/text/norm",
    "encoders/text/tok",
    "encoders/tex",
    "encoders",
  ): set(),
  ("", "!head", "!encoders/text/block01/dense"): {
    "encoders_text/block00",
    "encoders_text/block010",
    "encoders_text/block02_dense",
    "encoders_text/block02_norm",
    "encoders_text/norm_last",
    "encoders_text/token",
    "encoders_image",
    "encoders_textual",
  },
  (): set(),
  ("",): {""},
}


@pytest.mark.parametrize("patterns", PATTERNS)
def test_a_pattern_is_a_whole_part_or_a_numbered_block(patterns):
  tree = {
    "params": {
      "encoders_text": {
        "token": {"embedding": 1},
        "block00": {"dense": {"kernel": 2}},
        "block01": {"dense": {"kernel": 3}},
        "block010": {"dense": {"kernel": 4}},
        "block02_dense": {"kernel": 9},
        "block02_norm": {"scale": 10},
        "norm_last": {"scale": 11},
      },
      "encoders_image": {"conv": {"kernel": 5}},
      "encoders_textual": {"conv": {"kernel": 6}},
      "head": {"bias": 7},
    },
    "batch_stats": {"encoders_image": {"norm": {"mean": 8}}},
  }
  if patterns == ("encoders/*",):
    del tree["params"]["encoders_textual"]
  trained, still = held.split(tree, patterns)
  starts = PATTERNS[patterns]
  for leaf in flat(tree):
    path = leaf.partition("/")[2]
    under = any(f"{path}/".startswith(f"{it}/" if it else "") for it in starts)
    assert (leaf in flat(still)) == under
    assert (leaf in flat(trained)) != under
  jax.tree.map(np.testing.assert_array_equal, held.merged(trained, still), tree)


def still_stage(bert, **knobs):
  text = published(bert[0], still=True)
  return stage(fused(conv(None), text), **knobs)


@pytest.mark.slow
def test_a_still_part_is_not_in_the_state_and_does_not_change(bert, tmp_path):
  stages = {"one": still_stage(bert, steps=6, save_every=3)}
  run(tmp_path, **stages)
  folder = tmp_path / "stages/one/checkpoints"
  with stage_variables.Checkpoints(folder) as found:
    names = found.read("")
  assert names and not any("encoders_text" in name for name in names)
  for which in ("best", "last"):
    for seed in (0, 1):
      _, variables = kdjax.restore(tmp_path, "one", which=which, seed=seed)
      text = flat({"params": variables["params"]["encoders_text"]})
      for leaf, value in text.items():
        np.testing.assert_array_equal(value, bert[1][leaf])
  result = workdir.stage_result(tmp_path, "one")
  plain = workdir.resolve(plan(**stages))
  shapes = build.build(plain, "one").network_shapes()["student"]["params"]
  whole = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  assert result["parameters"]["student"] == whole
  again = kdjax.evaluate(tmp_path, "one")
  assert again["accuracy"] == pytest.approx(result["test"]["best"]["accuracy"])


@pytest.mark.slow
def test_a_checkpoint_that_is_held_still_and_changes_is_refused(bert, tmp_path):
  folder = tmp_path / "bert"
  checkpoints.write(folder, "bert", checkpoints.BERT, words=False)
  network = fused(conv(None), published(str(folder), still=True))
  run(tmp_path / "run", one=stage(network))
  (weights,) = folder.glob("*.safetensors")
  content = bytearray(weights.read_bytes())
  content[-1] ^= 1
  weights.write_bytes(content)
  with pytest.raises(UserError, match="other teachers"):
    kdjax.evaluate(tmp_path / "run", "one")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a frozen teacher", "a still part"])
def test_arrays_are_frozen_and_their_change_is_refused(bert, tmp_path, kind):
  path = tmp_path / "arrays.npz"
  rng = np.random.default_rng(3)
  shapes = {"l.weight": (8, 36), "l.bias": (8,)}
  shapes |= {"h.weight": (K, 8), "h.bias": (K,)}
  write = lambda: np.savez(
    path, **{key: rng.normal(size=it) for key, it in shapes.items()}
  )
  write()
  layers = {"dense0": "l", "head": "h"}
  network = lambda **options: config.network(
    "mlp", widths=(8,), num_classes=K, arrays=(str(path), layers), **options
  )
  if kind == "a frozen teacher":
    one = stage(
      conv(),
      teachers={"teacher": config.frozen(network())},
      terms=CE | {"kd": config.term("kd")},
    )
  else:
    one = stage(network(still=("dense0",)))
  run(tmp_path / "run", one=one)
  write()
  with pytest.raises(UserError, match="other teachers"):
    kdjax.evaluate(tmp_path / "run", "one")


def step_of(network, whole=False, **knobs):
  """A stage's compiled step, and its state and inputs of a seed."""
  plain = workdir.resolve(plan(one=stage(network, **knobs)))
  check.plan(plain, ["one"])
  one = build.build(plain, "one")
  (fixed,) = initialization.load_fixed(one, [0], config=plain, workdir=None)
  (initial,) = initialization.initial_variables(plain, one, None, [0])
  state = jax.jit(one.init)(0, fixed, initial)
  batch = one.train_feeds([0])[0].batch(0)
  step = jax.jit(one.train_step)
  return (step, state, fixed, batch) + ((one,) if whole else ())


@pytest.mark.slow
def test_a_still_part_costs_its_forward_pass_alone(bert):
  """No FLOPs of its gradient are in the compiled step."""
  flops = {}
  for still in (False, True):
    network = fused(conv(None), published(bert[0], still=still))
    step, state, fixed, batch = step_of(network)
    cost = step.lower(state, fixed, batch).compile().cost_analysis()
    flops[still] = cost["flops"]
    leaves = jax.tree_util.tree_leaves_with_path(state)
    texts = [path for path, _ in leaves if "encoders_text" in f"{path}"]
    assert bool(texts) != still
  network = published(bert[0])
  plain = workdir.resolve(plan(one=stage(fused(conv(None), network))))
  module = build.build(plain, "one").objective.networks["student"]
  text = module.encoders["text"]
  inputs = {"pieces": np.ones((BATCH, T), np.int32)}
  variables = jax.eval_shape(
    lambda: text.init(jax.random.key(0), inputs, train=False)
  )
  forward = jax.jit(lambda v: text.apply(v, inputs, train=False)["embedding"])
  alone = forward.lower(variables).compile().cost_analysis()["flops"]
  # A training step of a part costs its forward pass about three times.
  assert flops[False] - flops[True] > 1.5 * alone


@pytest.mark.slow
def test_a_still_part_is_in_evaluation_mode_with_its_statistics(bert):
  image = config.network(
    "resnet_cifar", depth=8, num_classes=None, still=True, init_from="first"
  )
  stages = {
    "first": stage(config.network("resnet_cifar", depth=8, num_classes=K)),
    "one": stage(fused(image, published(bert[0]))),
  }
  plain = workdir.resolve(plan(**stages))
  one = build.build(plain, "one")
  shapes = one.network_shapes()["student"]
  _, still = held.split(shapes, one.objective.still["student"])
  halves = lambda tree: jax.tree.map(
    lambda it: np.full(it.shape, 0.5, it.dtype), tree
  )
  fixed = one.fixed({f"{held.STILL}student": halves(still)})
  state = jax.jit(one.init)(0, fixed)
  batch = one.train_feeds([0])[0].batch(0)
  new, _ = jax.jit(one.train_step)(state, fixed, batch)
  assert not new.collections["networks"]["student"].get("batch_stats")
  outputs = {}
  for train in (True, False):
    flow = one.objective.flow(
      states.evaluated(state),
      fixed,
      batch,
      key=jax.random.key(0),
      train=train,
    )
    outputs[train] = flow.run("student")["image/embedding"]
  np.testing.assert_allclose(outputs[True], outputs[False], rtol=1e-5)
  # The batch's own statistics would give another embedding.
  unheld = dataclasses.replace(one.objective, still={})
  whole = {
    "networks": {
      "student": held.merged(
        states.evaluated(state)["networks"]["student"], halves(still)
      )
    },
    "heads": {},
  }
  flow = unheld.flow(whole, fixed, batch, key=jax.random.key(0), train=True)
  own = flow.run("student")["image/embedding"]
  assert np.abs(own - outputs[True]).max() > 0.01


FRESH = {
  "fresh": ({"still": ("encoders/image",)}, "starts from nothing"),
  "typo": ({"still": ("encoders/txt",)}, "'encoders/txt', which no part"),
  "rate": ({"rates": {"encoders/txt": 0.1}}, "'encoders/txt', which no part"),
}


@pytest.mark.parametrize("case", FRESH)
def test_a_pattern_without_a_part_or_an_origin_is_an_error(bert, case):
  options, message = FRESH[case]
  with pytest.raises(UserError, match=message):
    checked(one=stage(fused(conv(None), published(bert[0]), **options)))


# Adapters


@pytest.mark.slow
def test_adapters_train_while_the_published_part_stays(bert, tmp_path):
  network = published(bert[0], lora=2, num_classes=K)
  run(
    tmp_path,
    one=stage(
      network, steps=6, optimizer=config.optimizer("sgd", learning_rate=0.5)
    ),
  )
  with stage_variables.Checkpoints(
    tmp_path / "stages/one/checkpoints"
  ) as found:
    names = set(found.read("params.networks.student."))
  assert names and all("lora_" in it or it.startswith("head") for it in names)
  _, variables = kdjax.restore(tmp_path, "one", which="last")
  leaves = flat(variables)
  assert not any("lora" in leaf for leaf in leaves)
  moved = set()
  for leaf, value in bert[1].items():
    change = np.asarray(leaves[leaf]) - value
    if np.any(change):
      moved.add(leaf.rpartition("/")[2])
      assert np.linalg.matrix_rank(change, tol=1e-5) <= 2
  assert moved == {"kernel"}
  again = kdjax.evaluate(tmp_path, "one", which="last")
  result = workdir.stage_result(tmp_path, "one")
  assert again["accuracy"] == pytest.approx(result["test"]["last"]["accuracy"])


@pytest.mark.slow
def test_the_head_of_an_adapted_encoder_trains(bert):
  """An exception holds inside of a part that is held still."""
  text = published(bert[0], lora=2, num_classes=K)
  for network in (text, fused(conv(None), text, join="average")):
    _, state, *_ = step_of(network)
    names = parts_of(state)
    assert any("lora_a" in it for it in names)
    assert {it for it in names if "head/kernel" in it and "text" in it} or (
      "head/kernel" in names
    )


def parts_of(state):
  return {*flat(state.params["networks"]["student"])}


def test_each_seed_has_a_fresh_head_of_its_own(bert):
  """Beside a part that is held still, which the seeds share."""
  network = published(bert[0], still=("block00",), num_classes=K)
  plain = workdir.resolve(plan(one=stage(network)))
  one = build.build(plain, "one")
  initial = initialization.initial_variables(plain, one, None, [0, 1])
  one, two = (flat(it["networks"]["student"]) for it in initial)
  same = {key for key in one if np.array_equal(one[key], two[key])}
  assert {*one} - same == {"params/head/kernel"}


PLACEMENTS = {
  "loop": {"placement": "mesh", "seed_axis": "loop"},
  "vmap": {"placement": "mesh", "seed_axis": "vmap"},
  "pmap": {"placement": "pmap", "seed_axis": "loop"},
}


@pytest.mark.slow
def test_a_still_part_trains_alike_in_every_placement(bert, tmp_path):
  losses = {}
  for name, options in PLACEMENTS.items():
    text = published(bert[0], lora=2)
    experiment = plan(one=stage(fused(conv(None), text), steps=6))
    experiment.update(options)
    results = kdjax.run(experiment, tmp_path / name, quiet=True)
    losses[name] = results["stages"]["one"]["loss/cross_entropy"]["mean"]
  assert losses["vmap"] == pytest.approx(losses["loop"], rel=1e-4)
  assert losses["pmap"] == pytest.approx(losses["loop"], rel=1e-4)


@pytest.mark.slow
def test_new_adapters_change_no_output(bert):
  step, state, fixed, batch = step_of(published(bert[0], lora=2, num_classes=K))
  plain, other, nothing, _ = step_of(published(bert[0], num_classes=K))
  _, one = step(state, fixed, batch)
  _, two = plain(other, nothing, batch)
  np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-3)


def test_a_wrong_rank_is_an_error(bert):
  for options in ({"lora": -1}, {"lora": 2, "still": ("block00",)}):
    with pytest.raises(UserError, match="a rank of 1 or more"):
      published(bert[0], **options)


# Tokenizers


def write_tokenizer(folder, words):
  """A fast tokenizer of whole words."""
  from tokenizers import Tokenizer, models, pre_tokenizers
  from transformers import PreTrainedTokenizerFast

  ids = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
  made = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
  made.pre_tokenizer = pre_tokenizers.Whitespace()
  PreTrainedTokenizerFast(
    tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"
  ).save_pretrained(folder)


def test_ids_of_another_tokenizer_are_refused(bert, tmp_path):
  own, other = tmp_path / "own", tmp_path / "other"
  for folder, words in ((own, "red blue"), (other, "blue red")):
    shutil.copytree(bert[0], folder)
    write_tokenizer(folder, words.split())
  rows = [{"text": "red blue", "label": "ab"[row % 2]} for row in range(40)]
  layouts.table(tmp_path / "t.csv", rows)

  def attempt(network, tokenizer, key="text", **stages):
    column = {"column": "text:text", "tokenizer": str(tokenizer)}
    texts = config.data(
      "manifest",
      root=str(tmp_path),
      table="t.csv",
      length=T,
      columns={key: column, "label": "label"},
    )
    whole = config.experiment(
      "t", seeds=1, data=texts, stages={**stages, "one": stage(network)}
    )
    plain = workdir.resolve(whole)
    check.plan(plain, list(plain["order"]))

  reads = lambda folder, key="text", **options: config.network(
    "bert", pretrained=str(folder), modality=key, num_classes=2, **options
  )
  attempt(reads(own), own)
  attempt(reads(own, "pieces"), own, "pieces")
  for network, named in (
    (reads(own), other),
    (reads(own), "words"),
    (fused(conv(None), reads(own)), "characters"),
  ):
    with pytest.raises(UserError, match="has ids of the tokenizer"):
      attempt(network, named)
  # A stage that trained on other ids.
  first = stage(reads(own))
  column = {"column": "text:text", "tokenizer": str(own)}
  first.data = config.ConfigDict(
    {"columns": {"text": column, "label": "label"}}
  )
  with pytest.raises(UserError, match="was trained in the stage 'first'"):
    attempt(reads(other, init_from="first"), other, first=first)


# Rates


@pytest.mark.slow
def test_rates_multiply_the_updates_of_parts(bert):
  network = lambda **options: fused(conv(None), published(bert[0]), **options)
  moved = {}
  for name, rates in {
    "plain": None,
    "slow": {"encoders/text/block00": 0.0, "encoders/text": 0.1},
    "late": {"": config.schedule("late", 1.0, milestones=(0.5,))},
  }.items():
    options = {"rates": rates} if rates else {}
    step, state, fixed, batch = step_of(network(**options), steps=4)
    before = flat(state.params["networks"]["student"])
    moved[name] = []
    for _ in range(3):
      state, _ = step(state, fixed, batch)
      after = flat(state.params["networks"]["student"])
      moved[name].append({key: after[key] - before[key] for key in before})
  for key, change in moved["plain"][0].items():
    slow = moved["slow"][0][key]
    by = 1.0
    if key.startswith("encoders_text"):
      by = 0.0 if "block00" in key else 0.1
    np.testing.assert_allclose(slow, by * change, rtol=1e-3, atol=1e-7)
    assert not moved["late"][1][key].any()
  assert any(change.any() for change in moved["late"][2].values())


def test_layers_have_rates_that_fall_with_their_distance_to_the_head():
  rates = config.layer_rates(3, 0.5, "encoders/text")
  assert rates == {
    "encoders/text/head": 1.0,
    "encoders/text/block02": 1.0,
    "encoders/text/block01": 0.5,
    "encoders/text/block00": 0.25,
    "encoders/text": 0.125,
  }


@pytest.mark.slow
def test_a_still_part_in_a_teacher_and_in_a_student_of_it(bert, tmp_path):
  """A fused teacher with a still BERT, its student, and its average."""
  teacher = still_stage(bert)
  student = config.stage(
    conv(),
    teachers={"teacher": config.teacher("one")},
    terms=CE | {"kd": config.term("kd")},
    steps=3,
    batch_size=BATCH,
    ema_decay=0.9,
  )
  results = run(tmp_path, one=teacher, two=student)
  assert np.isfinite(results["stages"]["two"]["loss/kd"]["mean"])
  plain = workdir.resolve(plan(one=teacher, two=student))
  provenance_check.check(plain, tmp_path, "two")
  (variables,) = origins.trained(
    plain, tmp_path, ("one", "student"), "best", [0, 1]
  )[:1]
  assert "encoders_text" in variables["params"]


# Parts outside of the step


def outside(step, one, fixed, batch):
  """A step's batch with the outputs of its cached parts."""
  names = [it for it in one.objective.teachers if "." in it]
  found = {}
  for name in names:
    program = jax.jit(programs.teacher_program(one, name))
    found |= program((), fixed, batch)
  return jax.jit(programs.train_step(one, names)), {**batch, **found}


HOLDERS = {
  **{
    join: lambda image, text, join=join: fused(image, text, join=join)
    for join in ("concatenate", "average", "gated", "cross_attention")
  },
  "bottleneck": lambda image, text: fused(image, text, join="bottleneck"),
  "graph": lambda image, text: fused(image, text, join="graph"),
  "tasks": lambda image, text: config.network(
    "tasks", network=fused(image, text), tasks={"kind": K}
  ),
  "two_tower": lambda image, text: config.network(
    "two_tower",
    encoders={"image": image, "text": text},
    width=8,
    num_classes=K,
    classifies="text",
  ),
}
# Of each join, what it uses of an encoder.
TOKENS = {"cross_attention", "bottleneck"}


@pytest.mark.slow
@pytest.mark.parametrize(
  ("holder", "buckets"),
  [
    ("cross_attention", {"pieces": (3,)}),
    *(
      pytest.param(holder, buckets, marks=pytest.mark.slow)
      for holder, buckets in itertools.product(HOLDERS, ({}, {"pieces": (3,)}))
    ),
  ],
)
def test_a_step_without_a_still_part_equals_the_one_with_it(
  bert, holder, buckets
):
  """Of any network with parts; and only what it uses of them is computed."""
  text = published(bert[0], still=True, cache="auto")
  network = HOLDERS[holder](conv(None), text)
  data = {"buckets": buckets}
  step, state, fixed, batch, one = step_of(network, data=data, whole=True)
  other, with_outputs = outside(step, one, fixed, batch)
  (_, expected), (_, found) = (
    step(state, fixed, batch),
    other(state, fixed, with_outputs),
  )
  assert found["gradient_norm"] > 0
  for key in expected:
    np.testing.assert_allclose(found[key], expected[key], rtol=2e-5)
  stored = {it for it in with_outputs if it.startswith("precomputed/")}
  used = {it.rpartition("/")[2] for it in stored}
  assert used == {"tokens"} if holder in TOKENS else used <= {"embedding"}


@pytest.mark.slow
def test_what_terms_read_of_a_cached_part_is_in_the_cache(bert):
  """Addresses of the network, of its average, and of other views."""
  text = published(bert[0], still=True, cache="auto")
  reads = {
    "student": "student@other/text/block00",
    "teacher": "average/text/block01",
  }
  step, state, fixed, batch, one = step_of(
    fused(conv(None), text),
    whole=True,
    terms=CE | {"mse": config.term("hidden_mse", reads=reads, targets=())},
    teachers={"average": config.average()},
    ema_decay=0.9,
    data={"pipelines": {"other": {"pieces": "token_dropout(rate=0.5)"}}},
  )
  other, with_outputs = outside(step, one, fixed, batch)
  stored = {it for it in with_outputs if it.startswith("precomputed/")}
  name = held.teacher_of("student", "encoders_text")
  assert stored == {
    f"precomputed/{name}/embedding",
    f"precomputed/{name}/block01",
    f"precomputed/{name}@other/block00",
  }
  (_, expected), (_, found) = (
    step(state, fixed, batch),
    other(state, fixed, with_outputs),
  )
  assert found["loss/mse"] > 0
  for key in expected:
    np.testing.assert_allclose(found[key], expected[key], rtol=2e-5)


def test_a_cached_part_costs_nothing_in_the_step(bert):
  """Its forward pass is not in the compiled step either."""
  text = published(bert[0], still=True, cache="auto")
  step, state, fixed, batch, one = step_of(fused(conv(None), text), whole=True)
  other, with_outputs = outside(step, one, fixed, batch)
  cost = lambda it, batch: (
    it.lower(state, fixed, batch).compile().cost_analysis()["flops"]
  )
  program = jax.jit(programs.teacher_program(one, "student.encoders_text"))
  forward = program.lower((), fixed, batch).compile().cost_analysis()["flops"]
  saved = cost(step, batch) - cost(other, with_outputs)
  assert 0.95 < saved / forward < 1.05


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["loop", "vmap"])
def test_a_cached_part_gives_the_numbers_of_one_in_the_step(
  bert, tmp_path, axis
):
  """In real runs; the seeds share the cache, and it can be verified."""
  found = {}
  for cache in ("", "auto"):
    text = published(bert[0], still=True, cache=cache)
    network = fused(conv(None), text, join="cross_attention")
    experiment = plan(one=stage(network, steps=12))
    experiment.seed_axis = axis
    folder = tmp_path / f"cache-{cache}"
    kdjax.run(experiment, folder, quiet=True)
    found[cache] = [
      kdjax.restore(folder, "one", which="last", seed=seed)[1]
      for seed in (0, 1)
    ]
  assert len([*(folder / "cache").iterdir()]) == 1
  compare = lambda one, two: np.testing.assert_allclose(
    one, two, rtol=1e-3, atol=1e-5
  )
  jax.tree.map(compare, found["auto"], found[""])
  ((one, (cache,)),) = experiments.caches(experiment, folder)
  assert {*cache.manifest.outputs} == {"tokens"}
  cache_writer.verify(one, cache)


def test_a_part_that_changes_has_no_cache(bert):
  for options in ({}, {"still": ("block00",)}, {"lora": 2}):
    with pytest.raises(UserError, match="Outputs of a part that trains change"):
      published(bert[0], cache="auto", **options)

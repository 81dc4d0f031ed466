"""Teachers from a cache, or beside the step: exactly the run that computes."""

import shutil
import types

import jax
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.cache.store import Reader
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.teachers import (
  cache_plan,
  cache_reader,
  cache_writer,
  outputs,
  programs,
)
from kdjax.training import evaluation, experiment, initialization, workdir
from kdjax.training.checkpoints import Checkpoints
from kdjax.verbs import cache as verb

N, K = 96, 3
BATCH = 16
EPOCHS = 3
STEPS = EPOCHS * (N // 3) // BATCH


@pytest.fixture(scope="module", autouse=True)
def held():
  rng = np.random.default_rng(0)
  images = rng.integers(256, size=(N, 8, 8, 3), dtype=np.uint8)
  splits = np.array(["train", "validation", "test"])[np.arange(N) % 3]
  label = (images.mean((1, 2, 3)) * 7).astype(int) % K
  arrays.hold("pictures", {"image": images, "label": label, "split": splits})


def made(*, augmentations=2, terms=None, teachers=None, seeds=2, **teacher):
  """A teacher, and a student of it, on pictures seen in other ways."""
  knobs = {
    "batch_size": BATCH,
    "optimizer": config.optimizer("adamw", learning_rate=1e-2),
    "eval_every": STEPS,
    "log_every": STEPS,
    "save_every": 3,
  }
  network = lambda width: config.network("conv", widths=(width,), num_classes=K)
  cross_entropy = {"cross_entropy": config.term("cross_entropy")}
  terms = terms or {"kd": config.term("kd", temperature=2.0)}
  pipeline = "crop(padding=1)|flip|to_float|mixup"
  return config.experiment(
    "cached",
    seeds=seeds,
    data=config.data(
      "arrays",
      held="pictures",
      augmentations=augmentations,
      pipelines={
        "train": {"image": pipeline},
        "evaluation": {"image": "to_float"},
      },
    ),
    stages={
      "large": config.stage(network(6), terms=cross_entropy, steps=4, **knobs),
      "student": config.stage(
        network(4),
        teachers=teachers
        or {"teacher": config.teacher("large", paired=False, **teacher)},
        terms=terms,
        steps=STEPS,
        **knobs,
      ),
    },
  )


def run(folder, **changes):
  """The parameters at the end of a run."""
  kdjax.run(made(**changes), folder, quiet=True)
  return parameters(folder)


def parameters(folder):
  with Checkpoints(folder / "stages" / "student" / "checkpoints") as found:
    cache_reader = found.read()
  return {key: value for key, value in cache_reader.items() if "params" in key}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """The same run with its teacher in the step, beside it, and cached."""
  ways = {
    "online": {},
    "separate": {"separate": True},
    "cached": {"cache": "auto"},
  }
  folders = {way: tmp_path_factory.mktemp(way) for way in ways}
  found = {way: run(folders[way], **of) for way, of in ways.items()}
  return folders, found


def test_a_cached_run_is_the_one_whose_teacher_runs_beside_it(runs):
  _, found = runs
  assert found["cached"]
  for key, value in found["cached"].items():
    np.testing.assert_array_equal(value, found["separate"][key], err_msg=key)


def test_a_cache_is_read_alike_from_devices_and_as_a_stream(
  runs, tmp_path, monkeypatch
):
  folders, found = runs
  (cache,) = (folders["cached"] / "cache").iterdir()
  held = []
  kind = cache_reader.Held
  monkeypatch.setattr(
    cache_reader, "Held", lambda *a, **k: held.append(a) or kind(*a, **k)
  )
  for feed in ("device", "stream"):
    config = made(cache=str(cache))
    config.data.feed = feed
    kdjax.run(config, tmp_path / feed, quiet=True)
    assert len(held) == 1, feed
    for key, value in parameters(tmp_path / feed).items():
      np.testing.assert_array_equal(value, found["separate"][key], err_msg=key)


def test_a_cached_run_is_that_of_a_teacher_in_the_step_but_for_rounding(runs):
  _, found = runs
  for key, value in found["cached"].items():
    np.testing.assert_allclose(
      value, found["online"][key], rtol=1e-4, atol=1e-5, err_msg=key
    )


def test_all_seeds_read_one_cache_of_a_shared_teacher(runs):
  folders, _ = runs
  caches = list((folders["cached"] / "cache").iterdir())
  assert len(caches) == 1
  reader = Reader(caches[0])
  assert reader.complete
  assert reader.views == 2
  assert len(reader.index) == N // 3


def test_what_is_cached_is_what_the_teacher_says_of_the_view(runs):
  folders, _ = runs
  ((stage, (plan,)),) = experiment.caches(
    made(cache="auto"), folders["cached"], "student"
  )
  cache_writer.verify(stage, plan, batches=4)
  first, second = (
    Reader(plan.path).take(plan.order.source.index, np.full(N // 3, view))
    for view in (0, 1)
  )
  (key,) = first
  assert not np.allclose(first[key], second[key])


def test_a_run_goes_on_with_its_cache_as_if_it_had_not_been_cut(runs, tmp_path):
  folders, found = runs
  shutil.copytree(folders["cached"], tmp_path / "cut")
  steps = tmp_path / "cut" / "stages" / "student" / "checkpoints"
  for one in steps.iterdir():
    if one.name.isdecimal() and int(one.name) > 3:
      shutil.rmtree(one)
  (tmp_path / "cut" / "stages" / "student" / "result.json").unlink()
  kdjax.run(made(cache="auto"), tmp_path / "cut", quiet=True)
  for key, value in parameters(tmp_path / "cut").items():
    np.testing.assert_array_equal(value, found["cached"][key], err_msg=key)


def test_a_teacher_of_its_own_seed_has_a_cache_of_its_own(runs):
  folders, _ = runs
  teachers = {"teacher": config.teacher("large", cache="auto")}
  ((_, plans),) = experiment.caches(
    made(teachers=teachers), folders["cached"], "student"
  )
  assert len({plan.path for plan in plans}) == 2
  assert [plan.seeds for plan in plans] == [1, 1]


def test_teachers_cached_beside_and_in_the_step_mix_in_one_run(runs, tmp_path):
  _, found = runs
  terms = {
    name: config.term(
      "kd",
      temperature=2.0,
      weight=1 / 3,
      reads={"student": "student/logits", "teacher": f"{name}/logits"},
      targets=("teacher",),
    )
    for name in ("one", "two", "three")
  }
  of = lambda **options: config.teacher("large", paired=False, **options)
  teachers = {
    "one": of(cache="auto"),
    "two": of(separate=True),
    "three": of(),
  }
  mixed = run(tmp_path, teachers=teachers, terms=terms)
  for key, value in found["online"].items():
    np.testing.assert_allclose(value, mixed[key], rtol=1e-4, atol=1e-5)


def test_a_teacher_of_endless_augmentations_cannot_be_cached(tmp_path):
  with pytest.raises(UserError, match="augmentations"):
    run(tmp_path, augmentations=0, cache="auto")


def test_a_cache_pays_that_is_read_more_often_than_it_is_made(runs):
  folders, _ = runs
  for augmentations, paid in ((2, True), (6, False)):
    ((stage, (plan,)),) = experiment.caches(
      made(augmentations=augmentations, cache="auto"),
      folders["cached"],
      "student",
    )
    # Two seeds of three epochs read six outputs of an example.
    assert (cache_plan.pays(stage, plan) == "") == paid


def test_one_that_does_not_pay_is_not_made(tmp_path):
  kdjax.run(made(augmentations=6, cache="auto"), tmp_path, quiet=True)
  assert not (tmp_path / "cache").exists()


def test_a_cache_of_another_teacher_is_refused_with_what_differs(
  runs, tmp_path
):
  folders, _ = runs
  (cache,) = (folders["cached"] / "cache").iterdir()
  other = made(cache=str(cache))
  other.stages.large.optimizer.learning_rate = 2e-2
  with pytest.raises(UserError, match="'teacher', the hash"):
    kdjax.run(other, tmp_path, quiet=True)


@pytest.mark.parametrize("field", ["augment_seed", "augmentation", "data"])
def test_a_cache_of_other_views_or_examples_is_refused(runs, field):
  folders, _ = runs
  (cache,) = (folders["cached"] / "cache").iterdir()
  other = made(cache=str(cache))
  if field == "augment_seed":
    other.data.augment_seed = 7
  elif field == "augmentation":
    other.data.pipelines.train.image = "crop(padding=2)|flip|to_float|mixup"
  else:
    images = np.zeros((N, 8, 8, 3), np.uint8)
    splits = np.array(["train", "validation", "test"])[np.arange(N) % 3]
    label = np.arange(N) % K
    arrays.hold("dark", {"image": images, "label": label, "split": splits})
    other.data.held = "dark"
  ((_, (plan,)),) = experiment.caches(other, folders["cached"], "student")
  with pytest.raises(UserError, match=f"'{field}'"):
    cache_plan.read(plan)


def test_a_path_without_a_cache_says_who_makes_it(tmp_path):
  with pytest.raises(UserError, match="kdjax cache"):
    run(tmp_path, cache=str(tmp_path / "nowhere"))


def test_what_is_stored_small_is_near_what_it_was(runs, tmp_path):
  _, found = runs
  small = run(tmp_path, cache="auto", store="top2")
  off = [
    np.abs(value - found["cached"][key]).max() for key, value in small.items()
  ]
  assert 0 < max(off) < 0.1


def test_a_damaged_cache_is_named_when_it_is_read(runs, tmp_path):
  folders, _ = runs
  shutil.copytree(folders["cached"], tmp_path / "run")
  (cache,) = (tmp_path / "run" / "cache").iterdir()
  files = [path for path in cache.rglob("*") if path.is_file()]
  largest = max(files, key=lambda path: path.stat().st_size)
  raw = bytearray(largest.read_bytes())
  raw[len(raw) // 3] ^= 255
  largest.write_bytes(raw)
  shutil.rmtree(tmp_path / "run" / "stages" / "student")
  with pytest.raises(UserError, match="kdjax cache"):
    kdjax.run(made(cache="auto"), tmp_path / "run", quiet=True)


def test_the_step_of_a_cached_teacher_does_not_run_it():
  plain = workdir.resolve(made(cache="auto"))
  stage = build.build(plain, "student")
  shapes = jax.eval_shape(stage.fixed, stage.teacher_shapes())
  state = jax.eval_shape(stage.init, 0, shapes)
  example = stage.example()
  example |= {f"partner/{key}": example[key] for key in stage.partners}
  given = jax.eval_shape(
    programs.program(stage, "teacher"), (), shapes, example
  )
  products = lambda step, batch: str(
    jax.make_jaxpr(step)(state, shapes, batch)
  ).count("conv_general_dilated")
  online = products(stage.train_step, example)
  cached = products(
    programs.train_step(stage, ["teacher"]), {**example, **given}
  )
  assert cached < online


def test_a_teacher_apart_runs_once_over_a_split_that_is_measured_again(
  runs, monkeypatch
):
  folders, _ = runs
  ran = []
  plain = outputs.Program.__init__

  def counting(self, *arguments):
    plain(self, *arguments)
    run = self.run
    self.run = lambda *given: ran.append(type(self).__name__) or run(*given)

  monkeypatch.setattr(outputs.Program, "__init__", counting)
  plain_config = workdir.resolve(made(separate=True))
  stage = build.build(plain_config, "student", "devices")
  placement = experiment.place(plain_config, stage)
  fixed = initialization.fixed_of(stage, folders["separate"], [0, 1])
  placed = placement.put_fixed(fixed)
  source = stage.load("validation")
  again = evaluation.Split(stage, placement, [source], placed)
  inside = evaluation.Split(stage, placement, [source])
  variables = placement.put(
    [stage.init(seed, one).best.variables for seed, one in enumerate(fixed)]
  )
  first, second = (again.measure(variables, placed) for _ in range(2))
  expected = inside.measure(variables, placed)
  batches = -(-len(source) // BATCH)
  assert ran == ["Once"] * batches
  for name in ("accuracy", "loss/kd"):
    for one, other, each in zip(first, second, expected, strict=True):
      assert one[name] == other[name]
      np.testing.assert_allclose(one[name], each[name], rtol=1e-5)


def test_the_command_makes_a_cache_and_verifies_it(runs, tmp_path, capsys):
  folders, _ = runs
  shutil.copytree(folders["cached"], tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "cache")
  values = types.SimpleNamespace(
    config=made(cache="auto"),
    workdir=str(tmp_path / "run"),
    stage="student",
    part="0/1",
    batches=2,
  )
  verb.main(values, [])
  verb.main(values, ["verify"])
  told = capsys.readouterr().out
  assert "1 of 2 chunks" in told
  assert "2 of 4 batches are as the teacher says" in told


@pytest.mark.parametrize("part", ["", "1", "2/2", "a/b", "1/0", "-1/2"])
def test_a_part_is_one_of_several(part):
  with pytest.raises(UserError, match="i/n"):
    verb._part(part)


def test_a_word_that_the_command_does_not_know_is_named(tmp_path):
  values = types.SimpleNamespace(config=made(), workdir=str(tmp_path))
  with pytest.raises(UserError, match="'imports'"):
    verb.main(values, ["imports"])


def test_outputs_may_be_stored_each_in_its_own_way(runs):
  folders, _ = runs
  ((_, (plan,)),) = experiment.caches(
    made(cache="auto", store={"logits": "top2"}), folders["cached"], "student"
  )
  assert plan.manifest.outputs["logits"].codec == "top2"
  with pytest.raises(UserError, match="'logit'"):
    list(
      experiment.caches(
        made(cache="auto", store={"logit": "top2"}),
        folders["cached"],
        "student",
      )
    )

"""Cached and separate teachers equal teachers that run in the step."""

import shutil
import types

import jax
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.bench import trainer
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
from kdjax.training import (
  check,
  evaluation,
  experiment,
  initialization,
  placed,
  workdir,
)
from kdjax.training.checkpoints import Checkpoints
from kdjax.training.loop import Loop
from kdjax.verbs import cache as verb

pytestmark = pytest.mark.slow

N, K = 96, 3
BATCH = 16
EPOCHS = 3
STEPS = EPOCHS * (N // 3) // BATCH


@pytest.fixture(scope="module", autouse=True)
def data():
  rng = np.random.default_rng(0)
  images = rng.integers(256, size=(N, 8, 8, 3), dtype=np.uint8)
  splits = np.array(["train", "validation", "test"])[np.arange(N) % 3]
  label = (images.mean((1, 2, 3)) * 7).astype(int) % K
  arrays.hold("images", {"image": images, "label": label, "split": splits})


def plan_of(*, augmentations=2, terms=None, teachers=None, seeds=2, **teacher):
  """A teacher and its student, on augmented and mixed images."""
  knobs = {
    "batch_size": BATCH,
    "optimizer": config.optimizer("sgd", learning_rate=0.1),
    "eval_every": STEPS,
    "log_every": STEPS,
    "save_every": 3,
  }
  network = lambda width: config.network("conv", widths=(width,), num_classes=K)
  cross_entropy = {"cross_entropy": config.term("target_cross_entropy")}
  terms = terms or {"kd": config.term("kd", temperature=2.0)}
  pipeline = "crop(padding=1)|flip|to_float|mixup"
  return config.experiment(
    "cached",
    seeds=seeds,
    data=config.data(
      "arrays",
      held="images",
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


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
  """The workdir of a run of the teacher's stage, which students share."""
  folder = tmp_path_factory.mktemp("taught")
  plan = plan_of()
  with plan.unlocked():
    del plan.stages["student"]
    plan.order = ("large",)
  kdjax.run(plan, folder, quiet=True)
  return folder


def run(taught, folder, **changes):
  """The parameters at the end of a student's run, with the shared teacher."""
  shutil.copytree(taught, folder, dirs_exist_ok=True)
  kdjax.run(plan_of(**changes), folder, stage="student", quiet=True)
  return parameters(folder)


def run_student(taught, folder, **changes):
  """Trains the student alone: its data may differ from its teacher's."""
  shutil.copytree(taught, folder, dirs_exist_ok=True)
  plain = workdir.resolve(plan_of(**changes))
  check.plan(plain, ["student"])
  experiment.run_stage(plain, folder, "student", quiet=True)


def parameters(folder):
  with Checkpoints(folder / "stages" / "student" / "checkpoints") as saved:
    arrays = saved.read()
  return {key: value for key, value in arrays.items() if "params" in key}


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
  """Where `runs` copies the workdir of the cached run after step 3."""
  return tmp_path_factory.mktemp("cut")


@pytest.fixture(scope="module")
def runs(taught, cut, tmp_path_factory):
  """Runs with the teacher in the step, in its own program, and cached."""
  ways = {
    "online": {},
    "separate": {"separate": True},
    "cached": {"cache": "auto"},
  }
  folders = {way: tmp_path_factory.mktemp(way) for way in ways}
  on_device = []
  cls = cache_reader.CachedOutputsOnDevice
  save = Loop._save

  def save_and_copy(self, step, *arguments):
    save(self, step, *arguments)
    if (self.workdir, step) == (folders["cached"], 3):
      self.checkpoints.wait()
      shutil.copytree(self.workdir, cut, dirs_exist_ok=True)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      cache_reader,
      "CachedOutputsOnDevice",
      lambda *a, **k: on_device.append(a) or cls(*a, **k),
    )
    patch.setattr(Loop, "_save", save_and_copy)
    trained = {way: run(taught, folders[way], **of) for way, of in ways.items()}
  assert len(on_device) == 1
  return folders, trained


def test_a_cached_run_equals_a_separate_teacher_bit_for_bit(runs):
  _, trained = runs
  assert trained["cached"]
  for key, value in trained["cached"].items():
    np.testing.assert_array_equal(value, trained["separate"][key], err_msg=key)


def test_a_streamed_cache_equals_one_on_the_device_bit_for_bit(
  runs, taught, tmp_path, monkeypatch
):
  """That the cache of the fixture's run is on the device, the fixture checks.

  The path of the cache is given here.
  """
  folders, trained = runs
  (cache,) = (folders["cached"] / "cache").iterdir()

  def refused(*_, **__):
    raise AssertionError("the cache is on the device")

  monkeypatch.setattr(cache_reader, "CachedOutputsOnDevice", refused)
  shutil.copytree(taught, tmp_path / "run")
  config = plan_of(cache=str(cache))
  config.data.feed = "stream"
  kdjax.run(config, tmp_path / "run", stage="student", quiet=True)
  for key, value in parameters(tmp_path / "run").items():
    np.testing.assert_array_equal(value, trained["separate"][key], err_msg=key)


def test_a_cached_run_equals_a_teacher_in_the_step_up_to_rounding(runs):
  _, trained = runs
  for key, value in trained["cached"].items():
    np.testing.assert_allclose(
      value, trained["online"][key], rtol=1e-4, atol=1e-5, err_msg=key
    )


def test_all_seeds_read_one_cache_of_a_shared_teacher(runs):
  folders, _ = runs
  caches = list((folders["cached"] / "cache").iterdir())
  assert len(caches) == 1
  reader = Reader(caches[0])
  assert reader.complete
  assert reader.views == 2
  assert len(reader.index) == N // 3


def test_cached_outputs_are_those_of_each_view(runs):
  folders, _ = runs
  ((stage, (plan,)),) = experiment.caches(
    plan_of(cache="auto"), folders["cached"], "student"
  )
  cache_writer.verify(stage, plan, batches=4)
  first, second = (
    Reader(plan.path).take(plan.order.source.index, np.full(N // 3, view))
    for view in (0, 1)
  )
  (key,) = first
  assert not np.allclose(first[key], second[key])


def test_a_run_continues_with_its_cache_bit_for_bit(runs, cut):
  _, trained = runs
  steps = cut / "stages" / "student" / "checkpoints"
  assert [step.name for step in steps.glob("[0-9]*")] == ["3"]
  kdjax.run(plan_of(cache="auto"), cut, stage="student", quiet=True)
  for key, value in parameters(cut).items():
    np.testing.assert_array_equal(value, trained["cached"][key], err_msg=key)


def test_a_paired_teacher_has_a_cache_for_each_seed(runs):
  folders, _ = runs
  teachers = {"teacher": config.teacher("large", cache="auto")}
  ((_, plans),) = experiment.caches(
    plan_of(teachers=teachers), folders["cached"], "student"
  )
  assert len({plan.path for plan in plans}) == 2
  assert [plan.seeds for plan in plans] == [1, 1]


def test_cached_separate_and_online_teachers_mix_in_one_run(
  runs, taught, tmp_path
):
  _, trained = runs
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
  mixed = run(taught, tmp_path, teachers=teachers, terms=terms)
  # Three terms are summed in another order than one is, and Adam makes the
  # rounding of a gradient near 0 larger.
  for key, value in trained["online"].items():
    np.testing.assert_allclose(value, mixed[key], rtol=1e-4, atol=1e-5)


def test_a_teacher_with_unlimited_augmentations_cannot_be_cached(
  taught, tmp_path
):
  with pytest.raises(UserError, match="augmentations"):
    run_student(taught, tmp_path, augmentations=0, cache="auto")


def test_a_cache_is_worth_making_if_it_is_read_more_often(runs):
  folders, _ = runs
  for augmentations, is_worth_it in ((2, True), (6, False)):
    ((stage, (plan,)),) = experiment.caches(
      plan_of(augmentations=augmentations, cache="auto"),
      folders["cached"],
      "student",
    )
    # Two seeds of three epochs read six outputs of an example.
    assert (cache_plan.reason_against(stage, plan) == "") == is_worth_it


def test_a_cache_that_saves_no_time_is_not_made(taught, tmp_path):
  run_student(taught, tmp_path, augmentations=6, cache="auto")
  assert workdir.stage_result(tmp_path, "student")["steps"] == STEPS
  assert not (tmp_path / "cache").exists()


def test_a_cache_of_another_teacher_is_refused_with_the_field(
  runs, taught, tmp_path
):
  folders, _ = runs
  (cache,) = (folders["cached"] / "cache").iterdir()
  # After one more step, its last variables are others.
  other = plan_of(cache=str(cache), which="last")
  other.stages.large.steps += 1
  shutil.copytree(taught, tmp_path / "run")
  with pytest.raises(UserError, match="'teacher', the hash"):
    kdjax.run(other, tmp_path / "run", quiet=True)


@pytest.mark.parametrize("field", ["augment_seed", "augmentation", "data"])
def test_a_cache_of_other_views_or_examples_is_refused(runs, field, tmp_path):
  folders, _ = runs
  (cache,) = (folders["cached"] / "cache").iterdir()
  other = plan_of(cache=str(cache))
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
  copy = shutil.copytree(folders["cached"], tmp_path / "copy")
  ((_, (plan,)),) = experiment.caches(other, copy, "student", accept=("data",))
  with pytest.raises(UserError, match=f"'{field}'"):
    cache_plan.open_cache(plan)


def test_a_missing_cache_names_the_command_that_makes_it(taught, tmp_path):
  with pytest.raises(UserError, match="kdjax cache"):
    run(taught, tmp_path, cache=str(tmp_path / "nowhere"))


def test_a_compressed_cache_gives_nearly_the_same_parameters(
  runs, taught, tmp_path
):
  _, trained = runs
  small = run(taught, tmp_path, cache="auto", store="top2")
  errors = [
    np.abs(value - trained["cached"][key]).max() for key, value in small.items()
  ]
  assert 0 < max(errors) < 0.1


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
    kdjax.run(plan_of(cache="auto"), tmp_path / "run", quiet=True)


def test_the_step_of_a_cached_teacher_does_not_run_it():
  plain = workdir.resolve(plan_of(cache="auto"))
  stage = build.build(plain, "student")
  shapes = jax.eval_shape(stage.fixed, stage.teacher_shapes())
  state = jax.eval_shape(stage.init, 0, shapes)
  example = stage.example()
  example |= {f"partner/{key}": example[key] for key in stage.partners}
  outputs_of = jax.eval_shape(
    programs.teacher_program(stage, "teacher"), (), shapes, example
  )
  products = lambda step, batch: str(
    jax.make_jaxpr(step)(state, shapes, batch)
  ).count("conv_general_dilated")
  online = products(stage.train_step, example)
  cached = products(
    programs.train_step(stage, ["teacher"]), {**example, **outputs_of}
  )
  assert cached < online


def test_a_separate_teacher_runs_once_over_a_validation_split(
  runs, monkeypatch
):
  folders, _ = runs
  ran = []
  plain = outputs.TeacherProgram.__init__

  def counting(self, *arguments):
    plain(self, *arguments)
    run = self.run
    self.run = lambda *a: ran.append(type(self).__name__) or run(*a)

  monkeypatch.setattr(outputs.TeacherProgram, "__init__", counting)
  plain_config = workdir.resolve(plan_of(separate=True))
  stage = build.build(plain_config, "student", "devices")
  placement = placed.placement_of(plain_config, "student")
  fixed = initialization.load_fixed(
    stage, [0, 1], config=plain_config, workdir=folders["separate"]
  )
  on_devices = placement.put_fixed(fixed)
  source = stage.load("validation")
  again = evaluation.SplitEvaluator(stage, placement, [source], on_devices)
  inside = evaluation.SplitEvaluator(stage, placement, [source])
  variables = placement.put(
    [stage.init(seed, one).best.variables for seed, one in enumerate(fixed)]
  )
  first, second = (again.measure(variables, on_devices) for _ in range(2))
  expected = inside.measure(variables, on_devices)
  batches = -(-len(source) // BATCH)
  assert ran == ["MemoizedTeacherProgram"] * batches
  for name in ("accuracy", "loss/kd"):
    for a, b, online in zip(first, second, expected, strict=True):
      assert a[name] == b[name]
      np.testing.assert_allclose(a[name], online[name], rtol=1e-5)


def test_the_command_makes_a_cache_and_verifies_it(runs, tmp_path, capsys):
  folders, _ = runs
  shutil.copytree(folders["cached"], tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "cache")
  values = types.SimpleNamespace(
    config=plan_of(cache="auto"),
    workdir=str(tmp_path / "run"),
    stage="student",
    part="0/1",
    batches=2,
    accept=(),
  )
  verb.main(values, [])
  verb.main(values, ["verify"])
  printed = capsys.readouterr().out
  assert "1 of 2 chunks" in printed
  assert (
    "compared 2 of 4 batches: each matches the teacher's outputs" in printed
  )


@pytest.mark.parametrize("part", ["", "1", "2/2", "a/b", "1/0", "-1/2"])
def test_a_part_is_one_of_several(part):
  with pytest.raises(UserError, match="i/n"):
    verb._part(part)


def test_an_unknown_word_of_the_command_is_named(tmp_path):
  values = types.SimpleNamespace(config=plan_of(), workdir=str(tmp_path))
  with pytest.raises(UserError, match="'imports'"):
    verb.main(values, ["imports"])


def test_each_output_may_have_its_own_codec(runs):
  folders, _ = runs
  ((_, (plan,)),) = experiment.caches(
    plan_of(cache="auto", store={"logits": "top2"}),
    folders["cached"],
    "student",
  )
  assert plan.manifest.outputs["logits"].codec == "top2"
  with pytest.raises(UserError, match="'logit'"):
    list(
      experiment.caches(
        plan_of(cache="auto", store={"logit": "top2"}),
        folders["cached"],
        "student",
      )
    )


@pytest.mark.parametrize(
  ("name", "output"),
  [
    ("series_cnn", "stage1"),
    ("series_cnn", "preact2"),
    ("resnet1d", "stage0"),
    ("patch_series", "tokens"),
  ],
)
def test_a_teacher_outside_of_the_step_brings_its_masks(name, output):
  """Padding counts in no term, as with the teacher in the step."""
  rng = np.random.default_rng(0)
  lengths = rng.integers(6, 33, 16)
  arrays.hold(
    "masked",
    {
      "sequence": rng.normal(size=(16, 32, 3)).astype(np.float32),
      "mask/sequence": np.arange(32) < lengths[:, None],
      "label": np.arange(16) % 2,
    },
  )
  network = config.network(name, num_classes=2)
  # A bridge is the same for each position of both, and needs its masks.
  reads = {"student": f"student/{output}", "teacher": f"teacher/{output}"}
  stages = {
    "large": config.stage(
      network, terms={"labels": config.term("cross_entropy")}, steps=1
    ),
    "small": config.stage(
      network,
      teachers={"teacher": config.teacher("large", separate=True)},
      terms={
        "positions": config.term("hidden_mse", reads=reads),
        "pooled": config.term(
          "mse",
          reads=reads,
          bridges={side: config.head("bridge", by="pool") for side in reads},
        ),
      },
      steps=1,
      batch_size=16,
    ),
  }
  data = config.data("arrays", held="masked")
  plain = workdir.resolve(
    config.experiment("masks", data=data, stages=stages, seeds=1)
  )
  stage = build.build(plain, "small")
  fixed = stage.fixed(trainer.initial_teachers(stage, 3))
  state = jax.jit(stage.init)(0, fixed)
  batch = stage.train_feeds([0])[0].batch(0)
  outputs = jax.jit(programs.teacher_program(stage, "teacher"))(
    (), fixed, batch
  )
  assert f"precomputed/teacher/{output}" in outputs
  assert any("/mask/" in key for key in outputs)
  _, expected = jax.jit(stage.train_step)(state, fixed, batch)
  step = programs.train_step(stage, ["teacher"])
  _, found = jax.jit(step)(state, fixed, {**batch, **outputs})
  for key in expected:
    np.testing.assert_allclose(found[key], expected[key], rtol=1e-5)

"""Workdirs from before a knob or an option existed are continued."""

import json

import pytest

import kdjax
from kdjax import config
from kdjax.config import fields
from kdjax.errors import UserError
from kdjax.training import workdir


def plan(*names, seeds=2, **knobs):
  encoders = {
    "image": config.network("conv", widths=(4,)),
    "text": config.network("text_cnn", vocabulary=17),
  }
  both = config.network("fusion", encoders=encoders, num_classes=10)
  student = config.network("mlp", widths=(8,), num_classes=10, dropout=0.5)
  project = config.head("linear", width=8)
  terms = {
    "cross_entropy": config.term("cross_entropy", label_smoothing=0.1),
    "kd": config.term("kd", temperature=2.0),
    "mse": config.term(
      "mse",
      reads={"student": "student/embedding", "teacher": "teacher/embedding"},
      heads={"student": project},
    ),
  }
  teachers = {"teacher": config.teacher("one", cache="auto")}
  labels = {"cross_entropy": config.term("cross_entropy")}
  stages = {
    "one": config.stage(both, terms=labels, **knobs),
    "two": config.stage(student, terms=terms, teachers=teachers),
  }
  data = config.data("digits", labels_per_class=4)
  stages = {name: stages[name] for name in names or stages}
  return config.experiment("options", data=data, stages=stages, seeds=seeds)


@pytest.fixture(scope="module")
def plain():
  return json.loads(json.dumps(workdir.resolve(plan())))


def without(tree, path):
  *above, last = path.split(".")
  copy = json.loads(json.dumps(tree))
  owner = copy
  for step in above:
    owner = owner[step]
  del owner[last]
  return copy


def held(folder, tree):
  """A workdir in which stages with such a config were trained."""
  folder.mkdir(exist_ok=True)
  for name in tree["stages"]:
    (folder / "stages" / name / "checkpoints" / "1").mkdir(
      parents=True, exist_ok=True
    )
  (folder / "config.json").write_text(json.dumps(tree))
  return folder


# Options and knobs of parts of a config that have their default.
DEFAULTS = (
  "stages.two.subsets",
  "stages.two.impute",
  "stages.one.patience",
  "stages.two.networks.student.normalize",
  "stages.one.networks.student.encoders.image.kernel",
  "stages.one.networks.student.modality_dropout",
  "stages.two.terms.kd.reduction",
  "stages.two.teachers.teacher.chunks",
  "data.wrong",
  "data.last_batch",
)


def test_options_with_their_defaults_may_be_newer(plain, tmp_path):
  """Of all keys of a config, those alone that have their default."""
  flat = fields.flatten(plain)
  assert {*DEFAULTS} <= flat.keys()
  for path in DEFAULTS:
    folder = held(tmp_path / "run", without(plain, path))
    workdir.check_config(folder, plain)


@pytest.mark.parametrize(
  "path",
  [
    "stages.two.networks.student.dropout",
    "stages.two.networks.student.widths",
    "stages.one.networks.student.encoders.image.widths",
    "stages.two.terms.kd.temperature",
    "stages.two.terms.cross_entropy.label_smoothing",
    "stages.two.terms.mse.heads.student.width",
    "stages.two.teachers.teacher.cache",
    "data.labels_per_class",
  ],
)
def test_an_option_with_another_value_is_a_change(plain, tmp_path, path):
  folder = held(tmp_path / "run", without(plain, path))
  with pytest.raises(UserError, match=path.replace(".", r"\.")):
    workdir.check_config(folder, plain)


@pytest.mark.slow
def test_a_stage_of_before_the_newest_knobs_is_continued(tmp_path):
  """By a real run: the second one trains nothing and keeps the numbers."""
  experiment = plan("one", seeds=1, steps=2)
  first = kdjax.run(experiment, tmp_path, quiet=True)
  path = tmp_path / "config.json"
  old = json.loads(path.read_text())
  for knob in ("subsets", "impute"):
    old = without(old, f"stages.one.{knob}")
  path.write_text(json.dumps(old))
  again = kdjax.run(experiment, tmp_path, quiet=True)
  assert again["stages"] == first["stages"]

"""A teacher with other classes than the student's: picked by their names."""

import jax
import numpy as np
import pytest
from examples import write_csv

import kdjax
from kdjax import config
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.training import check, workdir

ALL = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")
FEW = ("hen", "Bee", "jay", "cat")  # another order, and another case
COLUMNS = (7, 1, 9, 2)


def tables(folder, few=FEW):
  """A table of ten classes, and one of four of them."""
  rng = np.random.default_rng(0)
  for name, names in (("all", ALL), ("few", few)):
    rows = [
      {
        "x": f"{rng.normal():.4f}",
        "kind": names[i // 3 % len(names)],
        "split": ("train", "validation", "test")[i % 3],
      }
      for i in range(96)
    ]
    write_csv(folder / f"{name}.csv", rows)


def network(classes):
  return config.network("mlp", widths=(8,), num_classes=classes, modality="x")


def plan_of(folder, classes=None, *, few=FEW, metrics=None, order=FEW):
  tables(folder, few)
  data = config.data(
    "manifest",
    root=str(folder),
    table="all.csv",
    columns={"x": "numbers:x", "label": "kind"},
  )
  heads = {}
  if classes is not None:
    heads = {"teacher": config.head("select", classes=classes)}
  knobs = {"steps": 4, "batch_size": 8, "eval_every": 0, "save_every": 0}
  teacher = config.stage(
    network(10),
    terms={"cross_entropy": config.term("cross_entropy")},
    **knobs,
  )
  student = config.stage(
    network(len(order)),
    terms={"kd": config.term("kd", heads=heads)},
    teachers={"teacher": config.teacher("teacher")},
    data={"table": "few.csv", "classes": order},
    **({"metrics": metrics} if metrics else {}),
    **knobs,
  )
  stages = {"teacher": teacher, "student": student}
  return config.experiment("x", seeds=1, data=data, stages=stages)


def built_of(*options, **named):
  return build.build(workdir.resolve(plan_of(*options, **named)), "student")


@pytest.mark.parametrize("classes", ["names", FEW, COLUMNS])
def test_classes_of_a_teacher_are_found_by_name(tmp_path, classes):
  built = built_of(tmp_path, classes)
  assert built.class_names() == FEW
  (term,) = built.objective.terms
  head = term.heads["teacher"].module
  logits = jax.numpy.arange(20.0).reshape(2, 10)
  np.testing.assert_array_equal(
    head.apply({}, logits, None), logits[:, COLUMNS]
  )
  check.plan(
    workdir.resolve(plan_of(tmp_path, classes)), ["teacher", "student"]
  )


@pytest.mark.slow
def test_a_student_of_some_classes_is_trained(tmp_path):
  read = {"student": "teacher/logits"}
  by_name = config.metric(
    "classification",
    reads=read,
    heads={"student": config.head("select", classes="names")},
  )
  metrics = {
    "classification": config.metric("classification"),
    "teacher": by_name,
  }
  plan = plan_of(tmp_path, "names", metrics=metrics)
  results = kdjax.run(plan, tmp_path / "run", quiet=True)["stages"]["student"]
  assert np.isfinite(results["loss/kd"]["mean"])
  # The teacher's columns on the student's test records, computed here.
  model, variables = kdjax.restore(tmp_path / "run", "teacher")
  rows = [line.split(",") for line in (tmp_path / "few.csv").open()][1:]
  test = [(float(x), name) for x, name, split in rows if "test" in split]
  x = np.array([[value] for value, _ in test], np.float32)
  logits = np.asarray(model.apply(variables, {"x": x}, train=False)["logits"])
  guesses = logits[:, COLUMNS].argmax(1)
  pairs = zip(guesses, test, strict=True)
  right = np.mean([FEW[k] == name for k, (_, name) in pairs])
  assert results["teacher/accuracy"]["mean"] == pytest.approx(right)


def test_a_class_that_the_teacher_lacks_is_named(tmp_path):
  few = ("hen", "bee", "wolf", "cat")
  for classes in ("names", few):
    with pytest.raises(UserError) as error:
      built_of(tmp_path, classes, few=few, order=few)
    text = str(error.value)
    assert "picks the class 'wolf', which 'teacher' lacks" in text
    assert "of 'teacher' of the term 'kd'" in text and "ibis" in text


def test_the_same_number_of_classes_in_another_order_is_refused(tmp_path):
  """Of a teacher that was trained on other data; the remedy is said."""
  order = tuple(reversed(ALL))
  plan = plan_of(tmp_path, few=ALL, order=order)
  with pytest.raises(UserError) as error:
    check.plan(workdir.resolve(plan), ["teacher", "student"])
  text = str(error.value)
  assert "in the stage 'teacher'" in text
  assert "classes=(9, 8, 7, 6, 5, 4, 3, 2, 1, 0)" in text


def test_names_need_names(tmp_path):
  with pytest.raises(UserError, match="Expected 'names', for those of"):
    built_of(tmp_path, "name")
  read = {"student": "student/logits", "teacher": "batch/x"}
  plan = plan_of(tmp_path, "names").to_dict()
  plan["stages"]["student"]["terms"]["kd"]["reads"] = read
  with pytest.raises(UserError, match="those of 'batch/x' have no names"):
    build.build(plan, "student")


def test_columns_outside_of_a_stage_are_numbers():
  head = build.networks.build_module(
    "heads", "select", {"classes": ("cat",)}, {}
  )
  with pytest.raises(UserError, match="Names are for a stage"):
    head.apply({}, np.zeros((1, 3)), None)

"""Several labels an example: a term, a metric and a classifier of each."""

import json

import jax
import numpy as np
import pytest
from examples import write_csv

import kdjax
from kdjax import config
from kdjax.config import head, metric, term
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.training import check, workdir

# A batch is the training split, a third of all examples.
N, D, B = 360, 6, 120
TASKS = {"kind": 3, "colour": 2}
LABELLED = {"kind": B - B // 4, "colour": B - B // 5}


@pytest.fixture(scope="module", autouse=True)
def data_sets():
  """Points with two labels; some examples have one of them alone."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(N, D)).astype(np.float32)
  place = np.arange(N)
  kind = (x @ rng.normal(size=(D, 3))).argmax(1)
  colour = (x @ rng.normal(size=D) > 0).astype(np.int32)
  in_split = place // 3
  kind[in_split % 4 == 0] = -1
  colour[in_split % 5 == 1] = -1
  held = {"x": x, "label/kind": kind, "label/colour": colour}
  splits = np.array(["train", "validation", "test"])[place % 3]
  arrays.hold("two", {**held, "split": splits})
  image = (rng.random((N, 6, 6, 3)) * 255).astype(np.uint8)
  arrays.hold("images", {**held, "image": image, "split": splits})


def terms(student="student/logits/{}", **changes):
  return {
    task: term(
      "cross_entropy",
      reads={"student": student.format(task), "label": f"batch/label/{task}"},
      **changes,
    )
    for task in TASKS
  }


def metrics(student="student/logits/{}"):
  return {
    task: metric(
      "classification",
      reads={"student": student.format(task), "label": f"batch/label/{task}"},
    )
    for task in TASKS
  }


def network(tasks=TASKS, **options):
  inner = config.network("mlp", widths=(16,), modality="x")
  return config.network("tasks", network=inner, tasks=tasks, **options)


def knobs(**changes):
  return {
    "steps": 60,
    "batch_size": B,
    "optimizer": config.optimizer("adamw", learning_rate=1e-2),
    "eval_every": 20,
    "log_every": 20,
    "save_every": 0,
    "select": "kind/accuracy",
    **changes,
  }


def experiment(data="two", /, seeds=2, pipelines=None, **stages):
  data = config.data("arrays", held=data, pipelines=pipelines)
  return config.experiment("tasks", seeds=seeds, data=data, stages=stages)


def recorded(folder, stage, name):
  """The values of a number in metrics.jsonl."""
  lines = map(json.loads, (folder / "metrics.jsonl").open())
  return [
    it["value"] for it in lines if (it["stage"], it["name"]) == (stage, name)
  ]


@pytest.mark.slow
def test_a_teacher_of_two_tasks_teaches_both(tmp_path):
  corrupted = config.corruption("x", levels=(0.0, 1.0))
  teacher = config.stage(
    network(),
    terms=terms(),
    metrics=metrics(),
    robustness={"missing": corrupted},
    **knobs(),
  )
  kd = {
    f"kd_{task}": term(
      "kd",
      reads={
        "student": f"student/logits/{task}",
        "teacher": f"teacher/logits/{task}",
      },
    )
    for task in TASKS
  }
  student = config.stage(
    network(),
    terms={**terms(), **kd},
    metrics=metrics(),
    teachers={"teacher": config.teacher("teacher")},
    **knobs(),
  )
  plan = experiment(teacher=teacher, student=student)
  results = kdjax.run(plan, tmp_path, quiet=True)["stages"]
  for task in TASKS:
    assert results["teacher"][f"{task}/accuracy"]["mean"] > 0.75
    assert results["student"][f"{task}/accuracy"]["mean"] > 0.75
    # A missing label is missing in its own term alone.
    counts = recorded(tmp_path, "student", f"train/count/{task}")
    assert {*counts} == {LABELLED[task]}
    assert {*recorded(tmp_path, "student", f"train/count/kd_{task}")} == {B}
  path = tmp_path / "stages" / "teacher" / "result.json"
  robust = json.loads(path.read_text())["robustness"]["missing"]
  best = results["teacher"]["kind/accuracy"]["seeds"]
  assert robust["kind/accuracy"][0] == best
  model, variables = kdjax.restore(tmp_path, "student", seed=1)
  test = arrays.load("test", held="two").columns
  outputs = model.apply(variables, {"x": test["x"]}, train=False)
  for task in TASKS:
    label = test[f"label/{task}"]
    right = np.asarray(outputs[f"logits/{task}"]).argmax(1) == label
    expected = results["student"][f"{task}/accuracy"]["seeds"][1]
    np.testing.assert_allclose(right[label >= 0].mean(), expected, rtol=1e-6)


@pytest.mark.slow
def test_a_head_of_a_term_is_a_classifier_of_a_task(tmp_path):
  """For networks that start from a checkpoint; the metric reads the head."""
  made = {
    task: term(
      "cross_entropy",
      reads={"student": "student/embedding", "label": f"batch/label/{task}"},
      heads={"student": head("linear", width=classes)},
    )
    for task, classes in TASKS.items()
  }
  stage = config.stage(
    config.network("mlp", widths=(16,), modality="x"),
    terms=made,
    metrics=metrics("heads/{}/student"),
    **knobs(select="colour/accuracy"),
  )
  found = kdjax.run(experiment(student=stage), tmp_path, quiet=True)
  for task in TASKS:
    assert found["stages"]["student"][f"{task}/accuracy"]["mean"] > 0.75


def test_labels_of_a_task_do_not_reach_the_term_of_another():
  """The gradient of one task does not depend on labels of the other."""
  stage = config.stage(network(), terms=terms(), metrics=metrics(), **knobs())
  built = build.build(workdir.resolve(experiment(student=stage)), "student")
  source = arrays.load("train", held="two")
  batch = source.take(np.arange(B))
  batch |= {"view": np.zeros(B, np.int32), "valid": np.ones(B, bool)}
  fixed = built.fixed({})
  state = built.init(0, fixed)
  step = jax.jit(built.train_step)
  _, first = step(state, fixed, batch)
  changed = {**batch, "label/colour": np.full(B, -1, np.int32)}
  _, second = step(state, fixed, changed)
  assert first["count/colour"] == LABELLED["colour"]
  assert second["count/colour"] == 0 and second["loss/colour"] == 0
  np.testing.assert_array_equal(first["loss/kind"], second["loss/kind"])
  np.testing.assert_allclose(second["loss"], second["loss/kind"], rtol=1e-6)


def checked(stage, data="two", pipelines=None):
  plan = experiment(data, pipelines=pipelines, student=stage)
  check.plan(workdir.resolve(plan), ["student"])


def test_a_task_of_fewer_classes_than_its_label_is_refused():
  few = network({**TASKS, "kind": 2})
  stage = config.stage(few, terms=terms(), metrics=metrics(), **knobs())
  with pytest.raises(UserError, match="3 classes at 'batch/label/kind'"):
    checked(stage)


def test_a_task_without_classes_is_refused():
  none = network({**TASKS, "kind": 0})
  stage = config.stage(none, terms=terms(), metrics=metrics(), **knobs())
  with pytest.raises(UserError, match="The task 'kind' has 0 classes"):
    checked(stage)


def test_a_loss_of_numbers_reads_no_label_of_a_task():
  wrong = {
    **terms(),
    "mse": term(
      "mse",
      reads={"student": "student/embedding", "teacher": "batch/label/kind"},
    ),
  }
  stage = config.stage(network(), terms=wrong, metrics=metrics(), **knobs())
  with pytest.raises(UserError, match="'teacher' of the term 'mse' is int32"):
    checked(stage)


def test_labels_of_tasks_are_not_mixed():
  inner = config.network("conv", widths=(4,))
  student = config.network("tasks", network=inner, tasks=TASKS)
  stage = config.stage(student, terms=terms(), metrics=metrics(), **knobs())
  plain = {"image": "to_float"}
  checked(stage, "images", {"train": plain, "evaluation": plain})
  mixed = {"train": {"image": "to_float|mixup"}, "evaluation": plain}
  with pytest.raises(UserError, match="'batch/label/colour' is that of one"):
    checked(stage, "images", mixed)


def test_labels_of_tasks_in_arrays_are_classes():
  assert arrays.label_names(held="two") == {
    "label/kind": ("0", "1", "2"),
    "label/colour": ("0", "1"),
  }
  arrays.hold("less", {"x": np.zeros((3, 2)), "label/kind": [0, -2, 1]})
  with pytest.raises(UserError, match="-1 or more"):
    arrays.load("train", held="less")


def test_names_of_a_manifests_labels_are_compared(tmp_path):
  rows = [
    {
      "h": str(i),
      "species": "abc"[i // 3 % 3],
      "hue": "rg"[i % 2],
      "split": split,
    }
    for i, split in enumerate(["train", "validation", "test"] * 6)
  ]
  write_csv(tmp_path / "table.csv", rows)
  data = config.data(
    "manifest",
    root=str(tmp_path),
    table="table.csv",
    columns={
      "x": "numbers:h",
      "label/kind": "label:species",
      "label/colour": "label:hue",
    },
  )
  few = config.stage(
    network({"kind": 2, "colour": 2}),
    terms=terms(),
    metrics=metrics(),
    **knobs(batch_size=8),
  )
  plan = config.experiment("x", data=data, stages={"s": few})
  with pytest.raises(UserError, match="3 classes at 'batch/label/kind'"):
    check.plan(workdir.resolve(plan), ["s"])
  built = build.build(workdir.resolve(plan), "s")
  names = {"label/kind": ("a", "b", "c"), "label/colour": ("g", "r")}
  assert built.label_names() == names

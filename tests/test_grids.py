"""A grid gives the results of separate runs, one per point."""

import json
import shutil

import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.errors import UserError
from kdjax.stage import grids

POINTS = {
  "kd/temperature": (1.0, 8.0, 2.0),
  "kd/weight": (0.5, 0.5, 1.0),
  "cross_entropy/weight": (0.5, 0.5, 0.0),
  "optimizer/learning_rate": (0.5, 0.25, 1.0),
}


def experiment(**student):
  """A teacher and its student, on two moons."""
  knobs = {
    "steps": 12, "batch_size": 24, "eval_every": 6, "log_every": 6,
    "save_every": 0,
    "optimizer": config.optimizer("sgd", learning_rate=0.5),
  }  # fmt: skip
  rate = student.pop("rate", 0.5)
  network = config.network("mlp", num_classes=2, widths=(8,), modality="both")
  terms = {"cross_entropy": config.term("cross_entropy")}
  numbers = {"weight": 1.0, "temperature": 4.0, **student.pop("kd", {})}
  labels = student.pop("labels", 1.0)
  student["optimizer"] = config.optimizer("sgd", learning_rate=rate)
  return config.experiment(
    "grid",
    data=config.data("two_moons"),
    seeds=2,
    seed_axis="vmap",
    stages={
      "teacher": config.stage(network, terms=terms, **knobs),
      "student": config.stage(
        network,
        teachers={"teacher": config.teacher("teacher")},
        terms={
          "cross_entropy": config.term("cross_entropy", weight=labels),
          "kd": config.term("kd", student_temperature=1.0, **numbers),
        },
        **{**knobs, **student},
      ),
    },
    gains=(("student", "teacher"),),
  )


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
  folder = tmp_path_factory.mktemp("grid")
  results = kdjax.run(
    experiment(grid=config.ConfigDict(POINTS)), folder, quiet=True
  )
  result = json.loads((folder / "stages/student/result.json").read_text())
  return folder, results, result


@pytest.mark.slow
def test_a_grid_point_equals_the_run_with_its_numbers(ran, tmp_path):
  trained, _, result = ran
  values = zip(*POINTS.values(), strict=True)
  for i, (temperature, weight, labels, rate) in enumerate(values):
    numbers = {"temperature": temperature, "weight": weight}
    # The teacher is the same, and is not trained again.
    folder = shutil.copytree(trained, tmp_path / str(i))
    shutil.rmtree(folder / "stages" / "student")
    plan = experiment(kd=numbers, labels=labels, rate=rate)
    kdjax.run(plan, folder, stage="student", quiet=True)
    alone = json.loads((folder / "stages/student/result.json").read_text())
    point = result["grid"][i]
    assert point["at"]["kd/temperature"] == temperature
    for name, expected in alone["test"]["best"].items():
      np.testing.assert_allclose(point[name], expected, rtol=1e-4, err_msg=name)
    checked = alone["validation"]["best"]["accuracy"]
    np.testing.assert_allclose(point["validation"], checked, rtol=1e-4)


@pytest.mark.slow
def test_validation_chooses_the_point_that_a_later_run_trains(ran):
  folder, _, result = ran
  means = [np.mean(point["validation"]) for point in result["grid"]]
  best = int(np.argmax(means))
  stage, point, value = config.chosen(str(folder), ["student"])
  assert stage == "student" and value == pytest.approx(max(means))
  assert point == grids.points(POINTS)[best]
  page = (folder / "report.md").read_text()
  assert f"| {best + 1} (chosen) |" in page and page.count("(chosen)") == 1
  mean = np.mean(result["validation"]["best"]["accuracy"])
  assert mean == pytest.approx(np.mean(means))


@pytest.mark.slow
def test_the_mean_over_the_points_of_each_seed_is_reported(ran):
  _, results, result = ran
  assert result["seeds"] == [0, 1]
  each = np.array([point["accuracy"] for point in result["grid"]])
  expected = each.mean(axis=0)
  np.testing.assert_allclose(result["test"]["best"]["accuracy"], expected)
  accuracy = results["stages"]["student"]["accuracy"]
  np.testing.assert_allclose(accuracy["seeds"], expected)
  assert len(results["gains"]["student - teacher"]["seeds"]) == 2
  assert results["grids"] == {"student": result["grid"]}


@pytest.mark.slow
def test_the_network_of_each_point_can_be_restored_and_measured(ran):
  folder, _, result = ran
  measured = kdjax.evaluate(folder, "student")["accuracy"]
  expected = np.array([point["accuracy"] for point in result["grid"]]).T
  np.testing.assert_allclose(measured, expected.ravel(), rtol=1e-6)
  kernels = [
    kdjax.restore(folder, "student", seed=1, point=i)[1]["params"]["head"][
      "kernel"
    ]
    for i in range(3)
  ]
  assert np.abs(kernels[0] - kernels[1]).max() > 1e-4
  with pytest.raises(UserError, match=r"point 3 in the grid.*which has 3"):
    kdjax.restore(folder, "student", point=3)


@pytest.mark.parametrize(
  ("grid", "message"),
  [
    ({"kd/temprature": (1.0,)}, "Did you mean 'kd/temperature'"),
    (
      {"kd/weight": (1.0,), "kd/temperature": (1.0, 2.0)},
      "equally many values",
    ),
    ({"kd/weight": ()}, "kd/weight 0 values"),
  ],
)
def test_a_wrong_grid_is_refused(grid, message, tmp_path):
  with pytest.raises(UserError, match=message):
    kdjax.run(experiment(grid=config.ConfigDict(grid)), tmp_path, quiet=True)


def test_a_stage_with_a_grid_cannot_teach(tmp_path):
  plan = experiment()
  with plan.unlocked():
    plan.stages.teacher.grid = config.ConfigDict(
      {"cross_entropy/weight": (1.0, 2.0)}
    )
  with pytest.raises(UserError, match="'teacher', which has a grid"):
    kdjax.run(plan, tmp_path, quiet=True)


def test_an_empty_grid_has_one_point_without_changes():
  assert grids.points({}) == [{}] and grids.count({}) == 1
  assert grids.repeat_per_point({}, [3, 4]) == [3, 4]
  assert grids.mean_per_seed([0.25, 0.5], 2) == [0.25, 0.5]

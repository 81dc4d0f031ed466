"""Teachers of a stage: in another dtype, and with a batch in chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import config
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.teachers import cache_plan
from kdjax.training import check, experiment, workdir

N, K, BATCH = 48, 3, 8


@pytest.fixture(scope="module", autouse=True)
def data():
  rng = np.random.default_rng(0)
  images = rng.normal(size=(N, 6, 6, 1)).astype(np.float32)
  arrays.hold("random", {"image": images, "label": np.arange(N) % K})


def experiment_of(**teacher):
  network = lambda width: config.network("conv", widths=(width,), num_classes=K)
  labels = {"cross_entropy": config.term("cross_entropy")}
  knobs = {"batch_size": BATCH, "steps": 2}
  return config.experiment(
    "teachers",
    seeds=1,
    data=config.data("arrays", held="random"),
    stages={
      "large": config.stage(network(6), terms=labels, **knobs),
      "student": config.stage(
        network(4),
        teachers={"teacher": config.teacher("large", **teacher)},
        terms={**labels, "kd": config.term("kd")},
        **knobs,
      ),
    },
  )


def stage_of(**teacher):
  return build.build(workdir.resolve(experiment_of(**teacher)), "student")


def trained(**teacher):
  """The state and metrics after a step."""
  stage = stage_of(**teacher)
  variables = {"teacher": teacher_variables(stage)}
  fixed = stage.fixed(variables, stage.data_statistics(0))
  state = stage.init(0, fixed)
  order = stage.train_feeds([0])[0]
  return jax.jit(stage.train_step)(state, fixed, order.batch(0))


def teacher_variables(stage):
  module = stage.objective.teachers["teacher"]
  flow = stage.objective.flow({}, None, stage.example())
  return module.init(jax.random.key(1), flow.inputs("teacher"), train=False)


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [2, 8])
def test_chunks_do_not_change_the_metrics(chunks):
  (_, whole), (_, parts) = trained(), trained(chunks=chunks)
  for name, value in whole.items():
    np.testing.assert_allclose(parts[name], value, rtol=1e-5, err_msg=name)


def test_chunks_run_one_after_another():
  text = lambda **teacher: str(
    jax.make_jaxpr(stage_of(**teacher).train_step)(
      *stage_of(**teacher).shapes()
    )
  )
  assert text(chunks=4).count("scan[") == text().count("scan[") + 1


def test_chunks_that_do_not_divide_a_batch_are_refused():
  plain = workdir.resolve(experiment_of(chunks=3))
  with pytest.raises(UserError, match="processes 8 examples in 3 chunks"):
    check.plan(plain, ["large", "student"])


@pytest.mark.slow
def test_a_teacher_may_compute_in_another_dtype_than_its_student():
  stage = stage_of(dtype="bfloat16")
  assert stage.objective.teachers["teacher"].dtype == jnp.bfloat16
  assert stage.objective.networks["student"].dtype == jnp.float32
  (_, exact), (_, rounded) = trained(), trained(dtype="bfloat16")
  assert exact["loss/kd"] != rounded["loss/kd"]
  np.testing.assert_allclose(exact["loss/kd"], rounded["loss/kd"], rtol=0.05)


def test_an_unknown_dtype_is_refused():
  plain = workdir.resolve(experiment_of(dtype="float8"))
  with pytest.raises(UserError, match="float8"):
    check.plan(plain, ["large", "student"])


@pytest.mark.slow
def test_teachers_in_different_dtypes_have_different_caches(tmp_path):
  kdjax.run(experiment_of(), tmp_path, stage="large", quiet=True)
  plans = [
    next(experiment.caches(experiment_of(cache="auto", dtype=dtype), tmp_path))[
      1
    ][0]
    for dtype in ("", "bfloat16")
  ]
  assert plans[0].manifest.teacher != plans[1].manifest.teacher
  assert plans[0].path != plans[1].path
  assert not any(map(cache_plan.is_complete, plans))

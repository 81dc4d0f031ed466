"""Contrastive methods, and those for two towers."""

import pytest
from test_methods import plan

from kdjax import config, registry
from kdjax.data import digits
from kdjax.errors import UserError
from kdjax.training import workdir

WORDS = digits.VOCABULARY


def towers(width, **options):
  encoders = {
    "image": config.network("conv", widths=(width,)),
    "text": config.network(
      "text_transformer", vocabulary=WORDS, width=8, heads=2, depth=1
    ),
  }
  return config.network(
    "two_tower", encoders=encoders, width=width, num_classes=10, **options
  )


def pairs():
  """Images and texts, with no labels needed."""
  reads = {
    "image": "student/image/embedding",
    "text": "student/text/embedding",
    "scale": "student/scale",
  }
  return {"clip": config.term("clip", reads=reads)}


def plain():
  """A student and a teacher for images."""
  network = lambda width: config.network(
    "conv", widths=(width,), num_classes=10
  )
  supervised = {"cross_entropy": config.term("cross_entropy")}
  return network(4), config.stage(network(5), terms=supervised, batch_size=8)


def twice():
  """A two-tower student and teacher."""
  return towers(4), config.stage(towers(6), terms=pairs(), batch_size=8)


def made(name, parts=twice, data=(), trace=True, **options):
  """The stages of a method; `test_methods.py` traces default options."""
  student, teacher = parts()
  stage = config.stage(
    student,
    teachers={"teacher": config.teacher("teacher")},
    terms={},
    batch_size=8,
    optimizer=config.optimizer("sgd", learning_rate=0.1),
  )
  before = stage.to_json()
  stages = registry.find("methods", name)(stage, **options)
  assert stage.to_json() == before
  whole = workdir.resolve(
    config.experiment(
      name,
      data=config.data("digits", views=data),
      stages={"teacher": teacher, **config.named(name, stages)},
    )
  )
  if trace:
    plan(whole)
  return stages


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["bank", "queue", "batch"])
def test_crd_traces_with_every_memory(memory):
  (stage,) = made(
    "crd", plain, memory=memory, data_size=1800, negatives=16, width=8
  )
  assert stage.terms.crd.weight == 0.8
  assert stage.terms.crd.data_size == 1800
  assert stage.terms.cross_entropy.weight == 1.0


def test_crd_without_labels_reads_none():
  (stage,) = made("crd", plain, memory="batch", other_classes=False)
  assert stage.terms.crd.reads.student == ("student/embedding", "batch/index")


def test_crd_with_an_unknown_memory_is_an_error():
  with pytest.raises(UserError, match=r"'banks'.*Did you mean 'bank'"):
    made("crd", plain, memory="banks")


@pytest.mark.slow
def test_clip_kd_is_by_default_the_final_one_of_the_paper():
  (stage,) = made("clip_kd", trace=False)
  weights = {name: one.weight for name, one in stage.terms.items()}
  assert weights == {"clip": 1.0, "ckd": 1.0, "icl": 1.0, "fd": 2000.0}


@pytest.mark.slow
def test_clip_kd_traces_with_every_term_but_the_masked():
  (stage,) = made("clip_kd", cross_kd=1.0, gd=1e8, afd=1.0, labels=0.5)
  assert stage.terms.cross_entropy.weight == 0.5
  # One layer a tower, whatever reads it.
  heads = {name: dict(one.heads) for name, one in stage.terms.items()}
  assert heads["icl"]["student"].name == "project"
  for name in ("cross_kd", "fd", "gd"):
    assert heads[name]["student"].of == "icl/student"


@pytest.mark.slow
def test_clip_kd_has_a_layer_without_icl_too():
  (stage,) = made("clip_kd", icl=0.0, ckd=0.0)
  assert stage.terms.fd.heads.student.name == "project"


@pytest.mark.slow
def test_tinyclip_has_affinities_alone_by_default():
  (stage,) = made("tinyclip", trace=False)
  assert set(stage.terms) == {"affinity"}
  (stage,) = made("tinyclip", task=1.0, labels=1.0)
  assert set(stage.terms) == {"affinity", "clip", "cross_entropy"}


def test_sskd_trains_the_teachers_head_before_the_student():
  _, teacher = plain()
  teacher.teachers = {"teacher": config.teacher("teacher")}
  first, last = registry.find("methods", "sskd")(teacher)
  assert set(first.terms) == {"sskd_aux"} and first.eval_every == 0
  head = last.terms.sskd_aux.heads.student
  assert head.init_from == config.earlier(0) and head.still
  assert last.terms.sskd.heads.teacher.of == "sskd_aux/student"
  assert last.terms.sskd.reads.student[1] == "student@rotate90/embedding"


def test_sskd_weights_labels_by_a_tenth_by_default():
  _, stage = plain()
  stage.teachers = {"teacher": config.teacher("teacher")}
  for options, weight in (({}, 0.1), ({"labels": 0.5}, 0.5)):
    terms = registry.find("methods", "sskd")(stage, **options)[1].terms
    assert terms.cross_entropy.weight == weight
    assert terms.sskd_transformed.weight == 2.7


@pytest.mark.slow
def test_methods_of_views_read_data_that_makes_them():
  views = ("rotate90", "rotate180", "rotate270")
  first, _ = made("sskd", plain, data=views, trace=False)
  assert first.steps == 250
  (stage,) = made("clip_kd", mfd=2000.0, data=("masked",))
  assert stage.terms.mfd.heads.student.of == "icl/student"
  read = stage.terms.mfd.reads.student[0]
  assert read == "student@masked/image/embedding|tower"

"""The stages of methods for Transformers.

`test_methods.py` traces each with its default options, on images.
"""

import functools

import pytest
from test_methods import plan

from kdjax import config, registry
from kdjax.errors import UserError
from kdjax.training import workdir

CASES = [
  ("tinybert", {"depths": (2, 4), "student_embedded": None}),
  ("minilm", {"version": 1, "relation_heads": 2}),
  ("pkd", {"depths": (1, 4)}),
  ("hidden_states", {"distance": "cosine", "depths": (2, 4)}),
  ("deit", {"form": "soft"}),
  ("deit", {"token": False}),
]


@functools.cache
def network(modality, **options):
  if modality == "text":
    return config.network(
      "text_transformer", vocabulary=64, num_classes=10, **options
    )
  return config.network(
    "patch_transformer", num_classes=10, pooling="cls", patch=4, **options
  )


def base(modality="image"):
  """A stage of a student of two layers, with a teacher of four."""
  supervised = {"cross_entropy": config.term("cross_entropy")}
  teacher = config.stage(
    network(modality, width=12, depth=4), terms=supervised, batch_size=8
  )
  student = config.stage(
    network(modality, width=8, depth=2),
    teachers={"teacher": config.teacher("teacher")},
    terms={},
    batch_size=8,
    steps=40,
    optimizer=config.optimizer("sgd", learning_rate=0.1),
  )
  return teacher, student


def trace(teacher, stages):
  plain = workdir.resolve(
    config.experiment(
      "method",
      data=config.data("digits"),
      stages={"teacher": teacher, **config.named("method", stages)},
    )
  )
  plan(plain)


def call(name, **options):
  return registry.find("methods", name)(base()[1], **options)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_method_for_transformers_traces_with_other_options(name, options):
  teacher, stage = base()
  before = stage.to_json()
  stages = registry.find("methods", name)(stage, **options)
  assert stage.to_json() == before
  trace(teacher, stages)


@pytest.mark.slow
@pytest.mark.parametrize(
  "name", ["tinybert", "minilm", "distilbert", "hidden_states"]
)
def test_a_method_for_transformers_traces_on_texts_with_their_mask(name):
  teacher, stage = base("text")
  method = registry.find("methods", name)
  trace(teacher, method(stage, token_mask="batch/mask/text"))


def test_each_layer_learns_from_the_last_of_its_group_of_teacher_layers():
  layers, _ = call("tinybert", depths=(2, 6))
  reads = lambda name: layers.terms[name].reads.to_dict()
  assert reads("tinybert_scores0") == {
    "student": "student/scores00",
    "teacher": "teacher/scores02",
  }
  assert reads("tinybert_hidden1") == {
    "student": "student/block01",
    "teacher": "teacher/block05",
  }


def test_depths_that_do_not_divide_are_an_error():
  with pytest.raises(UserError, match="student has 3 layers, the teacher 4"):
    call("tinybert", depths=(3, 4))


def test_unpaired_layers_are_an_error():
  with pytest.raises(UserError, match="2 student layers are paired with 1"):
    call("pkd", teacher_hidden=("teacher/block03",))


def test_tinybert_learns_layers_first_and_classes_from_there():
  layers, classes = call("tinybert", share=0.5)
  assert layers.steps == 20 and classes.steps == 40
  assert layers.terms.cross_entropy.weight == 0.0
  assert "tinybert" not in layers.terms and "tinybert" in classes.terms
  assert not [name for name in classes.terms if "hidden" in name]
  named = config.named("tiny", [layers, classes])
  assert named["tiny"].networks.student.init_from == "tiny-1"


def test_the_first_stage_of_tinybert_has_at_least_one_step():
  layers, _ = call("tinybert", share=0.001)
  assert layers.steps == 1


def test_tinybert_maps_all_layers_by_one_matrix():
  layers, _ = call("tinybert")
  heads = layers.terms.tinybert_hidden1.heads.student
  assert heads.of == "tinybert_hidden0/student"
  assert layers.terms.tinybert_embedded.heads.student.name == "linear"


def test_minilm_relates_queries_keys_and_values_or_queries_to_keys():
  (second,), (first,) = call("minilm"), call("minilm", version=1)
  pair = second.terms.minilm_keys.reads.student
  assert pair == ("student/key01|last", "student/key01|last")
  assert second.terms.minilm_keys.weight == pytest.approx(1 / 3)
  pair = first.terms.minilm_queries_keys.reads.teacher
  assert pair == ("teacher/query03|last", "teacher/key03|last")
  assert first.terms.minilm_values.weight == 1.0
  with pytest.raises(UserError, match="No version 3"):
    call("minilm", version=3)


def test_a_mask_of_tokens_is_read_by_every_term_of_tokens():
  for name in ("tinybert", "minilm", "distilbert", "hidden_states", "token_kd"):
    stage = call(name, token_mask="batch/mask/text")[0]
    read = [
      term.reads.mask for term in stage.terms.values() if "mask" in term.reads
    ]
    assert read and set(read) == {"batch/mask/text"}


def test_distilbert_is_a_triple_loss():
  (made,) = call("distilbert")
  weights = {name: one.weight for name, one in made.terms.items()}
  assert weights == {
    "cross_entropy": 2.0,
    "distilbert_kd": 5.0,
    "distilbert_cosine": 1.0,
  }
  assert made.terms.distilbert_cosine.reads.teacher == "teacher/block03|last"


def test_deit_gives_the_student_a_distillation_token():
  (made,) = call("deit")
  assert made.networks.student.distillation_token
  assert made.terms.deit.reads.student == "student/distillation_logits"
  assert made.terms.deit.weight == made.terms.cross_entropy.weight == 0.5
  (plain,) = call("deit", token=False, weight=0.25)
  assert not plain.networks.student.distillation_token
  assert plain.terms.deit.reads.student == "student/logits"
  assert plain.terms.cross_entropy.weight == 0.75


def test_an_unknown_distance_or_form_is_an_error():
  with pytest.raises(UserError, match="There are: cosine, mse"):
    call("hidden_states", distance="l1")
  with pytest.raises(UserError, match="There are: hard, soft"):
    call("deit", form="none")

"""Published classifiers whose classes are not in the order of the data's."""

import checkpoints
import pytest
from examples import write_csv

from kdjax import config, pretrained
from kdjax.errors import UserError
from kdjax.stage import build, class_order
from kdjax.training import workdir

NAMES = ("NEGATIVE", "NEUTRAL", "POSITIVE")
DATA = ("positive", "negative", "neutral")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Checkpoints with several names of classes, by their name, and a table."""
  root = tmp_path_factory.mktemp("classes")
  for name, names in {
    "same": DATA,
    "order": NAMES,
    "more": (*NAMES, "MIXED"),
    "other": ("bad", "fair", "good"),
    "plain": tuple(f"LABEL_{i}" for i in range(3)),
  }.items():
    made = {
      **checkpoints.BERT,
      "num_hidden_layers": 1,
      "architectures": ["BertForSequenceClassification"],
      "id2label": {str(i): one for i, one in enumerate(names)},
    }
    checkpoints.write(root / name, "bert", made)
  rows = [
    {"text": "a red dog", "label": DATA[i % 3], "split": split}
    for i, split in enumerate(["train", "validation", "test"] * 3)
  ]
  write_csv(root / "table.csv", rows)
  return root


def stage_of(folder, name, terms=None, **knobs):
  teacher = config.network("bert", pretrained=str(folder / name))
  student = config.network(
    "text_transformer", vocabulary=12, num_classes=3, length=8
  )
  data = config.data(
    "manifest",
    root=str(folder / "table.csv"),
    columns={"text": "text", "label": "label"},
    classes=DATA,
    tokenizer=str(folder / "order"),
    length=8,
  )
  stage = config.stage(
    student,
    terms=terms or {"kd": config.term("kd")},
    teachers={"teacher": config.frozen(teacher, **knobs)},
  )
  plan = config.experiment("x", data=data, stages={"s": stage})
  return build.build(workdir.resolve(plan), "s")


def selected(*classes):
  head = config.head("select", classes=classes)
  return {"kd": config.term("kd", heads={"teacher": head})}


def test_the_same_classes_in_another_order_are_refused(folder):
  with pytest.raises(UserError) as error:
    class_order.check(stage_of(folder, "order"))
  text = str(error.value)
  assert "'kd' reads 'teacher/logits' as 'teacher'" in text
  assert "NEGATIVE, NEUTRAL, POSITIVE" in text and ", ".join(DATA) in text
  line = "heads={'teacher': head('select', classes=(2, 0, 1))}"
  assert line in text
  class_order.check(stage_of(folder, "order", selected(2, 0, 1)))
  class_order.check(stage_of(folder, "same"))
  with pytest.raises(UserError, match=r"classes=\(2, 0, 1\)"):
    class_order.check(stage_of(folder, "order", selected(0, 1, 2)))


def test_a_classifier_of_more_classes_is_selected_from(folder):
  with pytest.raises(UserError, match=r"classes=\(2, 0, 1\)"):
    class_order.check(stage_of(folder, "more"))
  class_order.check(stage_of(folder, "more", selected(2, 0, 1)))


def test_a_metric_on_the_teachers_logits_is_compared_too(folder):
  one = stage_of(folder, "order", selected(2, 0, 1))
  read = {"student": "teacher/logits"}
  metrics = {"teacher": config.metric("classification", reads=read).to_dict()}
  one.config["metrics"] = metrics
  with pytest.raises(UserError, match="The metrics 'teacher'"):
    class_order.check(one)


def test_other_names_are_listed_side_by_side(folder, capsys):
  class_order.check(stage_of(folder, "other"))
  text = capsys.readouterr().err
  assert "0 bad / positive, 1 fair / negative, 2 good / neutral" in text
  for name in ("plain", "same"):
    class_order.check(stage_of(folder, name))
    assert not capsys.readouterr().err


def test_features_of_another_classifier_are_not_compared(folder):
  read = {"student": "student/embedding", "teacher": "teacher/embedding"}
  head = {"student": config.head("linear")}
  term = config.term("cosine", reads=read, heads=head)
  class_order.check(stage_of(folder, "order", {"cosine": term}))


def test_names_are_read_from_config_json(folder):
  assert pretrained.class_names(str(folder / "order")) == NAMES
  assert pretrained.class_names(str(folder / "plain")) == ()


@pytest.mark.parametrize("chunks", [1, 2])
def test_texts_of_a_pair_are_told_apart_by_the_tokenizer(folder, chunks):
  one = stage_of(folder, "same", chunks=chunks)
  teacher = one.objective.teachers["teacher"]
  # The tokenizer of the checkpoints names no separator.
  assert teacher.separator == checkpoints.END
  assert "separator" not in one.config["teachers"]["teacher"]["frozen"]

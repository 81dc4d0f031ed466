"""Labels of single examples beside mixed ones are refused."""

import numpy as np
import pytest

from kdjax import config, registry
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build, mixed_labels
from kdjax.training import workdir

N, K = 12, 3
MIXED = ("to_float|mixup", "to_float|cutmix")
AT_STRONG = "student@strong/logits"


def reads_of(name):
  """Addresses for a loss: the label where it takes ids, or else logits."""
  about = registry.describe("losses", name)
  reads = {}
  for argument in about.reads:
    kind = about.annotations[argument]
    at = "batch/label" if kind.startswith("Int") else "student/logits"
    if argument not in about.optional:
      reads[argument] = (at, at) if kind.startswith("tuple") else at
  return reads


LABELLED = [
  name
  for name in registry.names("losses")
  if "batch/label" in reads_of(name).values()
]


@pytest.fixture(autouse=True)
def held():
  split = np.array(["train", "validation", "test"] * (N // 3))
  image = np.zeros((N, 4, 4, 1), np.uint8)
  hot = np.zeros((N, K), np.int32)
  values = np.zeros(N, np.float32)
  for name, rest in (
    ("ids", {"label": np.arange(N) % K}),
    ("hot", {"label": hot}),
    ("values", {"target": values}),
    ("heights", {"label": np.arange(N) % K, "height": values}),
  ):
    arrays.hold(name, {"image": image, "split": split, **rest})


def check(terms, *, held="ids", train="to_float", strong=None, **changes):
  pipelines = {"train": {"image": train}}
  if strong:
    pipelines["strong"] = {"image": strong}
  network = config.network("mlp", num_classes=K, modality="image")
  stage = config.stage(
    network,
    terms=terms,
    teachers={"teacher": config.average("student")},
    ema_decay=0.9,
    **changes,
  )
  data = config.data("arrays", held=held, pipelines=pipelines)
  plan = config.experiment("x", data=data, stages={"s": stage})
  mixed_labels.check(build.build(workdir.resolve(plan), "s"))


def test_losses_with_a_label_are_listed():
  assert {"cross_entropy", "dkd", "nkd", "focal", "ca_mkd"} <= {*LABELLED}


@pytest.mark.parametrize("train", MIXED)
@pytest.mark.parametrize("loss", LABELLED)
def test_every_loss_with_a_label_is_refused_under_a_mixture(loss, train):
  terms = {"part": config.term(loss, reads=reads_of(loss))}
  check(terms)
  check(terms, strong=train)
  with pytest.raises(UserError, match="'part' reads 'batch/label'") as error:
    check(terms, train=train)
  assert "'target_cross_entropy'" in str(error.value)
  assert "the view 'train' mixes" in str(error.value)


@pytest.mark.parametrize("mixed", MIXED)
def test_the_view_that_is_read_counts(mixed):
  strong = {"part": config.term("cross_entropy", reads={"student": AT_STRONG})}
  with pytest.raises(UserError, match="the view 'strong' mixes"):
    check(strong, strong=mixed)
  check(strong, train=mixed, strong="to_float")
  both = {"student": ("student/logits", AT_STRONG), "label": "batch/label"}
  with pytest.raises(UserError, match=r"student@strong/logits"):
    check({"part": config.term("sskd_transformed", reads=both)}, strong=mixed)


@pytest.mark.parametrize("mixed", MIXED)
def test_the_target_is_that_of_the_mixture_in_training(mixed):
  target = {"part": config.term("target_cross_entropy")}
  check(target, train=mixed)
  check({**target, "kd": config.term("kd")}, train=mixed)
  other = config.term("target_cross_entropy", reads={"student": AT_STRONG})
  with pytest.raises(UserError, match="the target is that of two examples"):
    check({"part": other}, train=mixed, strong="to_float")
  with pytest.raises(UserError, match="the view 'strong' mixes"):
    check({"part": other}, strong=mixed)


@pytest.mark.parametrize("mixed", MIXED)
def test_several_labels_and_targets_of_the_data_have_no_mixture(mixed):
  hot = {"part": config.term("binary_cross_entropy")}
  check(hot, held="hot")
  with pytest.raises(UserError, match="remove mixup or cutmix"):
    check(hot, held="hot", train=mixed)
  value = {"part": config.term("huber")}
  check(value, held="values")
  with pytest.raises(UserError, match=r"'batch/target'.*is that of one"):
    check(value, held="values", train=mixed)


@pytest.mark.parametrize("mixed", MIXED)
def test_another_value_of_one_example_is_refused(mixed):
  value = {"part": config.term("huber", reads={"target": "batch/height"})}
  check(value, held="heights")
  with pytest.raises(UserError, match=r"'batch/height'.*remove mixup"):
    check(value, held="heights", train=mixed)


def test_a_term_that_is_only_measured_is_not_refused():
  measured = config.term("cross_entropy", weight=0.0)
  terms = {"part": measured, "kd": config.term("kd")}
  check(terms, train=MIXED[0])
  with pytest.raises(UserError, match="'part'"):
    check(terms, train=MIXED[0], grid={"part/weight": (0.0, 1.0)})


def test_a_chained_head_is_followed():
  first = config.term("mse", heads={"student": config.head("linear")})
  second = config.term("cross_entropy", reads={"student": "heads/one/student"})
  with pytest.raises(UserError, match=r"'two'.*student/logits"):
    check({"one": first, "two": second}, train=MIXED[0])

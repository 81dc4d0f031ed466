"""Numbers of terms, heads, schedules and grids that are out of range."""

import math

import pytest

from kdjax import config, registry
from kdjax.errors import UserError
from kdjax.stage import ranges

OPTIONS = [
  (loss, option)
  for loss in registry.names("losses")
  for option, note in registry.describe("losses", loss).annotations.items()
  if option in registry.describe("losses", loss).options and "float" in note
]


def stage(term, **changes):
  network = config.network("mlp", num_classes=3)
  return config.stage(network, terms={"part": term}, **changes).to_dict()


def check(term, **changes):
  ranges.check("s", stage(term, **changes))


def refused(term, match, **changes):
  with pytest.raises(UserError, match=match):
    check(term, **changes)


@pytest.mark.parametrize(("loss", "option"), OPTIONS)
def test_every_number_of_every_loss_has_a_range(loss, option):
  check(config.term(loss))
  allowed = ranges.range_of(option)
  for value in (math.nan, math.inf, -math.inf):
    refused(config.term(loss, **{option: value}), rf"part\.{option} is")
  if option.endswith("temperature"):
    assert allowed is ranges.POSITIVE
    for value in (0.0, -1.0):
      refused(config.term(loss, **{option: value}), f"{option} is .* above 0")
    falls = config.schedule("linear", 4.0)
    refused(config.term(loss, **{option: falls}), rf"{option}\.end is 0")
    rises = config.schedule("constant", 4.0, warmup=3)
    refused(config.term(loss, **{option: rises}), rf"{option}\.warmup")
    for value in (1e-3, config.schedule("cosine", 4.0, end=1.0)):
      check(config.term(loss, **{option: value}))
  if option == "label_smoothing":
    for value in (-0.1, 1.1):
      refused(config.term(loss, **{option: value}), "from 0 to 1")
    check(config.term(loss, **{option: 1.0}))


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_weight_is_finite_and_not_negative(value):
  refused(config.term("kd", weight=value), r"s\.terms\.part\.weight is")
  to = config.schedule("linear", 1.0, end=value)
  refused(config.term("kd", weight=to), r"weight\.end is .*end\.")
  part = config.term("dist", intra_weight=value)
  refused(part, r"intra_weight is")
  weights = (1.0, value)
  part = config.term("cross_entropy", class_weights=weights)
  refused(part, "class_weights is")


def test_grids_heads_and_optimizers_have_ranges():
  kd = config.term("kd")
  refused(kd, "grid.*is 0", grid={"part/temperature": (4.0, 0.0)})
  refused(kd, "grid.*is -1", grid={"part/weight": (-1.0, 1.0)})
  check(kd, grid={"part/temperature": (4.0, 1.0), "part/weight": (0.0, 1.0)})
  scaled = config.term("kd", heads={"student": config.head("proxy")})
  check(scaled)
  memory = config.head("in_batch", temperature=0.0)
  refused(
    config.term("crd", heads={"student": memory}),
    r"heads\.student\.temperature is 0",
  )
  for name, value in (("learning_rate", -1.0), ("b1", 1.0)):
    rule = config.optimizer("adamw", **{name: value})
    refused(kd, rf"optimizer\.{name} is", optimizer=rule)
  refused(kd, "ema_decay is 1", ema_decay=1.0)


def test_schedules_of_weights_may_start_and_end_at_0():
  for schedule in (
    config.schedule("linear", 1.0),
    config.schedule("cosine", 1.0, warmup=10),
    config.schedule("step", 1.0, milestones=(0.5, 0.75)),
    config.schedule("decay", 1.0),
  ):
    check(config.term("kd", weight=schedule))
  bad = config.schedule("step", 1.0, milestones=(0.5,), factor=-1.0)
  refused(config.term("kd", weight=bad), "factor")


def test_options_of_own_losses_have_the_ranges_of_their_names(tmp_path):
  file = tmp_path / "mine.py"
  file.write_text(
    "def mine(student, teacher, *, my_temperature: float = 1.0,"
    ' border: float = -1.0):\n  """Mine."""\n  return student\n'
  )
  check(config.term(str(file), border=-2.0))
  refused(config.term(str(file), my_temperature=0.0), "my_temperature is 0")

"""Every method makes stages that trace, by listing the room."""

import inspect
import pathlib
import re

import pytest

from kdjax import config, registry
from kdjax.config import fields, head, network, stage, teacher, term
from kdjax.stage import build
from kdjax.training import check, workdir

ROOT = pathlib.Path(__file__).parents[1]

CLASSES = 10
VIEWS = ("strong", "rotate90", "rotate180", "rotate270")


def networks(name):
  """A student and a teacher that a method is for: unlike in all that may be."""
  if config.kind_of(name) == "transformers":
    return [
      network(
        "patch_transformer",
        num_classes=CLASSES,
        width=width,
        depth=depth,
        heads=2,
        **({"distillation_token": own} if name == "deit" else {}),
      )
      for width, depth, own in ((8, 2, True), (12, 4, False))
    ]
  if config.kind_of(name) == "towers":
    return [
      network(
        "two_tower",
        encoders={
          "image": network("conv", widths=(width,)),
          "text": network("text_transformer", vocabulary=17, width=width),
        },
        num_classes=CLASSES,
        width=width,
      )
      for width in (4, 6)
    ]
  return [
    network("conv", widths=widths, num_classes=CLASSES)
    for widths in ((4, 6), (5, 8))
  ]


def base(name):
  student, _ = networks(name)
  return stage(
    student,
    teachers={"teacher": teacher("teacher")},
    terms={"cross_entropy": term("cross_entropy", label_smoothing=0.1)},
    batch_size=8,
    steps=24,
  )


def around(name, **options):
  """An experiment of a teacher and a method's stages."""
  _, larger = networks(name)
  supervised = {"cross_entropy": term("cross_entropy")}
  return config.experiment(
    "method",
    data=config.data("digits", views=VIEWS),
    stages={
      "teacher": stage(larger, terms=supervised, batch_size=8),
      **config.method(name, base(name), **options),
    },
  )


@pytest.fixture(params=registry.names("methods"), scope="module")
def name(request):
  return request.param


def test_a_method_traces(name):
  plain = workdir.resolve(around(name))
  check.plan(plain, [one for one in plain["order"] if one != "teacher"])


@pytest.mark.parametrize(
  "name",
  [name for name in config.methods() if config.kind_of(name) == "classes"],
)
def test_a_method_is_found_on_the_digits_by_its_name(name):
  plan = fields.load(f"{ROOT / 'configs' / 'digits.py'}:method={name}")
  plain = workdir.resolve(plan)
  assert plain["gains"] == ((name, "alone"),)
  # Networks of unlike widths and one of them with this method, above.
  build.build(plain, name)


def test_a_method_leaves_the_stage_it_was_given(name):
  given = base(name)
  before = given.to_json()
  made = registry.find("methods", name)(given)
  assert given.to_json() == before
  assert made and all(isinstance(one, config.ConfigDict) for one in made)


def test_a_method_keeps_the_options_of_the_supervised_term(name):
  made = registry.find("methods", name)(base(name))[-1]
  found = made.terms.cross_entropy
  assert found.loss == "cross_entropy" and "weight" in found
  if name != "label_smoothing":
    assert found.label_smoothing == 0.1


def test_a_methods_options_are_keywords_with_defaults_and_described(name):
  function = registry.find("methods", name)
  parameters = dict(inspect.signature(function).parameters)
  first = next(iter(parameters))
  assert first == "stage"
  del parameters[first]
  for option, parameter in parameters.items():
    assert parameter.kind == inspect.Parameter.KEYWORD_ONLY
    assert parameter.default is not inspect.Parameter.empty, option
    assert re.search(rf"^ *{option}: ", inspect.getdoc(function), re.MULTILINE)


def test_a_method_says_formula_paper_defaults_needs_and_costs(name):
  about = registry.describe("methods", name)
  assert about.summary.endswith(".")
  assert re.search(r"^ *loss\w* *=", about.doc, re.MULTILINE)
  assert re.search(r"arXiv:|\b(19|20)\d\d\b", about.doc)
  for word in ("Defaults:", "Needs:", "Costs:", "Returns:"):
    assert word in about.doc, word


def test_the_last_stage_of_a_method_is_measured_like_the_one_it_was_given(name):
  given, made = base(name), registry.find("methods", name)(base(name))[-1]
  for knob in ("batch_size", "steps", "select", "eval_every"):
    assert made[knob] == given[knob]
  assert "classification" in made.metrics


def test_every_head_of_the_room_is_used_by_a_method_or_stands_alone():
  sources = [
    pathlib.Path(registry.describe("methods", one).path).read_text()
    for one in registry.names("methods")
  ]
  said = set(re.findall(r'"(\w+)"', "".join(sources)))
  alone = {"mlp", "select", "negative_mean"}
  assert set(registry.names("heads")) - said <= alone


def test_kd_shares_the_weight_between_teacher_and_labels():
  (made,) = registry.find("methods", "kd")(
    base("kd"), temperature=2.0, weight=0.75
  )
  assert made.terms.kd.weight == 0.75
  assert made.terms.cross_entropy.weight == 0.25
  assert made.terms.kd.temperature == 2.0


def test_a_stage_can_have_terms_of_two_methods():
  (made,) = registry.find("methods", "kd")(base("kd"))
  (both,) = registry.find("methods", "fitnet")(made)
  assert {"cross_entropy", "kd", "fitnet"} <= set(both.terms)


def test_a_head_shared_with_nobody_is_an_error_that_lists_those_there_are():
  given = base("kd")
  given.terms.hint = term("mse", heads={"student": head("linear")})
  given.terms.other = term(
    "mse", heads={"student": config.same_head("hnt", argument="student")}
  )
  plain = workdir.resolve(
    config.experiment(
      "shared",
      data=config.data("digits"),
      stages={
        "teacher": stage(
          networks("kd")[1], terms={"cross_entropy": term("cross_entropy")}
        ),
        "student": given,
      },
    )
  )
  with pytest.raises(check.UserError, match="Did you mean 'hint/student'"):
    build.build(plain, "student")


def test_the_zoo_runs_every_method_and_gives_no_reason_for_another():
  plan = fields.load(str(ROOT / "configs" / "zoo.py"))
  ranked = {better for better, _ in plan.gains}
  assert set(registry.names("methods")) <= ranked
  assert set(plan.notes) <= ranked
  assert all(name in plan.stages for pair in plan.gains for name in pair)

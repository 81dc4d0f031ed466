"""The contract of a method: each file of kdjax/methods returns valid stages."""

import inspect
import pathlib
import re

import pytest
from contracts import must

from kdjax import config, registry
from kdjax.config import fields, head, network, stage, teacher, term
from kdjax.stage import build
from kdjax.training import check, workdir

ROOT = pathlib.Path(__file__).parents[1]

CLASSES = 10
VIEWS = ("strong", "rotate90", "rotate180", "rotate270")


def networks(name):
  """A student and a teacher of a method's kind, with different sizes."""
  if config.kind_of(name) == "transformers":
    return [
      network(
        "patch_transformer",
        num_classes=CLASSES,
        width=width,
        depth=depth,
        heads=2,
        patch=4,
        pooling="cls",
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
  if config.kind_of(name) == "writers":
    return [
      network(
        "encoder_decoder",
        encoders={"image": network("conv", widths=(width,))},
        vocabulary=17,
        width=width,
        heads=2,
      )
      for width in (4, 6)
    ]
  return [
    network("conv", widths=widths, num_classes=CLASSES)
    for widths in ((4, 6), (5, 8))
  ]


def measured(name):
  """What is measured of the networks of a method."""
  if config.kind_of(name) != "writers":
    return {}
  return {
    "metrics": {},
    "select": "loss/cross_entropy",
    "select_mode": "min",
  }


def labels(name, **options):
  """The cross-entropy with what the networks of a method predict."""
  target = "text" if config.kind_of(name) == "writers" else "label"
  reads = {"label": f"batch/{target}"}
  return {"cross_entropy": term("cross_entropy", reads=reads, **options)}


def base(name):
  student, _ = networks(name)
  return stage(
    student,
    teachers={"teacher": teacher("teacher")},
    terms=labels(name, label_smoothing=0.1),
    **measured(name),
    batch_size=8,
    steps=24,
    optimizer=config.optimizer("sgd", learning_rate=0.1),
  )


def around(name, **options):
  """An experiment with a teacher and a method's stages."""
  _, larger = networks(name)
  return config.experiment(
    "method",
    data=config.data("digits", views=VIEWS),
    stages={
      "teacher": stage(
        larger, terms=labels(name), batch_size=8, **measured(name)
      ),
      **config.method(name, base(name), **options),
    },
  )


def plan(plain):
  """Checks the stages of a method as `check.plan`, without their teacher's.

  That stage is the same for all methods: one test traces it.
  """
  check.plan(plain, [name for name in plain["order"] if name != "teacher"])


@pytest.fixture(params=registry.names("methods"), scope="module")
def name(request):
  return request.param


def returned(name):
  """The stages that a method returns for `base(name)`."""
  return registry.find("methods", name)(base(name))


def test_a_method_traces(name):
  sentence = (
    f"The stages of kdjax/methods/{name}.py must trace with default options, on"
    " student and teacher networks of different widths: add heads where sizes"
    " differ, and read only outputs that networks have"
    " (`kdjax list models conv`)."
  )
  with must(sentence):
    plan(workdir.resolve(around(name)))


@pytest.mark.parametrize("method", ["kd", "pkd", "clip_kd", "gkd"])
def test_the_teacher_of_every_kind_of_networks_traces(method):
  check.plan(workdir.resolve(around(method)), ["teacher"])


@pytest.mark.parametrize(
  "name",
  [name for name in config.methods() if config.kind_of(name) == "classes"],
)
def test_a_method_runs_on_the_digits_by_its_name(name):
  sentence = (
    f"configs/digits.py:method={name} must build: addresses of the teacher's"
    " outputs must be options of the method (`teacher_map`, `teacher_maps`,"
    " `teacher_preacts`, `teacher_norms`), which configs/digits.py sets."
  )
  with must(sentence):
    plan = fields.load(f"{ROOT / 'configs' / 'digits.py'}:method={name}")
    plain = workdir.resolve(plan)
    assert plain["gains"] == ((name, "alone"),)
    build.build(plain, name)


def test_a_method_does_not_change_its_argument(name):
  stage_before = base(name)
  text = stage_before.to_json()
  stages = registry.find("methods", name)(stage_before)
  assert stage_before.to_json() == text, (
    f"`{name}` must not change the stage that it is called with: change a copy,"
    " as `extended(stage, terms)` makes it."
  )
  assert stages and all(isinstance(one, config.ConfigDict) for one in stages), (
    f"`{name}` must return a list of stages, such as"
    " [extended(stage, {...})]."
  )


def test_a_method_keeps_the_options_of_the_supervised_term(name):
  sentence = (
    f"The last stage of `{name}` must keep the stage's `cross_entropy` with its"
    " options: build it with `extended`, and change the term's weight alone"
    " (labels=..)."
  )
  with must(sentence):
    supervised = returned(name)[-1].terms.cross_entropy
    assert supervised.loss == "cross_entropy" and "weight" in supervised
    if name != "label_smoothing":
      assert supervised.label_smoothing == 0.1


def test_a_methods_options_are_keywords_with_defaults_and_described(name):
  function = registry.find("methods", name)
  parameters = dict(inspect.signature(function).parameters)
  first = next(iter(parameters))
  assert first == "stage", f"`{name}` must have `stage` as its first argument."
  del parameters[first]
  doc = inspect.getdoc(function)
  for option, parameter in parameters.items():
    assert parameter.kind == inspect.Parameter.KEYWORD_ONLY, (
      f"`{option}` of `{name}` must be keyword-only: put it behind `*`."
    )
    assert parameter.default is not inspect.Parameter.empty, (
      f"`{option}` of `{name}` must have a default, the paper's."
    )
    assert re.search(rf"^ *{option}: ", doc, re.MULTILINE), (
      f"The docstring of `{name}` must describe `{option}` under Args."
    )


def test_a_methods_docstring_has_formula_paper_defaults_needs_and_costs(name):
  about = registry.describe("methods", name)
  assert about.summary.endswith("."), (
    f"The docstring of `{name}` must begin with a sentence of one line."
  )
  assert re.search(r"^ *loss\w* *=", about.doc, re.MULTILINE), (
    f"The docstring of `{name}` must have the formula, on a line `loss = ...`."
  )
  assert re.search(r"arXiv:|\b(19|20)\d\d\b", about.doc), (
    f"The docstring of `{name}` must cite its paper, with year and arXiv id."
  )
  for word in ("Defaults:", "Needs:", "Costs:", "Returns:"):
    assert word in about.doc, (
      f"The docstring of `{name}` must have a paragraph '{word}'."
    )


def test_the_last_stage_of_a_method_is_evaluated_like_its_argument(name):
  argument, last = base(name), returned(name)[-1]
  for knob in ("batch_size", "steps", "select", "eval_every"):
    assert last[knob] == argument[knob], (
      f"The last stage of `{name}` must have the stage's `{knob}`, so that"
      " methods are compared with one budget."
    )
  assert last.metrics.keys() == argument.metrics.keys(), (
    f"The last stage of `{name}` must keep the stage's metrics."
  )


def test_every_head_is_used_by_a_method_or_is_known_to_be_general():
  sources = [
    pathlib.Path(registry.describe("methods", one).path).read_text()
    for one in registry.names("methods")
  ]
  used = set(re.findall(r'"(\w+)"', "".join(sources)))
  general = {"mlp", "select", "negative_mean", "bridge"}
  general |= {"masked_decoder", "patches"}  # of `configs/pretrain.py`
  unused = set(registry.names("heads")) - used - general
  assert not unused, (
    f"No method uses the heads {sorted(unused)}: use them in a method, or add"
    " them to `general` in this test."
  )


def test_kd_shares_the_weight_between_teacher_and_labels():
  (stage,) = registry.find("methods", "kd")(
    base("kd"), temperature=2.0, weight=0.75
  )
  assert stage.terms.kd.weight == 0.75
  assert stage.terms.cross_entropy.weight == 0.25
  assert stage.terms.kd.temperature == 2.0


def test_a_stage_can_have_terms_of_two_methods():
  (with_kd,) = registry.find("methods", "kd")(base("kd"))
  (both,) = registry.find("methods", "fitnet")(with_kd)
  assert {"cross_entropy", "kd", "fitnet"} <= set(both.terms)


def test_a_shared_head_that_does_not_exist_is_an_error_that_lists_heads():
  student = base("kd")
  student.terms.hint = term("mse", heads={"student": head("linear")})
  student.terms.other = term(
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
        "student": student,
      },
    )
  )
  with pytest.raises(check.UserError, match="Did you mean 'hint/student'"):
    build.build(plain, "student")


def test_the_zoo_runs_every_method_and_gives_no_reason_for_another():
  plan = fields.load(str(ROOT / "configs" / "zoo.py"))
  ranked = {better for better, _ in plan.gains}
  methods = registry.names("methods")
  # Its examples have classes; configs/caption.py runs methods for texts.
  written = {name for name in methods if config.kind_of(name) == "writers"}
  missing = set(methods) - ranked - written
  assert not missing, (
    f"configs/zoo.py must run every method; it lacks {sorted(missing)}:"
    " `kdjax.config.kind_of` must know the kind of networks of each."
  )
  unknown = set(plan.notes) - ranked
  assert not unknown, f"configs/zoo.py has notes on {sorted(unknown)}: remove."
  assert all(name in plan.stages for pair in plan.gains for name in pair)

"""Methods between networks of every kind, traced on shapes.

A cell is a method with a teacher and a student. The outputs of a network are
traced once; a cell traces its heads and losses on their shapes.
"""

import functools
import json
import re
import textwrap

import jax
import jax.numpy as jnp
import numpy as np

from kdjax import config
from kdjax.data import arrays
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.step import state as states
from kdjax.step.flow import Flow
from kdjax.step.terms import Reader
from kdjax.training import workdir

CLASSES, WORDS, ROWS, SIZE = 5, 20, 12, 8
DATA = "matrix"
ROTATIONS = ("rotate90", "rotate180", "rotate270")


def image_cnn(*widths):
  return config.network("conv", widths=widths, num_classes=CLASSES)


def vit(width, depth):
  return config.network(
    "vit",
    width=width,
    depth=depth,
    heads=2,
    inner=width,
    image_size=(SIZE, SIZE),
    patch=4,
    num_classes=CLASSES,
  )


def bert():
  return config.network(
    "bert",
    vocabulary=WORDS,
    width=12,
    depth=2,
    heads=2,
    inner=12,
    length=SIZE,
    num_classes=CLASSES,
  )


def text_transformer():
  return config.network(
    "text_transformer",
    vocabulary=WORDS,
    width=12,
    depth=4,
    num_classes=CLASSES,
  )


def fusion():
  return config.network(
    "fusion",
    encoders={
      "image": config.network("conv", widths=(6, 12)),
      "text": config.network("text_transformer", vocabulary=WORDS, width=12),
    },
    width=12,
    num_classes=CLASSES,
  )


def sensors(name, widths, **options):
  return config.network(
    name, widths=widths, modality="sensors", num_classes=CLASSES, **options
  )


def audio_cnn(*widths):
  return config.network(
    "audio_cnn", widths=widths, modality="sound", num_classes=CLASSES
  )


TEACHERS = {
  "image_cnn": image_cnn(6, 12),
  "vit": vit(12, 4),
  "text_transformer": text_transformer(),
  "bilstm": config.network(
    "bilstm", vocabulary=WORDS, width=6, words=6, num_classes=CLASSES
  ),
  "audio_cnn": audio_cnn(6, 12),
  "sensors": sensors("resnet1d", (6, 12), kernels=(5, 3)),
  "fusion": fusion(),
  "bert": bert(),
}
STUDENTS = {
  "image_cnn": image_cnn(4, 8),
  "vit": vit(8, 2),
  "audio_cnn": audio_cnn(4, 8),
  "text_cnn": config.network(
    "text_cnn",
    vocabulary=WORDS,
    words=6,
    channels=4,
    windows=(2, 3),
    num_classes=CLASSES,
  ),
  "sensors": sensors("series_cnn", (4, 8)),
}


def hold():
  """Random examples; texts, sounds and sensors have padding."""
  rng = np.random.default_rng(3)
  lengths = rng.integers(2, SIZE + 1, (3, ROWS))
  words, frames, steps = np.arange(SIZE) < lengths[..., None]
  normal = lambda *shape: rng.normal(size=(ROWS, *shape)).astype(np.float32)
  arrays.hold(
    DATA,
    {
      "image": normal(SIZE, SIZE, 3),
      "text": rng.integers(1, WORDS, (ROWS, SIZE)).astype(np.int32),
      "mask/text": words,
      "sound": normal(SIZE, 10),
      "mask/sound": frames,
      "sensors": normal(SIZE, 3),
      "mask/sensors": steps,
      "label": (np.arange(ROWS) % CLASSES).astype(np.int32),
    },
  )


def data():
  strong = {
    "image": "flip",
    "text": "token_dropout(rate=0.1)",
    "sound": "spec_augment",
    "sensors": "jitter|rotate3d",
  }
  turned = {view: {"image": "flip"} for view in ROTATIONS}
  return config.data(
    "arrays",
    held=DATA,
    validation=0.25,
    test=0.25,
    pipelines={"strong": strong, **turned},
  )


def experiment(method, teacher, student, **knobs):
  """A teacher's stage, and those of a method with a student."""
  labels = {"cross_entropy": config.term("cross_entropy")}
  knobs = {"batch_size": 4, "steps": 2, **knobs}
  base = config.stage(
    STUDENTS[student],
    teachers={"teacher": config.teacher("teacher")},
    terms=labels,
    **knobs,
  )
  return config.experiment(
    "matrix",
    seeds=1,
    data=data(),
    stages={
      "teacher": config.stage(TEACHERS[teacher], terms=labels, **knobs),
      **config.method(method, base),
    },
  )


def outcome(method, teacher, student):
  """None if a cell traces, else the sentences of its refusal."""
  try:
    plain = workdir.resolve(experiment(method, teacher, student))
    for name in plain["order"]:
      if name != "teacher":
        trace(build.build(plain, name))
  except UserError as error:
    return str(error)
  return None


@functools.cache
def batch():
  """The shapes of a batch with all views."""
  stage = build.build(
    workdir.resolve(experiment("kd", "image_cnn", "image_cnn")), "kd"
  )
  size = stage.config["batch_size"]
  raw = {
    key: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype)
    for key, leaf in stage.example().items()
  }
  run = functools.partial(stage.objective.views, train=True)
  return jax.eval_shape(run, raw)


_traced = {}


def traced(network, view=""):
  """The shapes of a network's variables and outputs; None without the view."""
  key = (repr(network), view)
  if key not in _traced:
    shapes = batch()
    flow = Flow({"it": network}, {}, {}, None, shapes)
    try:
      inputs = flow.inputs("it", view)
    except UserError:
      _traced[key] = None
      return None
    run = lambda inputs: network.init_with_output(
      {"params": jax.random.key(0)}, inputs, train=False
    )
    outputs, variables = jax.eval_shape(run, inputs)
    _traced[key] = variables, outputs
  return _traced[key]


_cells = {}


def trace(stage):
  """Traces the heads and losses of a stage on its networks' shapes."""
  objective = stage.objective
  modules = {**objective.networks, **objective.teachers}
  key = (
    json.dumps(stage.config["terms"], sort_keys=True, default=str),
    stage.config["batch_size"],
    str([[(at, _shape(modules, at)) for at in objective.addresses]]),
  )
  if key not in _cells:
    try:
      _trace(stage, modules)
      _cells[key] = None
    except UserError as error:
      _cells[key] = error
  if _cells[key] is not None:
    raise _cells[key]


def _shape(modules, at):
  """The shape at an address of a network."""
  if at.network not in modules:
    return None
  found = traced(modules[at.network], at.view)
  if found is None or at.output.startswith("params/"):
    return str(modules[at.network])
  return getattr(found[1].get(at.output), "shape", None)


def _trace(stage, modules):
  objective = stage.objective
  outputs, variables, teachers = {}, {"networks": {}, "heads": {}}, {}
  for name, module in modules.items():
    kept = variables["networks"] if name in objective.networks else teachers
    for view in ("", "strong", *ROTATIONS):
      found = traced(module, view)
      if found is not None:
        kept[name], outputs[name, view] = found
  fixed = jax.eval_shape(stage.fixed, teachers)

  def run(variables, fixed, shapes, outputs, key):
    flow = Flow(
      objective.networks,
      objective.teachers,
      variables,
      fixed,
      shapes,
      key=key,
      train=True,
      written=objective.views.generated,
    )
    flow.outputs |= outputs

    def create(adapter, *reads, **extra):
      made = adapter.module.init(jax.random.key(0), *reads, **extra)
      flow.collections["heads"][adapter.name] = states.split(made)[1]
      return made

    reader = Reader(objective.terms, flow, create=create)
    return objective.values(reader, jnp.int32(0))

  flat = {f"{name}@{view}": leaf for (name, view), leaf in outputs.items()}
  keyed = lambda tree: {tuple(key.split("@")): tree[key] for key in tree}

  def totals(variables, fixed, shapes, flat):
    values = run(variables, fixed, shapes, keyed(flat), jax.random.key(1))
    return {name: value.part for name, value in values.items()}

  jax.eval_shape(totals, variables, fixed, batch(), flat)


REASONS = {
  "compares positions": "positions of both networks are of one input",
  "compares attention": "both networks are Transformers",
  "margins from batch norms": "the teacher has batch norms before its maps",
  "images with texts": "both networks have towers of images and of texts",
  "writes no text": "both networks write texts",
  "No view": "both networks have the views, by default rotations of an image",
}
LETTERS = dict(zip(STUDENTS, "IVATS", strict=True))
START, END = "<!-- matrix -->", "<!-- /matrix -->"


def pairs():
  """All pairs of a teacher and a student."""
  return [(teacher, student) for teacher in TEACHERS for student in STUDENTS]


def reason(sentence):
  """The key of `REASONS` that a refusal is of; None if it is of none."""
  return next((key for key in REASONS if key in sentence), None)


def alternatives(sentence):
  """The names of the two methods that a refusal says to use; () if none."""
  found = re.findall(r"Use a method .*, such as '(\w+)' or '(\w+)'", sentence)
  return found[0] if len(found) == 1 else ()


def block(outcomes):
  """The lines of the guide: which methods run with which networks.

  Args:
    outcomes: (method, teacher, student) -> None or the refusal.
  """
  methods = sorted({method for method, _, _ in outcomes})
  refused = {
    method: found
    for method in methods
    if (
      found := {
        outcomes[method, *pair] for pair in pairs() if outcomes[method, *pair]
      }
    )
  }
  runs = [
    sum(outcomes[method, *pair] is None for method in methods)
    for pair in pairs()
  ]
  yield (
    f"{len(methods) - len(refused)} of {len(methods)} methods run in all"
    f" {len(pairs())} pairs; a pair has {min(runs)} to {max(runs)}."
  )
  yield ""
  yield f"| refused | {' | '.join(f'`{it}`' for it in TEACHERS)} |"
  yield f"| :-- |{' :-- |' * len(TEACHERS)}"
  for method in refused:
    cells = [
      "".join(
        letter
        for student, letter in LETTERS.items()
        if outcomes[method, teacher, student] is None
      )
      for teacher in TEACHERS
    ]
    yield f"| `{method}` | {' | '.join(cell or '-' for cell in cells)} |"
  yield ""
  for key, needs in REASONS.items():
    names = [
      f"`{method}`"
      for method, found in refused.items()
      if any(reason(sentence) == key for sentence in found)
    ]
    if names:
      line = f"- {', '.join(names)}: refused unless {needs}."
      yield textwrap.fill(line, 120, subsequent_indent="  ")


def steps(method, teacher, student, count=2):
  """The losses of each step of each stage of a cell, really trained."""
  plain = workdir.resolve(experiment(method, teacher, student))
  losses = {}
  for name in plain["order"][1:]:
    stage = build.build(plain, name)
    source = stage.load("train")
    example = stage.example()
    teachers = {
      key: module.init(
        jax.random.key(1),
        stage.objective.flow({}, None, example).inputs(key),
        train=False,
      )
      for key, module in stage.objective.teachers.items()
      if key not in stage.objective.averages
    }
    fixed = stage.fixed(teachers)
    state, step = jax.jit(stage.init)(0, fixed), jax.jit(stage.train_step)
    rows = stage.config["batch_size"]
    for number in range(count):
      batch = {
        **source.take((np.arange(rows) + number) % len(source)),
        "view": np.zeros(rows, np.int32),
        "valid": np.ones(rows, bool),
      }
      state, metrics = step(state, fixed, batch)
      losses[name, number] = float(metrics["loss"])
  return losses

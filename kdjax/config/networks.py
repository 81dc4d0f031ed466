"""Which networks a stage has, and which teach it."""

from kdjax.config.fields import ConfigDict, knobs_of, optional, options_of
from kdjax.errors import UserError

# What may be said of a teacher that is a network.
KNOBS = {
  # Of its activations: "float32", "bfloat16"; "": as the experiment's.
  "dtype": "",
  # Into how many parts it takes a batch, one after another, to save memory.
  "chunks": 1,
  # Whether it runs beside the step, in a program of its own.
  "separate": False,
  # Where its outputs are kept, in place of running it again: a path or URL
  # (`kdjax cache` makes it); "auto": in the workdir, made by `kdjax run`
  # where that pays. "": it runs.
  "cache": "",
  # How a cache keeps them: float32, bfloat16, float16, int8, or of logits
  # top<k>. By output: {"logits": "top10"}; others are float32.
  "store": "float32",
  # What the classes get that top<k> left out: "spread", what is left of the
  # probability; "drop", nothing.
  "rest": "spread",
}


def network(
  name: str,
  *,
  init_from: str | None = None,
  pretrained: str | None = None,
  from_layers: str | tuple[int, ...] | None = None,
  arrays: tuple[str, dict[str, str]] | None = None,
  **options,
) -> ConfigDict:
  """A network, with the fields of its `Model`.

  Args:
    name: a file of `kdjax/models`.
    init_from: the stage whose network of the same key it starts from; another
      one of that stage is "stage/network".
    pretrained: a checkpoint whose weights it starts from: a folder,
      "package:name/folder" or a name of the hub, better with its revision,
      "name@revision". What `options` do not say is the checkpoint's.
    from_layers: where it is shallower or narrower than what it starts from: the
      blocks that its own are, "first", "last", "even" or their numbers, as
      `kdjax.pretrained.inherit` says.
    arrays: an .npz of PyTorch's arrays that it starts from, and of each of its
      layers the name there: {"dense0": "start.{seed}.0", ..}.
    **options: of the network; one that holds networks takes `network()`s.
  """
  if pretrained == "":
    raise UserError(f"A '{name}' pretrained by ''.", "Name a checkpoint.")
  if from_layers is not None and not (init_from or pretrained):
    raise UserError(
      f"A network starts from layers {from_layers}, but of what?",
      "`pretrained` or `init_from` says what it starts from.",
    )
  known = options_of("models", name, options, whole=pretrained is None)
  start = {"pretrained": pretrained, "from_layers": from_layers}
  if arrays is not None:
    start["arrays"] = dict(zip(("path", "layers"), arrays, strict=True))
  start = {key: value for key, value in start.items() if value is not None}
  return ConfigDict(
    {"name": name, "init_from": optional(init_from, str), **start, **known}
  )


def teacher(
  stage: str, *, network: str = "student", paired: bool = True, **changes
) -> ConfigDict:
  """A frozen network: the one that an earlier stage trained.

  Args:
    stage: the stage that trained it.
    network: which network of that stage.
    paired: each seed learns from the teacher of its own seed; otherwise all
      learn from the first seed's.
    **changes: `which` of its variables, "best" by validation or "last"; and
      those of `KNOBS` that differ.
  """
  knobs = knobs_of(
    {"which": "best", **KNOBS}, changes, "the knobs of a teacher"
  )
  return ConfigDict(
    {"stage": stage, "network": network, "paired": paired, **knobs}
  )


def frozen(network: ConfigDict, **changes) -> ConfigDict:
  """A frozen network with published weights.

  Args:
    network: from `network(.., pretrained=..)`.
    **changes: those of `KNOBS` that differ.
  """
  if "pretrained" not in network:
    raise UserError(
      f"A frozen '{network['name']}' without weights.",
      'Say which: network("bert", pretrained="name@revision").',
    )
  knobs = knobs_of(KNOBS, changes, "the knobs of a frozen teacher")
  return ConfigDict({"frozen": network, "paired": False, **knobs})


def outputs(path: str, *, rest: str = "spread") -> ConfigDict:
  """A teacher that ran elsewhere: `kdjax cache import` took its outputs.

  They are of the training examples as they are, whatever augmentation shows the
  student. Terms that read them are computed in training alone.

  Args:
    path: of the cache, or its URL.
    rest: what the classes get that top<k> left out, as of `teacher()`.
  """
  return ConfigDict({"outputs": path, "rest": rest, "paired": False})


def average(network: str = "student") -> ConfigDict:
  """A teacher that is the running average of a network of its own stage.

  The stage's `ema_decay` says how slowly it follows.

  Args:
    network: which of the stage's networks.
  """
  return ConfigDict({"average_of": network})

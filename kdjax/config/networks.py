"""The networks of a stage, and its teachers."""

from kdjax.config.fields import ConfigDict, optional, options_of
from kdjax.config.knobs import Knob, documented, values
from kdjax.errors import UserError

# Of a teacher that is a network.
FROZEN = {
  "dtype": Knob(
    "", 'Of its activations: "float32" or "bfloat16"; "" is the experiment\'s.'
  ),
  "chunks": Knob(
    1, "Parts of a batch that it takes one after another, to save memory."
  ),
  "separate": Knob(
    False, "Whether it runs in a program of its own, outside of the step."
  ),
  "cache": Knob(
    "",
    "Where its outputs are stored, so that it runs once: a path or URL, made by"
    ' `kdjax cache`. "auto": in the workdir, made by `kdjax run` where that'
    ' saves time. "": no cache.',
  ),
  "store": Knob(
    "float32",
    "How a cache stores outputs: float32, bfloat16, float16, int8; of logits"
    ' also top<k>, of wide vectors pca<k>. By output: {"logits": "top10"};'
    " others are float32.",
  ),
  "rest": Knob(
    "spread",
    'What classes outside of top<k> get: "spread", the remaining probability in'
    ' equal shares; "drop", nothing.',
  ),
}

TEACHER = {
  "which": Knob("best", 'Its variables: "best" on validation, or "last".'),
  **FROZEN,
}


def network(
  name: str,
  *,
  init_from: str | None = None,
  pretrained: str | None = None,
  from_layers: str | tuple[int, ...] | None = None,
  arrays: tuple[str, dict[str, str]] | None = None,
  still: bool | str | tuple[str, ...] = (),
  rates: dict[str, float | ConfigDict] | None = None,
  lora: int = 0,
  cache: str = "",
  **options,
) -> ConfigDict:
  """A network, with the options of its `Model`.

  A network inside of another, such as an encoder of `fusion`, has an origin and
  parts held still of its own.

  Args:
    name: a file of `kdjax/models`, or a name as `kdjax.find` takes it.
    init_from: the stage that trained its first variables: those of the network
      with the same key; of another one, "stage/network"; or of a part,
      "stage/image". The last layer, `head`, and parts that the source lacks
      start fresh.
    pretrained: a checkpoint with its first weights: a folder,
      "package:name/folder", or a name on the hub, best with a revision,
      "name@revision". Options that are not set are the checkpoint's.
    from_layers: which blocks of the source a shallower or narrower network
      starts from: "first", "last", "even" or their numbers; see
      `kdjax.pretrained.inherit`.
    arrays: (path, layers): an .npz of PyTorch arrays with its first weights,
      and layer -> name of the arrays: {"dense0": "start.{seed}.0", ..}.
    still: the parts that do not train, by their paths, with * and ?, or "!" for
      those that do: ("encoders/text", "embeddings", "block0[0-3]"); True is
      all. They need an origin; they have no gradient and no place in
      checkpoints.
    rates: part -> factor of the learning rate, a number or a `schedule()`, in
      the same way: {"encoders/text": 0.1}. The longest that matches counts.
    lora: rank of low-rank adapters of its matrices; all else but `head` is held
      still. 0 is none. Hu et al., "LoRA", ICLR 2022, arXiv:2106.09685.
    cache: of a part with still=True, where its outputs are stored, so that it
      runs once for each training example, as that of a teacher: "auto", a path
      or URL; "" is no cache.
    **options: of the network; one that contains networks takes `network()`s.

  Raises:
    UserError: an option does not exist; `from_layers` without a source; or
      `cache` of a network that trains.
  """
  if pretrained == "":
    raise UserError(
      f"The network '{name}' has pretrained=''.",
      "Expected a folder or the name of a checkpoint.",
    )
  if from_layers is not None and not (init_from or pretrained):
    raise UserError(
      f"The network '{name}' has from_layers={from_layers!r} and no source.",
      "Set `pretrained` or `init_from` too.",
    )
  known = options_of("models", name, options, whole=pretrained is None)
  start = {"pretrained": pretrained, "from_layers": from_layers}
  if still:
    start["still"] = ("",) if still is True else still
  if rates:
    start["rates"] = dict(rates)
  if lora < 0 or (lora and still):
    raise UserError(
      f"The network '{name}' has lora={lora} and still={still!r}.",
      "Expected a rank of 1 or more, which holds all still but `head`.",
    )
  if lora:
    start["lora"] = lora
  if cache and still is not True:
    raise UserError(
      f"The network '{name}' has cache='{cache}' and still={still!r}.",
      "Outputs of a part that trains change: set still=True.",
    )
  if cache:
    start["cache"] = cache
  if arrays is not None:
    start["arrays"] = dict(zip(("path", "layers"), arrays, strict=True))
  start = {key: value for key, value in start.items() if value is not None}
  return ConfigDict(
    {"name": name, "init_from": optional(init_from, str), **start, **known}
  )


@documented(TEACHER)
def teacher(
  stage: str, *, network: str = "student", paired: bool = True, **changes
) -> ConfigDict:
  """A frozen network that an earlier stage trained.

  Args:
    stage: the stage that trained it.
    network: its name in that stage.
    paired: True: each seed learns from the teacher of its own seed. False: all
      learn from the first seed's.
    **changes: knobs that differ from their defaults.
  """
  knobs = values(TEACHER, changes, "the knobs of a teacher")
  return ConfigDict(
    {"stage": stage, "network": network, "paired": paired, **knobs}
  )


@documented(FROZEN)
def frozen(network: ConfigDict, **changes) -> ConfigDict:
  """A frozen network with published weights, or with arrays.

  Args:
    network: from `network(.., pretrained=..)` or `network(.., arrays=..)`.
    **changes: knobs that differ from their defaults.

  Raises:
    UserError: the network has no weights.
  """
  if "pretrained" not in network and "arrays" not in network:
    raise UserError(
      f"The frozen network '{network['name']}' has no weights.",
      'Name them: network("bert", pretrained="name@revision").',
    )
  knobs = values(FROZEN, changes, "the knobs of a frozen teacher")
  return ConfigDict({"frozen": network, "paired": False, **knobs})


def outputs(path: str, *, rest: str = "spread") -> ConfigDict:
  """A teacher of which only outputs exist, from `kdjax cache import`.

  The outputs are for training examples without augmentation, whatever the
  student's is. Terms that read them are computed in training alone.

  Args:
    path: path or URL of the cache.
    rest: as in `teacher()`.
  """
  return ConfigDict({"outputs": path, "rest": rest, "paired": False})


def average(network: str = "student") -> ConfigDict:
  """A teacher that is the moving average of a network of the same stage.

  The stage's `ema_decay` is the decay of the average.

  Args:
    network: its name in the stage.
  """
  return ConfigDict({"average_of": network})

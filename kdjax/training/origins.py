"""Where the first variables of networks and their parts come from.

A part starts from an earlier stage (`init_from`), from a published checkpoint
(`pretrained`) or from arrays; all else starts fresh.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kdjax import pretrained
from kdjax.errors import UserError
from kdjax.stage import adoption, build, parts
from kdjax.stage.parts import Part
from kdjax.stage.stage import Stage
from kdjax.step import parts as held
from kdjax.step import quantization
from kdjax.training import stage_variables
from kdjax.types import Variables


def load(
  config: Mapping[str, Any],
  stage: Stage,
  workdir: pathlib.Path,
  name: str,
  seeds: Sequence[int],
) -> list[Variables]:
  """The variables of a network that have an origin, for each seed.

  Args:
    config: of the experiment, as nested dicts.
    stage: that trains the network.
    workdir: that holds earlier stages.
    name: of the network.
    seeds: of the run.

  Raises:
    UserError: a checkpoint does not exist or does not fit.
  """
  loaded: list[Variables] = [{} for _ in seeds]
  for part, template in _parts(stage, name):
    if part.origin == "init_from":
      values = _earlier(config, workdir, name, part, template, seeds)
    elif part.origin == "pretrained":
      module = _module(stage, name, part)
      values = [_published(part.spec, module, template, seed) for seed in seeds]
    else:
      values = [_arrays(part.spec, template, seed) for seed in seeds]
    loaded = [
      held.merged(whole, held.placed(value, part.path))
      for whole, value in zip(loaded, values, strict=True)
    ]
  return loaded


def still(
  config: Mapping[str, Any],
  stage: Stage,
  workdir: pathlib.Path,
  seeds: Sequence[int],
) -> dict[str, list[Variables]]:
  """What each network holds still, for each seed: {network: variables}."""
  found = {}
  for name, patterns in stage.objective.still.items():
    if patterns:
      shared = parts.is_shared(stage.config["networks"][name])
      numbers = seeds[:1] if shared else seeds
      loaded = load(config, stage, workdir, name, numbers)
      found[name] = [held.split(each, patterns)[1] for each in loaded]
      if shared:
        found[name] *= len(seeds)
  return found


def trained(
  config: Mapping[str, Any],
  workdir: pathlib.Path,
  source: tuple[str, str],
  which: str,
  seeds: Sequence[int],
  states: int = 0,
) -> list[Variables]:
  """All variables of a network that a stage trained, still ones included.

  Args:
    config: of the experiment, as nested dicts.
    workdir: that holds the stage.
    source: the names of the stage and of the network.
    which: "best" or "last".
    seeds: of the run.
    states: of the stage, if there are several a seed; 0 is one a seed.
  """
  stage, network = source
  built = build.build(config, stage)
  state, _, _ = built.shapes()
  template = state.best.variables["networks"][network]
  patterns = built.objective.still.get(network, ())
  loaded = stage_variables.load(
    workdir,
    stage,
    network,
    which=which,
    template=template,
    seeds=states or len(seeds),
  )
  if not patterns:
    return loaded
  whole = still(config, built, workdir, seeds)[network]
  per_seed = len(loaded) // len(whole)
  return [
    held.merged(each, whole[place // per_seed])
    for place, each in enumerate(loaded)
  ]


def check(config: Mapping[str, Any], stage: Stage, name: str) -> list[str]:
  """Checks that the origins of a network fit; reads no values.

  Args:
    config: of the experiment, as nested dicts.
    stage: that trains the network.
    name: of the network.

  Returns:
    A sentence for each part that takes arrays of an earlier stage.

  Raises:
    UserError: an origin is missing or does not fit, or a part that is held
      still has none.
  """
  sentences, covered = [], {}
  for part, template in _parts(stage, name):
    what = f"{name}/{part.path}".rstrip("/")
    path, layers = part.spec.get("pretrained"), part.spec.get("from_layers")
    taken = template
    if part.origin == "init_from":
      taken, sentence = _check_earlier(config, name, part, template, what)
      sentences.append(f"{what} starts from {sentence}")
    elif path and layers is None:
      module = _module(stage, name, part)
      pretrained.fit(path, part.spec["name"], module, template)
    elif path:
      whole = pretrained.shapes(path, part.spec["name"], **_classes(part.spec))
      pretrained.fit(path, part.spec["name"], *whole)
      pretrained.origins(template, whole[1], layers)
    else:
      _arrays(part.spec, template, config["seed"])
    covered = held.merged(covered, held.placed(taken, part.path))
  _check_still(stage, name, covered)
  return sentences


def _check_still(stage: Stage, name: str, covered: Variables) -> None:
  """Raises `UserError` for a part that is still and starts fresh."""
  patterns = stage.objective.still.get(name, ())
  _, wanted = held.split(stage.network_shapes()[name], patterns)
  known = set(parts.leaf_paths(covered))
  fresh = [path for path in parts.leaf_paths(wanted) if path not in known]
  if fresh:
    raise UserError(
      f"The network '{name}' holds '{fresh[0].partition('/')[2]}' still, which"
      " starts from nothing.",
      "Set pretrained=, init_from= or arrays= of the part, or let it train.",
    )


def _parts(stage: Stage, name: str) -> Iterator[tuple[Part, Variables]]:
  """The parts of a network with an origin, and their variables' shapes."""
  # Ranges start fresh: the first batch sets them.
  whole = quantization.without_ranges(stage.network_shapes()[name])
  for part in parts.all_of(stage.config["networks"][name]):
    if part.origin:
      yield part, held.at(whole, part.path)


def _module(stage: Stage, name: str, part: Part) -> Any:
  """The Flax module of a part of a network."""
  return part.field(quantization.plain(stage.objective.networks[name]))


def _source(
  config: Mapping[str, Any], name: str, part: Part
) -> tuple[str, str, str]:
  """The stage, network and part's path that `init_from` names."""
  stage, _, rest = part.spec["init_from"].partition("/")
  if stage not in config["stages"]:
    raise UserError(
      f"The network '{name}' starts from the stage '{stage}', which does not"
      " exist.",
      exists=config["order"],
      near=stage,
    )
  networks = config["stages"][stage]["networks"]
  network, _, inside = rest.partition("/")
  if network not in networks:
    network, inside = name if name in networks else "student", rest
  if network not in networks:
    raise UserError(
      f"The stage '{stage}' has no network '{rest or name}', from which"
      f" '{name}' starts.",
      exists=networks,
      near=rest or name,
    )
  path = parts.find(networks[network], inside) if inside else ""
  if path is None:
    raise UserError(
      f"The stage '{stage}' has no network '{rest}', and its '{network}' no"
      f" such part, from which '{name}' starts.",
      exists=[
        *networks,
        *(it.path for it in parts.all_of(networks[network]) if it.path),
      ],
      near=rest,
    )
  return stage, network, path


def _check_earlier(
  config, name: str, part: Part, template: Variables, what: str
) -> tuple[Variables, str]:
  """What a part takes from an earlier stage, and that as a sentence."""
  stage, network, path = _source(config, name, part)
  source = build.build(config, stage).network_shapes()[network]
  source = held.at(quantization.without_ranges(source), path)
  origin = "/".join(filter(None, (stage, network, path)))
  layers = _layers(part.spec)
  if layers is not None:
    pretrained.origins(template, source, layers)
    return template, f"layers {layers!r} of {origin}."
  taken = adoption.adopt(template, source, what, origin)
  leaves = adoption.chosen(template, taken.taken)
  return leaves, f"{origin}: {taken}."


def _earlier(
  config, workdir, name: str, part: Part, template: Variables, seeds
) -> list[Variables]:
  """A part's variables from the best ones of an earlier stage."""
  stage, network, path = _source(config, name, part)
  loaded = trained(config, workdir, (stage, network), "best", seeds)
  loaded = [held.at(quantization.without_ranges(each), path) for each in loaded]
  layers = _layers(part.spec)
  if layers is not None:
    return [pretrained.inherit(template, each, layers) for each in loaded]
  taken = adoption.adopt(template, loaded[0], name, f"{stage}/{network}")
  return [adoption.chosen(each, taken.taken) for each in loaded]


def _arrays(
  spec: Mapping[str, Any], template: Variables, seed: int
) -> Variables:
  """A network's variables from a file of PyTorch arrays."""
  return pretrained.from_arrays(**spec["arrays"], template=template, seed=seed)


def _layers(spec: Mapping[str, Any]) -> Any:
  """The inherited layers of `init_from`.

  With `pretrained` too, they are about the checkpoint of the earlier stage.
  """
  return None if spec.get("pretrained") else spec.get("from_layers")


def _published(
  spec: Mapping[str, Any], module: Any, template: Variables, seed: int
) -> Variables:
  """A network's variables from a published checkpoint, or from its layers."""
  path, name = spec["pretrained"], spec["name"]
  if spec.get("from_layers") is None:
    return pretrained.variables(path, name, module, template, seed)
  _, whole = pretrained.load(path, name, seed=seed, **_classes(spec))
  return pretrained.inherit(template, whole, spec["from_layers"])


def _classes(spec: Mapping[str, Any]) -> dict[str, int]:
  """The options that the whole network of a checkpoint shares with a part."""
  return {key: spec[key] for key in ("num_classes",) if key in spec}

"""The model card of an exported student: README.md, as model hubs show it."""

import pathlib
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import jax
import jinja2
import numpy as np

from kdjax import report
from kdjax.export import snippets
from kdjax.export.folder import CARD
from kdjax.export.measuring import Measurement
from kdjax.report import records
from kdjax.students import gallery as galleries
from kdjax.students.function import Trained
from kdjax.students.inputs import Input, names_of
from kdjax.students.signature import EMBEDDING, WRITTEN, Result, Signature
from kdjax.training import workdir as workdirs

# A drop of accuracy by int8 above which the card warns.
DROP = 0.01

# What a licence is called on model hubs, by how it is stated.
_IDS = {
  "CC BY 4.0": "cc-by-4.0",
  "CC BY-SA 4.0": "cc-by-sa-4.0",
  "": "unknown",
}


def write(
  folder: pathlib.Path,
  workdir: str | pathlib.Path,
  stage: str,
  made: Any,
  own: Mapping[str, float],
) -> None:
  """Writes the card.

  Args:
    folder: of the exported student.
    workdir: that it was trained in.
    stage: that trained it.
    made: the draft: the student, its test examples, what was measured of each
      file, and what was refused.
    own: the student's own scores.
  """
  one, signature = made.whole.trained, made.whole.signature
  files, refused, count = made.files, made.refused, len(made.on)
  config = workdirs.read_config(pathlib.Path(workdir))
  spec = one.stage.config
  licence = getattr(one.stage.dataset, "LICENCE", "")
  text = _template().render(
    name=signature.name,
    stage=stage,
    experiment=config["name"],
    network=spec["networks"]["student"]["name"],
    parameters=f"{_parameters(one):,}",
    repository=_repository(),
    data=spec["data"]["name"],
    teachers=_teachers(config["stages"][stage]["teachers"]),
    tags=[it.kind for it in signature.inputs],
    inputs=[row for it in signature.inputs for row in _input_rows(it)],
    outputs=[_output_row(signature, name) for name in signature.outputs],
    tokenizers=" and ".join(
      f"`{it.name}`" for it in sorted(folder.glob("tokenizer*.json"))
    ),
    own=", ".join(f"{name} {value:.3f}" for name, value in own.items()),
    count=f"{count:,}",
    machine=_machine(),
    has_page=any(it.format == "web" for it in files),
    alone_batch=any("litert" in it.format for it in files),
    files=[_file_row(it, own) for it in files],
    gallery=galleries.FILE if (folder / galleries.FILE).is_file() else "",
    score_names=list(own),
    warnings=_warnings(files, own),
    refused=list(refused.values()),
    snippets=snippets.of(files, signature),
    **_results(workdir, stage),
    seed=one.seed,
    licence=licence or "unknown; yours, if the data are",
    licence_id=_IDS.get(licence, "other"),
    checkpoints=_checkpoints(spec["networks"]["student"]),
    signature_line=f"kdjax {metadata.version('kdjax')}.",
  )
  text = re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"
  (folder / CARD).write_text(text)


def _template() -> jinja2.Template:
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
  )
  return environment.get_template("card.md.jinja")


def _repository() -> str:
  urls = metadata.metadata("kdjax").get_all("Project-URL") or []
  found = [it.partition(", ")[2] for it in urls if it.startswith("Repository")]
  return found[0] if found else ""


def _parameters(one: Trained) -> int:
  tree = one.variables
  if one.with_head:
    tree = tree["stage"]["networks"]["student"]
  return sum(np.size(leaf) for leaf in jax.tree.leaves(tree.get("params", {})))


def _teachers(teachers: Mapping[str, Any]) -> str:
  """What teaches the student, in words."""
  words = []
  for name, spec in teachers.items():
    if "stage" in spec:
      words.append(f"the stage `{spec['stage']}`")
    elif "frozen" in spec:
      words.append(f"a frozen `{spec['frozen']['name']}`")
    else:
      words.append(f"`{name}`")
  return " and ".join(words)


def _input_rows(it: Input) -> list[dict[str, str]]:
  span = "" if it.low is None else f", {it.low:g} to {it.high:g}"
  meanings = {
    it.key: f"{it.kind}{span}",
    f"mask/{it.key}": "False at padding",
    f"has/{it.key}": f"False where `{it.key}` is missing; its values are zeros",
  }
  rate = it.decoding.get("sample_rate")
  if rate:
    meanings[it.key] += f", {rate:,} Hz"
  shapes = {it.key: it.shape, f"mask/{it.key}": it.mask}
  return [
    {
      "name": name,
      "dtype": it.dtype if name == it.key else "bool",
      "shape": ", ".join(map(str, ("B", *(shapes.get(name) or ())))),
      "meaning": meanings[name],
    }
    for name in names_of(it)
  ]


def _output_row(signature: Signature, name: str) -> dict[str, str]:
  result = next((it for it in signature.results if it.name == name), None)
  return {"name": name, "meaning": _meaning(result)}


def _meaning(result: Result | None) -> str:
  if result is None:
    return "features"
  if result.kind == WRITTEN:
    return "token ids of a text, which ends before the first 0"
  if result.kind == EMBEDDING:
    return "embedding of length 1, compared with others by cosine"
  if not result.classes:
    return result.kind
  shown = ", ".join(result.classes[:12])
  more = (
    f", .. {len(result.classes)} in all" if len(result.classes) > 12 else ""
  )
  return f"probabilities of: {shown}{more}"


def _file_row(it: Measurement, own: Mapping[str, float]) -> dict[str, Any]:
  milliseconds = lambda size: (
    f"{1e3 * it.seconds[size]:.2f} ms" if size in it.seconds else "-"
  )
  return {
    "file": it.file,
    "size": f"{it.bytes / 1e3:,.0f} kB",
    "one": milliseconds("1"),
    "many": milliseconds("32"),
    "difference": f"{it.difference:.1g}",
    "scores": [
      f"{it.scores[name]:.3f}" if name in it.scores else "-" for name in own
    ],
    "agreement": "-" if it.agreement is None else f"{it.agreement:.3f}",
  }


def _warnings(
  files: Sequence[Measurement], own: Mapping[str, float]
) -> list[str]:
  """A sentence for each file that is worse by more than a point."""
  return [
    f"`{it.file}` loses {own[name] - it.scores[name]:.3f} {name}: do not ship"
    " it without training with `quantize`."
    for it in files
    for name in own
    if not name.startswith("RMSE")
    and name in it.scores
    and own[name] - it.scores[name] > DROP
  ]


def _results(workdir: str | pathlib.Path, stage: str) -> dict[str, Any]:
  """The test metrics of the run's stages."""
  results = report.summarize(workdir)
  opened = records.read(workdir)
  names = [opened.config["stages"][stage]["select"]]
  rows = [
    {
      "stage": name,
      "numbers": [
        _number(it[metric]) if metric in it else "-" for metric in names
      ],
    }
    for name, it in results["stages"].items()
  ]
  return {"metric_names": names, "results": rows, "seeds": results["seeds"]}


def _number(it: Mapping[str, Any]) -> str:
  deviation = "" if it["std"] is None else f" ± {it['std']:.3f}"
  return f"{it['mean']:.3f}{deviation}"


def _checkpoints(spec: Mapping[str, Any]) -> list[dict[str, str]]:
  """The published checkpoints that a network's parts start from."""
  found = []
  for key, value in spec.items():
    if key == "pretrained" and value:
      found.append({"path": value, "licence": "see its own card; unknown here"})
    elif isinstance(value, Mapping):
      found += _checkpoints(value)
  return found


def _machine() -> str:
  """The processor, in words."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    found = [
      it.partition(": ")[2] for it in lines if it.startswith("model name")
    ]
  except OSError:
    found = []
  return found[0] if found else platform.machine() or "an unknown processor"

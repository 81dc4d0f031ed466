"""Where a run's numbers come from: times, machine, versions, files."""

from kdjax.config import fields, terminal
from kdjax.report import wording
from kdjax.report.document import Grid, Section
from kdjax.report.records import Record

# Files of a workdir that a page links, and what they hold.
FILES = {
  "config.json": "the whole config",
  "environment.json": "versions, devices and the command",
  "metrics.jsonl": "metrics of every step that was recorded",
}
# Files of the report, next to the page.
WRITTEN = {
  "results.json": "the numbers of this page",
  "numbers.csv": "the same, a row for each number of each seed",
}

# Of more stages, only the longest are in the sentence on time.
LISTED = 12

# In the paragraph on the environment; environment.json has more.
PACKAGES = {"jax": "JAX", "flax": "Flax", "optax": "Optax"}


def sections(record: Record, links: str) -> list[Section]:
  """The end of a page: time, environment, files and commands.

  Args:
    record: the run.
    links: the path from the page's folder to the workdir, with a slash; "" is
      the same.
  """
  leaves = fields.flatten(record.environment)
  rows = [
    [path, wording.text(value)]
    for path, value in leaves.items()
    if value is not None and value not in ([], (), "")
  ]
  found = [Section("Environment", [_environment(record), *_time(record)])]
  if rows:
    table = Grid(["environment", "value"], rows, words=2)
    found.append(Section("All versions", grids=[table], folded=True))
  return [*found, _files(record, links), _again(record)]


def _environment(record: Record) -> str:
  """The machine and the versions, in one sentence."""
  it = record.environment
  packages = it.get("packages", {})
  devices = sorted({result["device"] for result in record.results.values()})
  machine = it.get("cpu") or "A machine of unknown type"
  if it.get("cores"):
    machine += f", {it['cores']} cores"
  parts = [machine]
  if it.get("system"):
    parts.append(it["system"])
  parts += [f"devices {', '.join(devices)}"] if devices else []
  if it.get("python"):
    parts.append(f"Python {it['python']}")
  parts += [
    f"{title} {packages[name]}"
    for name, title in PACKAGES.items()
    if name in packages
  ]
  commit = it.get("commit")
  changed = ", with uncommitted changes" * bool(it.get("changed"))
  if commit:
    parts.append(f"kdjax at commit `{commit[:10]}`{changed}")
  return f"{'; '.join(parts)}."


def _time(record: Record) -> list[str]:
  """When the stages were trained, and for how long."""
  times = {
    stage: it["seconds"]
    for stage, it in record.results.items()
    if it.get("seconds")
  }
  if not times:
    return []
  each = ", ".join(
    f"`{name}` {terminal.duration(it)}" for name, it in times.items()
  )
  total = terminal.duration(sum(times.values()))
  if len(times) > LISTED:
    most = sorted(times, key=times.__getitem__)[-3:][::-1]
    each = f"of {len(times)} stages, longest "
    each += ", ".join(f"`{it}` {terminal.duration(times[it])}" for it in most)
  said = f"Training took {total}: {each}." if len(times) > 1 else (
    f"Training took {each}."
  )  # fmt: skip
  ended = wording.finished(record)
  return [
    said,
    *([f"Finished on {ended:%Y-%m-%d at %H:%M} UTC."] if ended else []),
  ]


def _files(record: Record, links: str) -> Section:
  lines = [f"[{name}]({name}): {what}." for name, what in WRITTEN.items()]
  lines += [
    f"[{name}]({links}{name}): {what}."
    for name, what in FILES.items()
    if (record.path / name).exists()
  ]
  return Section("Files", lines)


def _again(record: Record) -> Section:
  """The commands that run the experiment again and use its student."""
  # An absolute path would be valid on this machine only.
  folder = record.name if record.path.is_absolute() else str(record.path)
  stage = record.order[-1]
  command = record.environment.get("command")
  return Section(
    "Run it again",
    sentences=[
      "The first line runs the experiment, or continues it where it stopped."
      if command
      else "It was run from Python with `kdjax.run(config, workdir)`.",
      f'In Python, `model, variables = kdjax.restore("{folder}", "{stage}")` '
      "loads the trained student.",
    ],
    commands=[*([command] if command else []), f"kdjax report {folder}"],
  )

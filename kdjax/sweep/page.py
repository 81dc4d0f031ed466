"""The page of a sweep: sweep.html and sweep.md."""

import dataclasses
from typing import Any

from kdjax.config import strict_json
from kdjax.config.files import write_atomically
from kdjax.report import page, theme
from kdjax.report.document import AbsentError, Document, Drawing, Grid, Section
from kdjax.sweep import figures, final
from kdjax.sweep.study import DIVERGED, FINISHED, RETRY_OF, url
from kdjax.sweep.sweeping import Sweep, text

NAME = "sweep"

READING = [
  "A trial's value is the mean over the sweep's own seeds of the best value on"
  " validation; the highest of many trials is biased upwards.",
  "The claim is the gain of the winner over the default, paired by seed, on"
  " fresh seeds and the test split, which nothing has read before.",
  "A pruned trial was stopped because its value after as many evaluations was"
  " among the worse ones of its Hyperband bracket, as were those of all trials"
  " in its program.",
  "Importance is that of fANOVA (Hutter et al., 2014): the share of the"
  " variance between finished trials that a key explains. It is vague for few"
  " trials.",
]


def write(sweep: Sweep) -> list[str]:
  """Writes sweep.html, sweep.md and their figures.

  Returns:
    What the sweep found, as sentences for the terminal.
  """
  drawings, left_out = [], []
  for name, draw in figures.ALL.items():
    try:
      drawing = draw(sweep.study, sweep.spec.select)
    except AbsentError as error:
      left_out.append(f"{error}")
      continue
    drawing = dataclasses.replace(drawing, name=name)
    drawings.append(drawing)
    for file, content in drawing.files().items():
      write_atomically(sweep.folder / "figures" / file, content)
  made = document(sweep, drawings, left_out)
  write_atomically(sweep.folder / f"{NAME}.md", page.markdown(made))
  path = sweep.folder / f"{NAME}.html"
  write_atomically(path, page.html(made))
  comparison, trials = made.sections[:2]
  best = strict_json.read(sweep.folder / final.WINNER)
  return [
    trials.sentences[0],
    f"Best: trial {best['trial']}, {best['metric']} {best['validation']:.4f} on"
    " validation.",
    *comparison.sentences,
    *best["flags"],
    str(path),
  ]


def document(
  sweep: Sweep, drawings: list[Drawing], left_out: list[str]
) -> Document:
  """The page of a sweep.

  Args:
    sweep: whose trials are finished, and whose winner was trained again.
    drawings: its figures.
    left_out: a sentence for each figure that is absent.
  """
  results = final.results(sweep.folder)
  winner = strict_json.read(sweep.folder / final.WINNER)
  seeds = sweep.options.seeds
  sections = [
    _comparison(sweep, winner, results),
    Section("Trials", [*counts(sweep), *left_out]),
    *(Section(it.section, drawings=[it]) for it in drawings),
    Section("How to read the numbers", READING),
    Section("Every trial", grids=[_trials(sweep)], folded=True),
    Section(
      "Use it",
      sentences=["The winner's values, and the storage in Optuna's dashboard."],
      commands=[
        *winner["flags"],
        f"optuna-dashboard {url(sweep.folder)}",
      ],
    ),
  ]
  return Document(
    title=f"Sweep of {sweep.given.name}, stage {sweep.stage}",
    subtitle=f"{sweep.study.finished()} trials of {seeds} seeds each, by"
    f" {sweep.options.sampler}; {sweep.spec.select} on validation",
    gains=page.gains(results) if results else [],
    sections=sections,
  )


def counts(sweep: Sweep) -> list[str]:
  """What happened to the trials, as sentences."""
  trials = sweep.study.study.get_trials(deepcopy=False)
  count = lambda state: sum(it.state.name == state for it in trials)
  finished = sum(map(count, FINISHED))
  diverged = sum(DIVERGED in it.user_attrs for it in trials)
  retried = sum(RETRY_OF in it.user_attrs for it in trials)
  options = sweep.options
  return [
    f"{finished} trials are finished: {count('COMPLETE')} ran to their end,"
    f" {count('PRUNED')} were pruned, {diverged} of them diverged.",
    f"{retried} trials are of a process that ended before them, and were tried"
    " again.",
    f"Sampler {options.sampler}, pruner {options.pruner}; seeds {options.seed}"
    f" to {options.seed + options.seeds - 1}. The first trial is the default.",
  ]


def _comparison(
  sweep: Sweep, winner: dict[str, Any], results: dict[str, Any] | None
) -> Section:
  """Default against winner: their values, and what they reach."""
  default = winner["default"]
  rows = [
    [key, text(default[key]), text(winner["winner"][key])] for key in default
  ]
  first = _value_of_default(sweep)
  rows.append(
    [
      f"{winner['metric']} on validation, the sweep's seeds",
      "-" if first is None else f"{first:.4f}",
      f"{winner['validation']:.4f}",
    ]
  )
  grid = Grid(["", "default", f"winner, trial {winner['trial']}"], rows)
  title = "Default and winner"
  if results is None:
    return Section(
      title,
      ["The default had the best value on validation: nothing is claimed."],
      [grid],
    )
  stages, metric = results["stages"], winner["metric"]
  names = [sweep.stage, f"{sweep.stage}{final.ENDING}"]
  cells = [theme.mean_and_error(stages[name].get(metric)) for name in names]
  rows.append([f"{metric} on test, fresh seeds", *cells])
  gain = results["gains"].get(f"{names[1]} - {names[0]}")
  return Section(title, _claim(gain, sweep.spec.select_mode), [grid])


def _claim(gain: dict[str, Any] | None, mode: str) -> list[str]:
  """What the fresh seeds say, as sentences."""
  if gain is None or not gain["interval"]:
    return ["There are too few fresh seeds for an interval."]
  low, high = gain["interval"]
  span = theme.bounds(gain["interval"], "+")
  said = (
    f"{theme.mean_and_error(gain, '+')} {gain['metric']}, 95 % interval {span}"
  )
  if low <= 0 <= high:
    return [
      f"The winner's gain over the default is {said}: the interval holds 0, so"
      " the fresh seeds do not show that the winner is better."
    ]
  better = (low > 0) == (mode == "max")
  word = "better" if better else "worse"
  return [f"On fresh seeds the winner is {word} than the default: {said}."]


def _value_of_default(sweep: Sweep) -> float | None:
  for trial in sweep.study.trials():
    if trial.params == sweep.candidate.default:
      return trial.value
  return None


def _trials(sweep: Sweep) -> Grid:
  """A row for every finished trial."""
  keys = list(sweep.candidate.space)
  rows = [
    [
      str(trial.number),
      trial.state.name.lower(),
      "-" if trial.value is None else f"{trial.value:.4f}",
      *(text(trial.params[key]) for key in keys),
    ]
    for trial in sweep.study.trials()
  ]
  head = ["trial", "state", sweep.spec.select, *keys]
  return Grid(head, rows, words=2)

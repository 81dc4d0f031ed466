"""What commands print: progress with the time that remains, tables, JSON."""

import io
import json
import math
import sys

import pytest
import rich.console

from kdjax.config import progress, terminal


class Clock:
  """A clock that the test sets."""

  def __init__(self, monkeypatch):
    self.now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
  return Clock(monkeypatch)


@pytest.fixture
def as_json():
  terminal.use("json")
  yield
  terminal.use("text")


def test_the_time_that_remains_is_that_of_the_later_steps(clock):
  to = io.StringIO()
  shown = progress.Progress(
    "stage", 100, unit="step", note="on", after=0, to=to
  )
  clock.now += 60  # compiling
  shown.update(10, "loss 2")
  assert shown.seconds_left() is None
  clock.now += 8
  shown.update(50, "loss 1")  # 40 steps in 8 s
  assert shown.seconds_left() == pytest.approx(10)
  shown.update(51, "too soon for a line")
  clock.now += 10
  shown.update(100, "loss 0")
  assert to.getvalue().splitlines() == [
    "stage: step 0 of 100, on",
    "stage: step 10 of 100, loss 2",
    "stage: step 50 of 100, loss 1, 10 s left",
    "stage: step 100 of 100, loss 0, 0 s left",
  ]


def test_what_takes_less_than_two_seconds_shows_nothing(clock):
  to = io.StringIO()

  def slowly(seconds):
    for _ in progress.tracked(range(8), "work", unit="records", to=to):
      clock.now += seconds

  slowly(0.2)
  assert to.getvalue() == ""
  slowly(3)
  # The first is no measure of the rest; then 7 records in 21 s.
  first, *_ = to.getvalue().splitlines()
  assert first == "work: 2 of 8 records, 0.333 a second, 18 s left"


def test_what_is_piped_has_no_control_characters_and_a_terminal_a_bar(
  monkeypatch, clock
):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  monkeypatch.setenv("TERM", "xterm")
  for to, bars in ((io.StringIO(), False), (Terminal(), True)):
    for _ in progress.tracked(range(3), "work", to=to):
      clock.now += 6
    assert ("\x1b" in to.getvalue()) == bars


def test_every_line_of_json_is_an_object(as_json, clock, capsys):
  terminal.line("has begun", stage="alone")
  terminal.warn("look out")
  terminal.event("metric", name="loss", value=math.nan)
  shown = progress.Progress("alone", 4, unit="step", after=0, to=sys.stdout)
  clock.now += 6
  shown.update(2, "loss 0.5", loss=0.5)
  shown.close()
  made = terminal.table("title", ["stage"], ["nll"])
  made.add_row("alone", "0.5")
  terminal.print_table(terminal.console(), made)
  out, err = capsys.readouterr()
  events = [json.loads(line) for line in out.splitlines()]
  assert all("time" in it for it in events)
  first, metric, _, later, row = events
  assert (first["stage"], first["message"]) == ("alone", "has begun")
  assert metric["value"] is None
  assert (later["done"], later["total"], later["loss"]) == (2, 4, 0.5)
  assert (row["stage"], row["nll"], row["table"]) == ("alone", "0.5", "title")
  assert json.loads(err)["event"] == "warning"


def test_text_has_no_events(capsys):
  terminal.event("metric", value=1.0)
  terminal.line("finished", stage="alone")
  assert capsys.readouterr().out == "alone: finished\n"


def test_a_table_that_is_piped_is_not_wrapped(capsys):
  made = terminal.table("", ["stage"], ["numbers"])
  made.add_row("x" * 70, "1.0 " * 40)
  terminal.print_table(terminal.console(), made)
  lines = capsys.readouterr().out.splitlines()
  assert any("x" * 70 in it and "1.0 " * 39 in it for it in lines)
  assert all(it == it.rstrip() for it in lines)


def test_a_table_in_a_terminal_has_its_width():
  to = io.StringIO()
  console = rich.console.Console(file=to, width=60, force_terminal=False)
  made = terminal.table("", ["stage"], ["numbers"])
  made.add_row("alone", "1.0 " * 40)
  terminal.print_table(console, made)
  assert max(map(len, to.getvalue().splitlines())) <= 60


@pytest.mark.parametrize(
  ("seconds", "words"),
  [
    (0, "0 s"),
    (0.26, "0.3 s"),
    (34.4, "34 s"),
    (59.7, "1 min 0 s"),
    (725, "12 min 5 s"),
    (12_000, "3 h 20 min"),
    (3599.9, "1 h 0 min"),
  ],
)
def test_a_duration_has_two_units(seconds, words):
  assert terminal.duration(seconds) == words


def test_waiting_for_what_has_no_steps_counts_seconds(monkeypatch):
  monkeypatch.setattr(progress, "AFTER", 0.0)
  to = io.StringIO()
  with progress.waiting("prepare", after=0.0, to=to):
    pass
  assert to.getvalue() == "prepare: 0 s\n"

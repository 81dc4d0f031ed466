"""Every knob once, with its default and its reason.

An experiment is a `ConfigDict` of plain values: names, numbers, addresses. The
functions of this folder build it, `--config.<path>=<value>` changes it, then it
locks. Options of a loss, a network, a head or a data set have their defaults in
their own files; they are read from there, so none is written twice.
"""

from kdjax.config.experiment import experiment, mode_of, stage
from kdjax.config.fields import ConfigDict
from kdjax.config.networks import (
  KNOBS,
  average,
  frozen,
  network,
  outputs,
  teacher,
)
from kdjax.config.parts import (
  READS,
  corruption,
  data,
  head,
  metric,
  same_head,
  term,
)
from kdjax.config.recipes import (
  earlier,
  extended,
  kind_of,
  method,
  methods,
  named,
)
from kdjax.config.results import result
from kdjax.config.rules import optimizer, schedule

__all__ = [
  "KNOBS",
  "READS",
  "ConfigDict",
  "average",
  "corruption",
  "data",
  "earlier",
  "experiment",
  "extended",
  "frozen",
  "head",
  "kind_of",
  "method",
  "methods",
  "metric",
  "mode_of",
  "named",
  "network",
  "optimizer",
  "outputs",
  "result",
  "same_head",
  "schedule",
  "stage",
  "teacher",
  "term",
]

"""What an experiment says: a `ConfigDict` of names, numbers and addresses.

The functions here build it, `--config.<path>=<value>` changes it, then it is
locked. Every knob is written once, with its default and its meaning, in a table
next to its function; options of losses, networks, heads and data sets have
their defaults in their own files. Knows no JAX. Read `experiment.py` first.
"""

from kdjax.config.choices import Chosen, at_point, chosen
from kdjax.config.experiment import experiment, mode_of, stage
from kdjax.config.fields import ConfigDict
from kdjax.config.networks import average, frozen, network, outputs, teacher
from kdjax.config.parts import (
  corruption,
  data,
  drop,
  generated,
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
from kdjax.config.rules import layer_rates, optimizer, schedule

__all__ = [
  "Chosen",
  "ConfigDict",
  "at_point",
  "average",
  "chosen",
  "corruption",
  "data",
  "drop",
  "earlier",
  "experiment",
  "extended",
  "frozen",
  "generated",
  "head",
  "kind_of",
  "layer_rates",
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

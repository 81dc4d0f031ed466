"""The table of methods says what is so."""

import pytest
from absl import flags

from kdjax import config, registry
from kdjax.bench import method_costs
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.training import workdir
from kdjax.verbs import _methods as table
from kdjax.verbs import list as verb


@pytest.fixture
def listed(capsys):
  """Runs `kdjax list WORDS` and gives what it printed."""

  def run(*words):
    values = flags.FlagValues()
    verb.define(values, list(words))
    verb.main(values, values(["kdjax", *words])[1:])
    return capsys.readouterr().out

  return run


@pytest.mark.parametrize("name", registry.names("methods"))
def test_what_was_measured_of_a_method_is_what_it_is(name):
  kept = table.measured()["methods"]
  assert name in kept, "Run `kdjax list methods --measure`."
  made = method_costs.experiment(config.kind_of(name), [name])
  plain = workdir.resolve(made)
  found = method_costs.describe(build.build(plain, name))
  assert {key: kept[name][key] for key in found} == found
  assert kept[name]["stages"] == len(plain["order"]) - 2
  assert kept[name]["step"] > 0


def test_nothing_is_kept_of_a_method_that_is_gone():
  assert set(table.measured()["methods"]) == set(registry.names("methods"))


def test_methods_are_listed_with_paper_and_what_was_measured(listed):
  out = listed("methods")
  rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
  assert set(registry.names("methods")) <= rows.keys()
  assert "Hinton et al., 2014, arXiv:1503.02531" in rows["kd"]
  assert "batch" in rows["rkd"].split() and "example" in rows["kd"].split()
  assert rows["kd"].split()[-1].startswith("x")


def test_every_method_has_a_paper_that_can_be_read():
  for name in registry.names("methods"):
    found = table.paper(registry.describe("methods", name).doc)
    assert found != "-" and found[0].isalpha(), (name, found)


def test_a_paper_is_said_in_short():
  doc = 'One.\n\n  loss = x\n\n  {} "A title", {}. Defaults: "none".'
  cases = {
    ("Ann Ash and Bo Byrd,", "VENUE 2019, arXiv:1234.56789, Eq. (1)"): (
      "Ann Ash and Bo Byrd, 2019, arXiv:1234.56789"
    ),
    ("Ash, Byrd and Crow,", "VENUE 2019"): "Ash et al., 2019",
    ("Ash et al.,", "VENUE 2020"): "Ash et al., 2020",
  }
  for words, expected in cases.items():
    assert table.paper(doc.format(*words)) == expected
  assert table.paper("No paper at all.") == "-"


def test_methods_are_timed_beside_the_student_alone(monkeypatch):
  monkeypatch.setattr(method_costs, "ROUNDS", 1)
  found = method_costs.measure(["dml"])["methods"]["dml"]
  assert found["step"] > 0
  assert found["learns"] > 0 and found["keeps"] == 0
  assert found["reads"] == ["label", "logits"]


def test_only_methods_are_measured(listed):
  with pytest.raises(UserError, match="of methods"):
    listed("losses", "--measure")

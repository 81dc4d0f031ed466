"""The table of methods, `kdjax list methods`, is up to date."""

import pytest
from absl import flags

from kdjax import config, registry
from kdjax.bench import method_costs
from kdjax.errors import UserError
from kdjax.stage import build
from kdjax.training import workdir
from kdjax.verbs import _method_table as table
from kdjax.verbs import list as verb


@pytest.fixture
def listed(capsys):
  """Runs `kdjax list WORDS` and returns its output."""

  def run(*words):
    values = flags.FlagValues()
    verb.define(values, list(words))
    verb.main(values, values(["kdjax", *words])[1:])
    return capsys.readouterr().out

  return run


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names("methods"))
def test_measured_properties_of_a_method_are_up_to_date(name):
  measured = table.measured()["methods"]
  assert name in measured, (
    f"kdjax/methods/measured.json must have the new method '{name}': run"
    " `kdjax list methods --measure`."
  )
  plan = method_costs.experiment(config.kind_of(name), [name])
  plain = workdir.resolve(plan)
  traced = method_costs.describe(build.build(plain, name))
  assert {key: measured[name][key] for key in traced} == traced, (
    f"'{name}' has changed since it was measured: run"
    " `kdjax list methods --measure`."
  )
  assert measured[name]["stages"] == len(plain["order"]) - 2
  assert measured[name]["step"] > 0


def test_measured_methods_all_exist():
  gone = set(table.measured()["methods"]) - set(registry.names("methods"))
  assert not gone, (
    f"kdjax/methods/measured.json has {sorted(gone)}, which have no file: run"
    " `kdjax list methods --measure`."
  )


def test_methods_are_listed_with_paper_and_what_was_measured(listed):
  out = listed("methods")
  rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
  assert set(registry.names("methods")) <= rows.keys()
  assert "Hinton et al., 2014, arXiv:1503.02531" in rows["kd"]
  assert "batch" in rows["rkd"].split() and "example" in rows["kd"].split()
  assert rows["kd"].split()[-1].startswith("x")


def test_the_paper_of_every_method_is_parsed():
  for name in registry.names("methods"):
    paper = table.paper(registry.describe("methods", name).doc)
    assert paper != "-" and paper[0].isalpha(), (
      f"The docstring of `{name}` must cite its paper as"
      f' Authors, "Title", venue year, arXiv:id; read: {paper}.'
    )


def test_a_citation_is_shortened():
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


@pytest.mark.slow
def test_methods_are_timed_with_the_student_alone(monkeypatch):
  monkeypatch.setattr(method_costs, "ROUNDS", 1)
  costs = method_costs.measure(["dml"])["methods"]["dml"]
  assert costs["step"] > 0
  assert costs["learns"] > 0 and costs["keeps"] == 0
  assert costs["reads"] == ["label", "logits"]


def test_only_methods_are_measured(listed):
  with pytest.raises(
    UserError, match="--measure does not apply to 'kdjax list losses'"
  ):
    listed("losses", "--measure")

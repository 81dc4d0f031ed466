"""kdjax/methods/README.md: its rows, counts and example fit the folder."""

import pathlib
import re

import pytest
import test_methods

from kdjax import registry
from kdjax.config import fields
from kdjax.training import check, workdir

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "kdjax" / "methods" / "README.md").read_text()
GUIDE = README.partition("## Which method when")[2].partition("\n## ")[0]
ZOO = README.partition("## The zoo")[2].partition("\n## ")[0]
CONTRACT = README.partition("## The contract")[2]
METHODS = set(registry.names("methods"))

# Rows of the zoo that are no methods: students alone and their teachers.
BASELINES = {
  f"{family}{role}"
  for family in ("", "sight-", "towers-")
  for role in ("alone", "teacher")
}


def rows():
  """The first cells of the zoo's tables."""
  return re.findall(r"^\| `([\w-]+)` \|", ZOO, re.MULTILINE)


def test_every_method_has_a_row_or_a_reason_for_none():
  excused = set(re.findall(r"^- `(\w+)`: not in the zoo, ", ZOO, re.MULTILINE))
  missing = METHODS - {*rows()} - excused
  assert not missing, (
    f"kdjax/methods/README.md lacks {sorted(missing)}: add the row of a run of"
    ' configs/zoo.py, or the line "- `NAME`: not in the zoo, because .." below'
    " the tables."
  )


def test_every_row_is_a_method_or_a_baseline():
  unknown = {*rows()} - METHODS - BASELINES
  assert not unknown, (
    f"kdjax/methods/README.md has rows of {sorted(unknown)}, which have no file"
    " in kdjax/methods: remove them."
  )
  assert len(rows()) == len({*rows()}), "A method has two rows."


def test_every_method_is_in_the_guide():
  missing = METHODS - set(re.findall(r"`(\w+)`", GUIDE))
  assert not missing, (
    f'"Which method when" of kdjax/methods/README.md must name'
    f" {sorted(missing)}."
  )


def test_counts_are_those_of_the_folder():
  counts = re.findall(r"(\d+) methods", README)
  assert counts and {*map(int, counts)} == {len(METHODS)}, (
    f"kdjax/methods/README.md must say that there are {len(METHODS)} methods."
  )


def test_remarks_are_on_methods_that_the_config_changes():
  plan = fields.load(str(ROOT / "configs" / "zoo.py"))
  remarks = re.findall(r"^- ((?:`\w+`(?:, )?)+): ", ZOO, re.MULTILINE)
  named = set(re.findall(r"\w+", " ".join(remarks)))
  assert named - set(plan.notes) <= METHODS - {*rows()}
  assert set(plan.notes) <= named, (
    "kdjax/methods/README.md must have a remark on each method in `notes` of"
    " configs/zoo.py."
  )


@pytest.fixture(scope="module")
def example(tmp_path_factory):
  """The path of the README's method, which takes the place of a name."""
  (block,) = re.findall(r"```python\n(.*?)```", CONTRACT, re.DOTALL)
  (name,) = re.findall(r"^def (\w+)\(", block, re.MULTILINE)
  path = tmp_path_factory.mktemp("methods") / f"{name}.py"
  path.write_text(block)
  return str(path)


def test_the_example_fulfils_the_contract(example):
  test_methods.test_a_method_does_not_change_its_argument(example)
  test_methods.test_a_method_keeps_the_options_of_the_supervised_term(example)
  test_methods.test_a_methods_options_are_keywords_with_defaults_and_described(
    example
  )
  doc = "test_a_methods_docstring_has_formula_paper_defaults_needs_and_costs"
  getattr(test_methods, doc)(example)
  test_methods.test_the_last_stage_of_a_method_is_evaluated_like_its_argument(
    example
  )


def test_the_example_traces(example):
  plain = workdir.resolve(test_methods.around(example))
  assert pathlib.Path(example).stem in plain["order"]
  check.plan(plain, [stage for stage in plain["order"] if stage != "teacher"])

"""`kdjax list` shows what there is, plainly and whole."""

import sys

import pytest
from absl import flags

from kdjax import registry
from kdjax.errors import UserError
from kdjax.verbs import list as verb

MINE = '''
def mine(student, teacher=None, *, margin, power: float = 2.0, kind="a"):
  """Matches what [nobody] else matches, at :heart: length: {words}.

  Me, "A paper", [B T].
  """
'''


@pytest.fixture
def listed(capsys):
  """Runs `kdjax list WORDS` and gives what it printed."""

  def run(*words):
    values = flags.FlagValues()
    verb.define(values, list(words))
    values(["kdjax"])
    verb.main(values, list(words))
    return capsys.readouterr().out

  return run


@pytest.fixture
def mine(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text(MINE.format(words="long " * 100))
  return str(path)


def test_all_kinds_are_listed_with_all_names_and_summaries(listed):
  out = listed()
  assert set(verb.KINDS) == set(registry.ENTRIES)
  for kind in registry.ENTRIES:
    assert f"\n{kind} (" in out
    for name in registry.names(kind):
      summary = registry.describe(kind, name).summary
      assert any(
        line.split(None, 1) == [name, summary] for line in out.splitlines()
      ), (kind, name)


def test_one_kind_is_listed_without_the_others(listed):
  out = listed("losses")
  assert "cross_entropy" in out
  assert "classification" not in out
  assert len(out.split("\n")) == len(registry.names("losses")) + 3


def test_one_component_shows_reads_options_docstring_and_file(listed):
  out = listed("losses", "kd")
  assert "reads      student: Float[Array, 'B *T K']\n" in out
  assert "options    temperature: float = 4.0\n" in out
  assert "student_temperature: float | None = None\n" in out
  assert f"file       {registry.PACKAGE / 'losses' / 'kd.py'}\n" in out
  assert registry.describe("losses", "kd").doc in out


@pytest.mark.parametrize("kind", registry.ENTRIES)
def test_everything_can_be_shown(listed, kind):
  for name in registry.names(kind):
    out = listed(kind, name)
    about = registry.describe(kind, name)
    assert about.doc in out
    for option in about.options:
      assert option in out


def test_a_component_from_outside_is_shown_whole(listed, mine):
  out = listed("losses", mine)
  assert "reads      student\n             teacher  (optional)\n" in out
  assert "options    margin = (required)\n" in out
  assert "power: float = 2.0\n" in out
  assert "kind = 'a'\n" in out
  assert "Matches what [nobody] else matches, at :heart: length:" in out
  assert "long " * 99 in out
  assert out.endswith('Me, "A paper", [B T].\n')


def test_output_to_a_pipe_has_no_colours_and_no_trailing_spaces(listed):
  out = listed() + listed("losses", "kd")
  assert "\x1b" not in out
  assert all(line == line.rstrip() for line in out.splitlines())


def test_an_unknown_kind_is_answered_with_the_known_ones(listed):
  with pytest.raises(UserError, match=r"Did you mean 'losses'.*metrics"):
    listed("loses")


def test_an_unknown_name_is_answered_with_the_nearest(listed):
  message = r"Did you mean 'kd'.*`kdjax list losses` lists all"
  with pytest.raises(UserError, match=message):
    listed("losses", "kdd")


def test_a_third_word_is_an_error(listed):
  with pytest.raises(UserError, match="'more' is one word too many"):
    listed("losses", "kd", "more")


def test_nothing_that_is_listed_is_imported(listed, tmp_path):
  path = tmp_path / "never.py"
  path.write_text('"""A loss."""\nraise SystemExit\n')
  assert "A loss." in listed("losses", str(path))
  assert not [name for name in sys.modules if name.endswith("never")]

"""The command as a user types it, right and wrong."""

import json
import pathlib
import re
import subprocess
import sys

import pytest
import rich.console

from kdjax import cli, registry
from kdjax.config import fields
from kdjax.errors import UserError
from kdjax.verbs import _method_table

ROOT = pathlib.Path(__file__).parents[1]

HEAD = """
from kdjax import config

conv = lambda **options: config.network("conv", widths=(4,), **options)
ce = {"cross_entropy": config.term("cross_entropy")}
knobs = {"steps": 4, "batch_size": 16}

def plan(teacher, student, data=None, **term):
  return config.experiment(
    "wrong",
    seeds=1,
    data=data or config.data("digits"),
    stages={
      "teacher": config.stage(teacher, terms=ce, **knobs),
      "distilled": config.stage(
        student,
        teachers={"teacher": config.teacher("teacher")},
        terms={"kd": config.term("kd", **term)},
        **knobs,
      ),
    },
  )

def get_config(arg=""):
"""


@pytest.fixture
def attempt(tmp_path, capsys):
  """Runs a config's body and flags; gives the message of exit code 2."""

  def run(body, *flags, verb="run"):
    path, workdir = tmp_path / "wrong.py", tmp_path / "out"
    path.write_text(HEAD + f"  return {body}\n")
    with pytest.raises(SystemExit) as stop:
      cli.main([verb, f"--config={path}", f"--workdir={workdir}", *flags])
    assert stop.value.code == 2
    assert not workdir.exists(), "something was written"
    error = capsys.readouterr().err
    assert error.startswith("kdjax: ") and error.count("\n") == 1
    assert "Traceback" not in error
    return error

  return run


SOUND = "plan(conv(num_classes=10), conv(num_classes=10))"


def test_an_unknown_key_is_an_error_with_the_nearest(attempt):
  error = attempt(SOUND, "--config.stages.distilled.terms.kd.temprature=2")
  assert "No 'temprature' in config.stages.distilled.terms.kd" in error
  assert "Did you mean 'temperature'" in error


def test_a_wrong_type_is_an_error_with_the_expected_one(attempt):
  error = attempt(SOUND, "--config.stages.teacher.steps=many")
  assert "config.stages.teacher.steps" in error and "many" in error
  assert "int" in error


def test_a_number_for_a_group_is_an_error_with_its_fields(attempt):
  error = attempt(SOUND, "--config.stages.teacher.optimizer=0.1")
  assert "config.stages.teacher.optimizer holds several values" in error
  assert "learning_rate" in error


def test_a_config_file_must_return_a_config(attempt):
  assert "returned a dict" in attempt("{'name': 'wrong'}")


def test_an_unknown_option_in_a_config_file_is_an_error(attempt):
  error = attempt("plan(conv(num_clases=10), conv(num_classes=10))")
  assert "Did you mean 'num_classes'" in error


def test_an_address_that_no_network_records(attempt):
  error = attempt(
    "plan(conv(num_classes=10), conv(num_classes=10),"
    " reads={'student': 'student/logit'})"
  )
  assert "No 'student/logit'" in error and "student/logits" in error
  assert "Stage 'distilled'" in error


def test_different_numbers_of_classes_and_the_head_that_maps_them(attempt):
  error = attempt("plan(conv(num_classes=10), conv(num_classes=4))")
  assert "select" in error and "4]" in error and "10]" in error
  from kdjax.training import check, workdir

  space = {}
  exec(HEAD + "  pass", space)
  chosen = space["config"].head("select", classes=(0, 1, 2, 3))
  plan = space["plan"](
    space["conv"](num_classes=10),
    space["conv"](num_classes=4),
    heads={"teacher": chosen},
  )
  # The student's four classes have no labels here: accuracy is not the point.
  check.plan(workdir.resolve(plan), ["teacher"])


def test_a_modality_that_the_data_lacks(attempt):
  error = attempt(
    "plan(conv(num_classes=10, modality='depth'), conv(num_classes=10))"
  )
  assert "reads 'depth', which the data lacks" in error
  assert "image" in error and "text" in error


def test_a_batch_that_the_devices_do_not_divide(attempt):
  error = attempt(SOUND, "--config.stages.distilled.batch_size=12")
  assert "12 cannot be split over 8 devices" in error


def test_a_workdir_that_cannot_be_written(tmp_path, capsys):
  (tmp_path / "file").write_text("in the way")
  path = tmp_path / "sound.py"
  path.write_text(HEAD + f"  return {SOUND}\n")
  with pytest.raises(SystemExit) as stop:
    cli.main(["run", f"--config={path}", f"--workdir={tmp_path}/file/out"])
  assert stop.value.code == 2
  assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
def test_a_checkpoint_of_another_architecture(tmp_path, capsys):
  path, workdir = tmp_path / "sound.py", tmp_path / "out"
  command = ["run", f"--config={path}", f"--workdir={workdir}"]
  path.write_text(HEAD + f"  return {SOUND}\n")
  cli.main([*command, "--stage=teacher"])
  # As if the network's code had changed and the config had not.
  wider = "plan(conv(num_classes=10, kernel=5), conv(num_classes=10))"
  path.write_text(HEAD + f"  return {wider}\n")
  stored = workdir / "config.json"
  config = json.loads(stored.read_text())
  config["stages"]["teacher"]["networks"]["student"]["kernel"] = 5
  stored.write_text(json.dumps(config))
  capsys.readouterr()
  with pytest.raises(SystemExit) as stop:
    cli.main([*command, "--stage=teacher", "--config.stages.teacher.steps=8"])
  assert stop.value.code == 2
  error = capsys.readouterr().err
  assert "another architecture" in error
  assert "kernel has shape [3, 3, 1, 4], here [5, 5, 1, 4]" in error
  assert (workdir / "stages" / "teacher" / "checkpoints" / "4").exists()


def test_an_unknown_verb(capsys):
  with pytest.raises(SystemExit) as stop:
    cli.main(["rum"])
  assert stop.value.code == 2
  error = capsys.readouterr().err
  assert "No verb 'rum'" in error and "Did you mean 'run'" in error


def test_an_unknown_flag_and_a_missing_file(attempt, capsys, tmp_path):
  assert "wrkdir" in attempt(SOUND, "--wrkdir=x")
  with pytest.raises(SystemExit):
    cli.main(["run", "--config=configs/digit.py", f"--workdir={tmp_path}"])
  error = capsys.readouterr().err
  assert "The config file 'configs/digit.py' does not exist." in error
  assert "Did you mean 'configs/digits.py'" in error


def test_a_value_of_stages_is_named_with_a_stage(attempt):
  error = attempt(SOUND, "--config.steps=5")
  assert "'steps' is a value of each stage" in error
  assert "--config.stages." in error and ".steps=..." in error


def test_a_value_of_the_config_as_a_flag_is_answered_with_its_name(attempt):
  assert "Write --config.seeds=..." in attempt(SOUND, "--seeds=1")


def test_a_config_without_its_flag_is_answered_with_it(capsys):
  with pytest.raises(SystemExit):
    cli.main(["run", "configs/digits.py"])
  error = capsys.readouterr().err
  assert "Write kdjax run --config=configs/digits.py" in error


def test_a_workdir_that_is_a_file_is_refused_before_the_config_is_traced(
  tmp_path, monkeypatch
):
  from kdjax.training import check, experiment

  monkeypatch.setattr(check, "plan", lambda *_: pytest.fail("traced"))
  path = tmp_path / "notes.md"
  path.write_text("mine")
  plan = fields.load(str(ROOT / "configs/digits.py"))
  with pytest.raises(UserError, match="is a file"):
    experiment.run(plan, path)
  assert path.read_text() == "mine"


def test_the_version_is_that_of_the_package(capsys):
  cli.main(["--version"])
  assert capsys.readouterr().out.startswith("kdjax 0.")


def test_an_unknown_stage(attempt):
  assert "Did you mean 'distilled'" in attempt(SOUND, "--stage=distiled")


def test_missing_flags_are_named(capsys):
  with pytest.raises(SystemExit) as stop:
    cli.main(["run"])
  assert stop.value.code == 2
  assert "--config and --workdir" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["", *cli.verbs()])
def test_help_describes_the_commands(verb, capsys):
  cli.main([*([verb] if verb else []), "--help"])
  printed = capsys.readouterr().out
  assert "kdjax" in printed and "Traceback" not in printed
  if verb:
    assert f"kdjax {verb}" in printed


def test_help_with_a_config_prints_what_it_says_of_its_arguments(capsys):
  cli.main(["run", "--help", f"--config={ROOT}/configs/digits.py:smoke"])
  printed = capsys.readouterr().out
  assert "`smoke` is two seeds of a few steps" in printed
  assert "--config: (required)" in printed
  assert "--workdir: (required)" in printed


def given(*flags):
  """The config of some flags."""
  values, _ = cli.parse(
    [f"--config={ROOT}/configs/digits.py:smoke", *flags], cli.define_config
  )
  return values.config


def test_a_value_that_may_be_none_is_set_to_none_by_a_flag():
  flag = "--config.data.labelled_fraction"
  assert given().data.labelled_fraction == 0.25
  assert given(f"{flag}=0.5").data.labelled_fraction == 0.5
  assert given(f"{flag}=None").data.labelled_fraction is None
  with pytest.raises(UserError, match="None"):
    given("--config.stages.alone.batch_size=None")


def test_a_flag_changes_a_stage_whose_name_is_no_name_in_python(tmp_path):
  """Such as with a hyphen; each way to write its value."""
  path = tmp_path / "hyphens.py"
  path.write_text(
    "from kdjax.config import data, experiment, network, stage, term\n"
    "net = network('conv', num_classes=10, widths=(4,))\n"
    "terms = {'cross-entropy': term('cross_entropy')}\n"
    "def get_config(argument=''):\n"
    "  stages = {'my-net': stage(net, terms=terms)}\n"
    "  few = data('digits', labelled_fraction=0.5)\n"
    "  return experiment('hyphens', data=few, stages=stages)\n"
  )
  flag = "--config.stages.my-net"
  words = [f"--config={path}", f"{flag}.steps=7", f"{flag}.batch_size", "8"]
  words.append(f"{flag}.terms.cross-entropy.weight=0.5")
  values, rest = cli.parse(words, cli.define_config)
  changed = values.config.stages["my-net"]
  assert (changed.steps, changed.batch_size, rest) == (7, 8, [])
  assert changed.terms["cross-entropy"].weight == 0.5
  with pytest.raises(UserError, match="No 'my-nets' in "):
    cli.parse([words[0], "--config.stages.my-nets.steps=7"], cli.define_config)


def test_a_change_of_no_config_is_an_error(capsys):
  with pytest.raises(SystemExit):
    cli.main(["run", "--workdir=x", "--config.seeds=3"])
  assert "Write --config=path.py too." in capsys.readouterr().err


def test_the_first_line_comes_before_jax_is_loaded(tmp_path):
  """What the command prints at once; JAX takes seconds."""
  code = (
    "import sys; from kdjax import cli\n"
    "class Stop(Exception): pass\n"
    "class Finder:\n"
    "  def find_spec(self, name, *_):\n"
    "    if name in ('jax', 'flax', 'optax'): raise Stop(name)\n"
    "sys.meta_path.insert(0, Finder())\n"
    "cli.main(sys.argv[1:])\n"
  )
  config = f"--config={ROOT}/configs/digits.py:smoke"
  done = subprocess.run(
    [sys.executable, "-c", code, "run", config, f"--workdir={tmp_path}/run"],
    capture_output=True, text=True, check=False,
  )  # fmt: skip
  assert "Stop: " in done.stderr
  assert done.stdout == f"{tmp_path}/run: teacher, alone, distilled\n"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_column_is_lost_in_a_narrow_terminal(width, monkeypatch, capsys):
  monkeypatch.setattr(rich.console.Console, "is_terminal", True)
  monkeypatch.setenv("COLUMNS", str(width))
  cli.main(["list", "methods"])
  out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
  assert "…" not in out
  for head in _method_table.COLUMNS:
    assert re.search(rf"^ .*\b{head}\b", out, re.MULTILINE), head
  stored = _method_table.measured()["methods"]
  for name in registry.names("methods"):
    assert _method_table.paper(registry.describe("methods", name).doc) in out
    assert f"x{stored[name]['step']:.2f}" in out


def test_help_imports_no_jax():
  code = (
    "import sys; from kdjax import cli; cli.main(['--help']);"
    "sys.exit('jax' in sys.modules or 'flax' in sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr

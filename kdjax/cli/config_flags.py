"""The flags --config=path.py[:argument] and --config.path.to.field=value."""

import ast
import keyword
import pathlib
import re

from kdjax.errors import UserError

# Begins the help of a flag that a verb needs.
REQUIRED = "(required) "

CONFIG = re.compile(r"--?config(?:=(.*))?$")
OVERRIDE = re.compile(r"--?config\.([^=]+)")


def define(values, argv: list[str], required: bool = False) -> None:
  """Defines --config=path.py[:argument] and --config.path.to.field=value."""
  from absl import flags
  from ml_collections import config_flags

  from kdjax.config import fields

  about = (
    f"{REQUIRED if required else ''}an experiment: path.py or path.py:argument;"
    " --config.<path>=<value> changes it; --help with it lists its arguments"
  )
  config = load(argv)
  if config is None:
    flags.DEFINE_string("config", None, about, flag_values=values)
    return
  plain = without_config(argv)
  for word in [word for word in plain if is_none(word)]:
    if fields.set_none(config, OVERRIDE.match(word).group(1).split(".")):
      plain.remove(word)
  config_flags.DEFINE_config_dict(
    "config",
    config,
    about,
    flag_values=values,
    sys_argv=[subscripted(word) for word in plain],
  )


def load(argv: list[str]):
  """The config that --config names, without its overrides; None without."""
  from kdjax.config import fields

  if not any(map(CONFIG.fullmatch, argv)):
    return None
  return fields.load(path_of(argv))


def path_of(argv: list[str]) -> str:
  """What --config names, the last one; "" without."""
  places = [place for place, word in enumerate(argv) if CONFIG.fullmatch(word)]
  if not places:
    return ""
  inline = CONFIG.fullmatch(argv[places[-1]]).group(1)
  following = "".join(argv[places[-1] + 1 :][:1])
  return following if inline is None else inline


def docstring(path: str) -> str:
  """What a config file says about itself and its arguments."""
  try:
    doc = ast.get_docstring(ast.parse(pathlib.Path(path).read_text()))
  except (OSError, SyntaxError, ValueError) as error:
    raise UserError(f"{path} cannot be read: {error}.") from error
  return doc or "It has no docstring."


def without_config(argv: list[str]) -> list[str]:
  """The words without --config and its path."""
  kept, path = [], False
  for word in argv:
    match = CONFIG.fullmatch(word)
    if not (path or match):
      kept.append(word)
    path = match is not None and match.group(1) is None
  return kept


def subscripted(word: str) -> str:
  """--config.stages["my-stage"].steps=3 of --config.stages.my-stage.steps=3.

  absl reads the path of a flag as Python, in which a name has no hyphen.
  """
  match = OVERRIDE.match(word)
  if match is None:
    return word
  first, *keys = match.group(1).split(".")
  plain = lambda key: key.isidentifier() and not keyword.iskeyword(key)
  parts = [f".{key}" if plain(key) else f'["{key}"]' for key in keys]
  return f"--config.{first}{''.join(parts)}{word[match.end() :]}"


def is_none(word: str) -> bool:
  """Whether a word is --config.path=None."""
  return OVERRIDE.match(word) is not None and word.endswith("=None")


def check_overrides(argv: list[str]) -> None:
  """Answers a wrong --config with what there is, before absl does."""
  whole = load(argv)
  if whole is None:
    return
  from kdjax.config import fields

  for word in argv:
    match = OVERRIDE.match(word)
    here, walked = whole, "config"
    for key in match.group(1).split(".") if match else ():
      exists = list(here) if isinstance(here, fields.ConfigDict) else []
      if key not in exists and here is whole:
        _check_stages(key, whole, word)
      if key not in exists:
        raise UserError(
          f"No '{key}' in {walked} (of {word}).", exists=exists, near=key
        )
      here, walked = here[key], f"{walked}.{key}"
    if match and isinstance(here, fields.ConfigDict):
      raise UserError(
        f"{walked} holds several values (of {word}).",
        f"Set one of them, as in --{walked}.{min(here, default='')}=...",
        exists=list(here),
      )


def _check_stages(key: str, config, word: str) -> None:
  """Raises `UserError` for a key that stages have, not the experiment."""
  stages = [name for name, it in config.get("stages", {}).items() if key in it]
  if stages:
    raise UserError(
      f"'{key}' is a value of each stage, not of the experiment (of {word}).",
      f"Write --config.stages.{stages[0]}.{key}=... for a stage.",
      exists=stages,
    )


def undefined_left_out(argv: list[str], values) -> list[str]:
  """The words without --config, and values set to None, which are no flags."""
  words = map(subscripted, without_config(argv))
  return [
    word
    for word in words
    if not is_none(word) or word.lstrip("-").partition("=")[0] in values
  ]

"""Where a checkpoint lies: in a folder, or on the hub."""

import json
import os
from collections.abc import Sequence
from typing import Any

from kdjax.config import packages
from kdjax.errors import UserError
from kdjax.pretrained import weights

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"

# What is downloaded: weights in one format, and what is said of the inputs.
WEIGHTS = (weights.SINGLE, weights.INDEX, "model-*-of-*.safetensors")
TEXTS = (
  CONFIG,
  PREPROCESSOR,
  "processor_config.json",
  "tokenizer*",
  "vocab*",
  "merges.txt",
  "added_tokens.json",
  "special_tokens_map.json",
  "*.model",
)


def folder(path: str, only: Sequence[str] = (*WEIGHTS, *TEXTS)) -> str:
  """The folder of a checkpoint, downloaded where it is on the hub.

  Args:
    path: a folder; "package:name/folder", of an installed Python package; or
      "name@revision" of the hub: a branch, a tag or a commit, "main" unless
      given. What was downloaded before needs no network.
    only: the files that are wanted, as patterns.

  Raises:
    UserError: there is no such folder and no such name, or the hub does not
      answer or does not give it.
  """
  path = os.path.expanduser(packages.resolve(path))
  if os.path.isdir(path):
    return path
  if os.path.isfile(path):
    weights.refuse_pickles(path)
    raise UserError(
      f"'{path}' is a file.", "Expected the folder with its config.json."
    )
  name, _, revision = path.partition("@")
  if not name or name.startswith((".", os.sep)) or name.count("/") > 1:
    raise UserError(
      f"No folder '{path}'.",
      "Expected the folder of a checkpoint, or a name of the hub,"
      " name@revision.",
    )
  return _download(name, revision or "main", only)


def config(path: str, name: str = CONFIG) -> dict[str, Any]:
  """The config.json of a checkpoint, or another of its JSON files.

  Args:
    path: as of `folder`.
    name: of the file.

  Raises:
    UserError: there is none, or it is no JSON.
  """
  found = os.path.join(folder(path, TEXTS), name)
  try:
    with open(found, encoding="utf-8") as file:
      content = json.load(file)
  except FileNotFoundError as error:
    raise UserError(f"The checkpoint '{path}' has no {name}.") from error
  except (OSError, ValueError, RecursionError) as error:
    raise UserError(f"'{found}' cannot be read: {error}.") from error
  if not isinstance(content, dict):
    raise UserError(f"'{found}' is no object of JSON.")
  return content


def _download(name: str, revision: str, only: Sequence[str]) -> str:
  import huggingface_hub
  from huggingface_hub import errors

  given = f"'{name}@{revision}'"
  try:
    return huggingface_hub.snapshot_download(
      name, revision=revision, allow_patterns=list(only)
    )
  except errors.GatedRepoError as error:
    raise UserError(
      f"{given} of the hub is gated.",
      f"Accept its terms on huggingface.co/{name}, then log in with"
      " 'hf auth login'.",
    ) from error
  except errors.RevisionNotFoundError as error:
    raise UserError(
      f"'{name}' of the hub has no revision '{revision}'."
    ) from error
  except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
    raise UserError(
      f"No folder and no name of the hub {given}.",
      "Check its spelling; if it is private, log in with 'hf auth login'.",
    ) from error
  except Exception as error:
    # Without a network many kinds are raised, by what lies below.
    line = f"{error}".strip().partition("\n")[0]
    raise UserError(
      f"{given} is no folder, and could not be had of the hub:"
      f" {type(error).__name__} {line}",
      "Without a network it has to be there from before, in the cache of"
      " huggingface_hub.",
    ) from error

"""A checkpoint's files, in a folder or on the Hugging Face hub."""

import json
import os
from collections.abc import Sequence
from typing import Any

from kdjax.config import packages
from kdjax.errors import UserError
from kdjax.pretrained import weights

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"

# Files to download: weights in one format, configs and tokenizers.
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


def folder(path: str, patterns: Sequence[str] = (*WEIGHTS, *TEXTS)) -> str:
  """A checkpoint's local folder, downloaded if it is on the hub.

  Args:
    path: a folder; "package:name/folder" in an installed Python package; or a
      repository on the hub, "name@revision", with a branch, tag or commit
      (default "main"). Files in the hub's local cache need no network.
    patterns: the files to download.

  Raises:
    UserError: the folder or repository does not exist, or the download fails.
  """
  path = os.path.expanduser(packages.resolve(path))
  if os.path.isdir(path):
    return path
  if os.path.isfile(path):
    weights.refuse_pickles(path)
    raise UserError(
      f"The checkpoint '{path}' is a file.",
      "Expected the folder that holds its config.json.",
    )
  name, _, revision = path.partition("@")
  if not name or name.startswith((".", os.sep)) or name.count("/") > 1:
    raise UserError(
      f"No folder '{path}'.",
      "Expected a checkpoint's folder, 'package:name/folder', or a repository"
      " on the hub, 'name@revision'.",
    )
  return _download(name, revision or "main", patterns)


def config(path: str, name: str = CONFIG) -> dict[str, Any]:
  """Parses a checkpoint's config.json, or another of its JSON files.

  Args:
    path: as in `folder`.
    name: of the file.

  Raises:
    UserError: the file is missing or is not a JSON object.
  """
  local = os.path.join(folder(path, TEXTS), name)
  try:
    with open(local, encoding="utf-8") as file:
      content = json.load(file)
  except FileNotFoundError as error:
    raise UserError(f"The checkpoint '{path}' has no {name}.") from error
  except (OSError, ValueError, RecursionError) as error:
    raise UserError(f"'{local}' cannot be read: {error}.") from error
  if not isinstance(content, dict):
    raise UserError(f"'{local}' is not a JSON object.")
  return content


def _download(name: str, revision: str, patterns: Sequence[str]) -> str:
  import huggingface_hub
  from huggingface_hub import errors

  address = f"'{name}@{revision}'"
  try:
    return huggingface_hub.snapshot_download(
      name, revision=revision, allow_patterns=list(patterns)
    )
  except errors.GatedRepoError as error:
    raise UserError(
      f"{address} on the hub is gated.",
      f"Accept its terms on huggingface.co/{name}, then log in with"
      " 'hf auth login'.",
    ) from error
  except errors.RevisionNotFoundError as error:
    raise UserError(
      f"'{name}' on the hub has no revision '{revision}'."
    ) from error
  except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
    raise UserError(
      f"{address} is neither a folder nor a repository on the hub.",
      "Check the spelling. For a private repository, log in with"
      " 'hf auth login'.",
    ) from error
  except Exception as error:
    # Without a network, different libraries raise different exceptions.
    line = f"{error}".strip().partition("\n")[0]
    raise UserError(
      f"{address} is not a folder, and its download from the hub failed:"
      f" {type(error).__name__} {line}",
      "Without a network, it must be in huggingface_hub's cache.",
    ) from error

"""The folder of a dataset before and during a run: what is there, and whether a run may go on with it."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.rejected import rejected_files
from pipeline.schema import MANIFEST, SHARD_NAME
from pipeline.unfinished import Unfinished
from tokenizer.errors import InputError


def check_output(output: Path, identity: Mapping[str, Any], overwrite: bool) -> None:
    """Raises InputError when the folder cannot be written, or holds what must not be replaced or gone on with.

    Args:
        output: the folder.
        identity: what the bytes of the dataset depend on, as far as it is known.
        overwrite: whether what is there may be replaced.
    """
    existing = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f"output {output} cannot be written to; check its permissions, or give another folder")
    if overwrite or not output.exists():
        return
    earlier = Unfinished(output).identity()
    if earlier is None:
        if (output / MANIFEST).exists():
            raise InputError(f"output {output} holds a dataset; give another folder, or --overwrite to replace it")
        if dataset_files(output):
            raise InputError(
                f"output {output} holds shards but no {MANIFEST}; give another folder, or --overwrite to replace them"
            )
        return
    for name, value in identity.items():
        if earlier.get(name) != value:
            raise InputError(
                f"output {output} holds an unfinished run with {name} {earlier.get(name)}, not {value}; give the same "
                "command to go on with it, another folder, or --overwrite to replace it"
            )


def dataset_files(output: Path) -> list[Path]:
    """The manifest, which is to go first, and the shards, those under temporary names as well."""
    shards = [path for path in output.iterdir() if SHARD_NAME.match(path.name.removeprefix("."))]
    return [*output.glob(MANIFEST), *sorted(shards)]


def prepare_output(output: Path, identity: Mapping[str, Any], overwrite: bool) -> set[str]:
    """Makes the folder ready for a run; returns the names of the shards that an interrupted one left whole."""
    unfinished = Unfinished(output)
    output.mkdir(parents=True, exist_ok=True)
    if overwrite:
        for path in dataset_files(output):
            path.unlink()
        unfinished.remove()
    unfinished.start(identity)
    remove_temporaries(output)
    return unfinished.check()


def keep_rejected(found: Path, output: Path) -> None:
    """Moves the lists of what was set aside into the folder, in place of those of an earlier run."""
    files = rejected_files(found)
    if files:
        output.mkdir(parents=True, exist_ok=True)
    for old in rejected_files(output):
        old.unlink()
    for file in files:
        shutil.move(file, output / file.name)


def remove_temporaries(output: Path) -> None:
    """Removes the shards that processes which were killed had begun."""
    for path in dataset_files(output):
        if path.name.startswith("."):
            path.unlink(missing_ok=True)

"""The folder of a dataset before and during a run: what is there, and whether a run may go on with it."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from pipeline.rejected import rejected_names
from pipeline.schema import MANIFEST, SHARD_NAME, VOCAB
from pipeline.storage import check_writable, exists, list_names, make_folder, read_bytes, remove_files, write_bytes
from pipeline.unfinished import Unfinished
from tokenizer.errors import InputError


def check_output(output: str, identity: Mapping[str, Any], overwrite: bool) -> None:
    """Raises InputError when the folder cannot be written, or holds what must not be replaced or gone on with.

    Args:
        output: the folder.
        identity: what the bytes of the dataset depend on, as far as it is known.
        overwrite: whether what is there may be replaced.
    """
    check_writable(output)
    if overwrite:
        return
    unfinished = Unfinished(output)
    if unfinished.identity() is not None:
        unfinished.require(identity)
        return
    names = dataset_names(output)
    if MANIFEST in names:
        raise InputError(f"output {output} holds a dataset; give another folder, or --overwrite to replace it")
    if names:
        raise InputError(
            f"output {output} holds shards but no {MANIFEST}; give another folder, or --overwrite to replace them"
        )
    vocab = os.path.join(output, VOCAB)
    if exists(vocab) and hashlib.sha256(read_bytes(vocab)).hexdigest() != identity["vocab_sha256"]:
        raise InputError(f"{vocab} is another vocabulary; give another output, or --overwrite to replace it")


def dataset_names(output: str) -> list[str]:
    """The names of the manifest and of the shards in a folder, those under temporary names as well."""
    return [name for name in list_names(output) if name == MANIFEST or SHARD_NAME.fullmatch(name) or _is_begun(name)]


def _is_begun(name: str) -> bool:
    """Whether it is the temporary name of a shard."""
    return name.startswith(".") and name.endswith(".tmp") and SHARD_NAME.match(name[1:]) is not None


def prepare_output(output: str, identity: Mapping[str, Any], overwrite: bool) -> set[str]:
    """Makes the folder ready for a run; returns the names of the shards that an interrupted one left whole."""
    unfinished = Unfinished(output)
    make_folder(output)
    if overwrite:
        remove_dataset(output)
    unfinished.start({**(unfinished.identity() or {}), **identity})
    remove_temporaries(output)
    return unfinished.check()


def remove_dataset(output: str) -> None:
    """Removes a dataset, or what there is of it."""
    names = dataset_names(output)
    if MANIFEST in names:
        remove_files(output, [MANIFEST])  # first: what is left without it is no dataset
    remove_files(output, [name for name in names if name != MANIFEST])
    Unfinished(output).remove()


def keep_rejected(found: str, output: str) -> None:
    """Copies the lists of what was set aside into the folder, in place of those of an earlier run."""
    names = rejected_names(found)
    if names:
        make_folder(output)
    remove_files(output, rejected_names(output))
    for name in names:
        write_bytes(os.path.join(output, name), read_bytes(os.path.join(found, name)))


def remove_temporaries(output: str) -> None:
    """Removes the shards that processes which were killed had begun."""
    remove_files(output, [name for name in list_names(output) if _is_begun(name)])

"""The folder of a dataset before and during a run: what is there, and whether a run may go on with it."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from maskmill.pipeline.dataset.schema import MANIFEST, RUN, SHARD_NAME, VOCAB
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import RUN_ID, Unfinished
from maskmill.pipeline.reading.rejected import FIELDS, REJECTED, REJECTED_NAME, rejected_names
from maskmill.pipeline.storage.local_claims import TEMPORARY
from maskmill.pipeline.storage.storage import (
    check_writable,
    exists,
    list_names,
    make_folder,
    open_file,
    read_bytes,
    remove_empty_folder,
    remove_files,
    write_bytes,
)
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import parse_json

REJECTED_FOLDER = ".rejected"
# The names of the files that a run writes.
OURS = re.compile(rf"{SHARD_NAME.pattern}|{REJECTED_NAME.pattern}|{'|'.join(map(re.escape, (MANIFEST, RUN, VOCAB)))}")
HEAD_BYTES = 1 << 20  # of a file, which tell whether it is ours
# What a file holds if maskmill wrote it; others have files of these names, too.
MARKS: Mapping[str, tuple[bytes, ...]] = {
    MANIFEST: (b'"config"', b'"vocab_sha256"'),
    RUN: (b'"inputs"', b'"vocab_file"'),
}


def check_output(target: Target, overwrite: bool) -> None:
    """Raises InputError when the folder cannot be written, or holds what must not be replaced or gone on with.

    With `overwrite` a dataset that is there may be replaced.
    """
    output = target.output
    check_writable(output)
    _require_ours(output)
    if overwrite:
        return
    unfinished = Unfinished(output)
    if unfinished.identity() is not None:
        unfinished.require(target.identity)
        return
    names = dataset_names(output)
    if MANIFEST in names:
        raise InputError(
            f"output {output} holds a dataset", way_out="give another folder, or --overwrite to replace it"
        )
    if names:
        raise InputError(
            f"output {output} holds shards but no {MANIFEST}",
            way_out="give another folder, or --overwrite to replace them",
        )
    vocab = os.path.join(output, VOCAB)
    if exists(vocab) and hashlib.sha256(read_bytes(vocab)).hexdigest() != target.identity["vocab_sha256"]:
        raise InputError(f"{vocab} is another vocabulary", way_out="give another output, or --overwrite to replace it")


def _require_ours(output: str) -> None:
    """Raises InputError when a file has a name that a run writes, and was written by something else."""
    names = list_names(output)
    marks = {name: MARKS[name] for name in MARKS if name in names}
    marks |= {name: tuple(f'"{field}"'.encode() for field in FIELDS) for name in rejected_names(output)}
    for name, expected in marks.items():
        path = os.path.join(output, name)
        with open_file(path) as file:
            head = file.read(HEAD_BYTES)
        if not all(mark in head for mark in expected):
            raise InputError(
                "was not written by maskmill, which writes a file of that name",
                way_out="move it away, or give another output",
                path=path,
            )


def holds_manifest(folder: str) -> bool:
    """Whether a folder has a manifest of ours; others have files of that name, too."""
    path = os.path.join(folder, MANIFEST)
    try:
        if not exists(path):
            return False
        with open_file(path) as file:
            head = file.read(HEAD_BYTES)
    except InputError as error:
        raise error.renamed(path, folder) from error
    return all(mark in head for mark in MARKS[MANIFEST])


def dataset_names(output: str) -> list[str]:
    """The names of the manifest and of the shards in a folder, those under temporary names as well."""
    return [name for name in list_names(output) if name == MANIFEST or SHARD_NAME.fullmatch(name) or _is_begun(name)]


def _is_begun(name: str) -> bool:
    """Whether it is the temporary name of a file that a run writes."""
    is_temporary = TEMPORARY.fullmatch(name)
    return is_temporary is not None and OURS.fullmatch(is_temporary[1]) is not None


def is_finished(target: Target) -> bool:
    """Whether the folder holds the dataset with nothing left to do, made from all that the target depends on."""
    if Unfinished(target.output).identity() is not None or not exists(os.path.join(target.output, MANIFEST)):
        return False
    path = os.path.join(target.output, RUN)
    try:
        before = parse_json(read_bytes(path))["identity"] if exists(path) else {}
    except (ValueError, KeyError, TypeError):
        return False
    return bool(before) and all(before.get(name) == value for name, value in target.identity.items())


def leave_out_finished(targets: Sequence[Target]) -> list[Target]:
    """The targets that an interrupted run has not finished; all of them where no run was interrupted."""
    if all(Unfinished(target.output).identity() is None for target in targets):
        return list(targets)
    return [target for target in targets if not is_finished(target)]


def prepare_output(target: Target, overwrite: bool) -> Target:
    """Makes the folder ready for a run; returns the target with the shards that an interrupted run left whole.

    With `overwrite` an interrupted run that would make the same dataset is gone on with, and anything else is removed.
    """
    unfinished = Unfinished(target.output)
    make_folder(target.output)
    if not overwrite:
        unfinished.require(target.identity)
    elif unfinished.identity() is None or unfinished.find_difference(target.identity):
        remove_dataset(target.output)
    run = {RUN_ID: target.run} if target.run else {}
    unfinished.start({**(unfinished.identity() or {}), **target.identity, **run})
    remove_temporaries(target.output)
    return replace(target, finished=unfinished.check())


def remove_dataset(output: str) -> None:
    """Removes a dataset, or what there is of it."""
    names = dataset_names(output)
    if MANIFEST in names:
        remove_files(output, [MANIFEST])  # first: what is left without it is no dataset
    remove_files(output, [*(name for name in names if name != MANIFEST), RUN, *rejected_names(output)])
    Unfinished(output).remove()


def place_rejected(found: str, output: str) -> None:
    """Copies the lists of rejected documents into the folder of a dataset, in place of those of an earlier run."""
    if found == output:
        return
    names = rejected_names(found)
    if names:
        make_folder(output)
    remove_files(output, rejected_names(output))
    for name in names:
        write_bytes(os.path.join(output, name), read_bytes(os.path.join(found, name)))


def rejected_folder(output: str) -> str:
    """Where the lists of a run are that is not sure of its documents yet, or failed beside a finished dataset."""
    return os.path.join(output, REJECTED_FOLDER)


def keep_rejected(found: str, output: str) -> str | None:
    """Copies the lists of a run that failed where a user can look at them; returns that, or None where there are none.

    Beside a finished dataset, which has its own lists, that is a folder of its own.
    """
    if not rejected_names(found):
        return None
    place = rejected_folder(output) if exists(os.path.join(output, MANIFEST)) else output
    place_rejected(found, place)
    return os.path.join(place, REJECTED)


def remove_rejected_folder(output: str) -> None:
    """Removes the lists of a run that failed."""
    folder = rejected_folder(output)
    remove_files(folder, rejected_names(folder))
    remove_empty_folder(folder)


def remove_temporaries(output: str) -> None:
    """Removes the files that processes which were killed had begun."""
    remove_files(output, [name for name in list_names(output) if _is_begun(name)])

"""The folder of a model: what it was trained on, its configuration, its vocabulary, its newest weights."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from maskmill.model.bert.config import BERT_CONFIG, BertConfig, ComputeDtype
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.formats.names import TRAINING
from maskmill.model.training.checkpoint import (
    BEST,
    list_checkpoints,
    require_weights,
    restore_best,
    restore_newest,
)
from maskmill.pipeline.dataset.schema import VOCAB
from maskmill.pipeline.storage.local_claims import TEMPORARY
from maskmill.pipeline.storage.storage import AnyPath, read_at_most, read_bytes, write_text
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import MAX_BYTES, parse_sealed, require_types, seal_versioned
from maskmill.tokenizer.rules import TextRules
from maskmill.tokenizer.vocab import Vocab

WhichCheckpoint = Literal["newest", "best"]

# What `pretraining/description.py` writes.
_KINDS: dict[str, Any] = {
    "backend": str, "bert_config": dict[str, Any], "train_config": dict[str, Any], "phases": list[dict[str, Any]],
    "vocab_sha256": str, "cased": bool, "init_checkpoint": str | None,
}  # fmt: skip
_PHASE: dict[str, Any] = {
    "dataset_sha256": str, "num_train_steps": int, "max_seq_length": int, "max_predictions_per_seq": int,
    "first_batch": int,
}  # fmt: skip

_WAY_OUT = "restore it, or train into a new folder"

# What may change between two runs of one training: it does not change the weights; or only by what dropout draws from
# there on, and a later phase, or another machine, may leave less memory.
_FREE = {
    "eval_every",
    "save_checkpoints_steps",
    "keep_checkpoints",
    "save_summary_steps",
    "gradient_accumulation_steps",
    "init_model",  # by its path; the checksum of its weights tells whether it is another
    "eval_file",  # by its path; the checksum of its rows tells whether it is another
}


@contextmanager
def open_model_dir(model_dir: Path, training: dict[str, Any], vocab_text: str) -> Iterator[None]:
    """As `open_folder`, for a training into `model_dir`."""
    with open_folder(model_dir, TRAINING, training, read_training):
        write_text(model_dir / BERT_CONFIG, BertConfig.from_dict(training["bert_config"]).to_json())
        write_text(model_dir / VOCAB, vocab_text)
        yield


@contextmanager
def open_folder(
    folder: Path, file: str, training: dict[str, Any], read: Callable[[Path], dict[str, Any]]
) -> Iterator[None]:
    """Makes the folder of a new training, or checks that this one is the training it holds; keeps others out meanwhile.

    A training that ended before its first checkpoint, as for want of memory, may be begun anew in another way.
    Removes what a killed process left half-written. Raises InputError when the folder holds another training, or
    something else, or the best checkpoint alone, or when another process trains into it.

    Args:
        folder: of the training.
        file: the name of its description.
        training: the description of this training.
        read: gives the description that a folder holds.
    """
    if folder.exists() and not folder.is_dir():
        raise _something_else(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):  # before anything is looked at: the process that has it may write another checkpoint
        # What a process leaves that is killed while it writes a file.
        unfinished = {path for path in folder.glob(".*") if TEMPORARY.fullmatch(path.name)}
        if list_checkpoints(folder) and (folder / file).exists():
            _require_same(folder, read(folder), training)
        elif (folder / BEST).exists():
            raise InputError(
                f"holds {BEST}, and no checkpoint to go on from",
                way_out=(
                    "remove that file to begin anew, or give another folder, and --init-checkpoint "
                    f"{folder / BEST} to begin with its weights"
                ),
                path=folder,
            )
        elif not (folder / file).exists() and not set(folder.iterdir()) <= unfinished:
            raise _something_else(folder)
        for path in unfinished:
            path.unlink(missing_ok=True)
        write_text(folder / file, seal_versioned(training))
        yield


def _something_else(folder: Path) -> InputError:
    return InputError("holds something else than a training", way_out="give a new or an empty folder", path=folder)


@contextmanager
def _locked(model_dir: Path) -> Iterator[None]:
    """Keeps other processes out of a folder, where its file system can; the lock ends with the process."""
    folder = os.open(model_dir, os.O_RDONLY)
    try:
        with suppress(OSError):  # as of some network disks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"another process trains into {model_dir}", way_out="wait for its end, or give another folder"
                ) from error
        yield
    finally:
        os.close(folder)


def read_training(model_dir: Path) -> dict[str, Any]:
    """The content of `training.json`. Raises InputError when the folder holds no model, or the file is damaged."""
    path = model_dir / TRAINING
    if not path.is_file():
        raise InputError(
            f"holds no model: it has no {TRAINING}", way_out="train one with 'maskmill train'", path=model_dir
        )
    return parse_training(read_at_most(path, MAX_BYTES), path)


def parse_training(content: bytes, path: AnyPath) -> dict[str, Any]:
    """The same, of the content of the file at a path. Raises InputError when it is damaged."""
    training = parse_sealed(content, path, _WAY_OUT)
    require_types(training, _KINDS, path, _WAY_OUT)
    # An older maskmill began every phase with the first batch of its dataset.
    phases = [{"first_batch": 0, **phase} for phase in training["phases"]]
    for phase in phases:
        require_types(phase, _PHASE, path, _WAY_OUT)
    require_config(training, path, _WAY_OUT)
    return {**training, "phases": phases, "train_config": _as_today(training["train_config"])}


def _as_today(train_config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a training, with those that an older maskmill did not write, which had but one way."""
    if "first_weights" in train_config:
        return train_config
    googles = {"adam_beta2": 0.999, "clip_norm": 1.0, "first_weights": "bert"}
    optimizer = train_config.get("optimizer", "adamw")
    return {**train_config, **googles, "optimizer": "google" if optimizer == "adamw" else optimizer}


def rules_of(description: Mapping[str, Any]) -> TextRules:
    """How a model's tokenizer treats text, by its finetuning.json or training.json: as Google's unless that says more.

    Raises TypeError where it says something that cannot be.
    """
    return TextRules.from_dict(description["cased"], description.get("tokenizer", {}))


def require_config(training: dict[str, Any], path: AnyPath, way_out: str) -> None:
    """Raises InputError where the bert_config of a description is none."""
    try:
        BertConfig.from_dict(training["bert_config"])
    except InputError as error:
        raise InputError(f"is damaged ({error})", way_out=f"{way_out}", path=path) from error


def require_same_model(folder: Path, description: dict[str, Any], read: Callable[[Path], dict[str, Any]]) -> None:
    """Raises InputError when a folder no longer holds the model that was described when its reading began."""
    if read(folder) != description:
        raise InputError(
            f"the model in {folder} changed while it was read", way_out="run this again when nothing trains there"
        )


def read_vocab(model_dir: Path) -> Vocab:
    """The vocabulary that a model was trained with. Raises InputError when it is not there, or is another one."""
    expected = read_training(model_dir)["vocab_sha256"]
    return read_vocab_of(model_dir, expected, TRAINING, "of the dataset there that the model was trained on")


def read_vocab_of(folder: Path, expected: str, file: str, way_out: str) -> Vocab:
    """The vocabulary in a folder whose `file` says its checksum; `way_out` tells whose to copy where it is another."""
    path = folder / VOCAB
    content = read_bytes(path)
    if (actual := hashlib.sha256(content).hexdigest()) != expected:
        raise InputError(
            f"has sha256 {actual[:12]}..., {file} says {expected[:12]}...",
            way_out=f"copy the {VOCAB} {way_out}",
            path=path,
        )
    return Vocab.parse(content, str(path))


def load_model(
    model_dir: str | os.PathLike[str], checkpoint: WhichCheckpoint = "newest", compute_dtype: ComputeDtype = "float32"
) -> tuple[BertPretrainer, int]:
    """The model in a folder, and the number of steps it was trained for.

    With its newest undamaged weights, or with those that did best on the held-out documents. Its `config` says its
    shape. Raises InputError when the folder holds no model or no such checkpoint.
    """
    folder = Path(model_dir)
    config = BertConfig.from_dict(read_training(folder)["bert_config"])
    no_checkpoint = InputError(
        "has no checkpoint yet", way_out="run 'maskmill train' until it has written one", path=folder
    )
    if checkpoint == "newest" and not list_checkpoints(folder):
        raise no_checkpoint  # before the model is made, whatever size its configuration asks for
    require_weights(folder, config.num_weights)
    model = BertPretrainer(config, compute_dtype=compute_dtype)
    if checkpoint == "best":
        return model, restore_best(folder, model.named_weights)
    step = restore_newest(folder, model.named_weights)
    if step is None:
        raise no_checkpoint
    return model, step


def _require_same(model_dir: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises InputError naming the first value that differs between two trainings."""
    for name, value in now.items():
        if isinstance(value, dict):
            _require_same(model_dir, before.get(name, {}), value)
        elif name == "phases":
            _require_same(model_dir, {"the number of phases": len(before[name])}, {"the number of phases": len(value)})
            for phase_before, phase in zip(before[name], value):
                _require_same(model_dir, phase_before, phase)
        elif name not in _FREE and before.get(name) != value:
            raise InputError(
                f"holds a training with {name} {before.get(name)}, this one has {value}",
                way_out="repeat that one to resume it, or give another folder",
                path=model_dir,
            )

"""Checkpoints: all state of a training, in one safetensors file with a checksum."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from maskmill.model.bert.layers import assign
from maskmill.pipeline.storage.storage import list_names, open_file, write_bytes
from maskmill.tokenizer.errors import InputError, first_line

BEST = "checkpoint-best.safetensors"
NUMBERS_PREFIX = "sums/"
_SMALL = 1_000_000  # weights that any machine has room for

NamedArrays = dict[str, np.ndarray]
Variables = Mapping[str, keras.Variable]

logger = logging.getLogger(__name__)


class DamagedWeightsError(ValueError):
    """A file of weights that can be read, but does not hold what was written."""


def find_not_finite(state: Variables) -> str | None:
    """The name of the first variable that holds an infinity or no number; None where all are fit to be saved.

    The last update may have broken them, which no loss has told of yet.
    """
    return next((name for name, variable in state.items() if not np.isfinite(np.asarray(variable)).all()), None)


def save_checkpoint(
    model_dir: Path, step: int, state: Variables, keep: int, numbers: Mapping[str, float] | None = None
) -> None:
    """Writes `checkpoint-<step>.safetensors`, whole or not at all, then removes all but the `keep` newest.

    `numbers` are what else a run needs that goes on; `read_numbers` gives them back. Raises InputError
    when there is no room for it; then the older ones are all still there.
    """
    path = model_dir / f"checkpoint-{step}.safetensors"
    _write(path, {**state, **{NUMBERS_PREFIX + name: np.float64(value) for name, value in (numbers or {}).items()}})
    with path.open("rb") as file:
        os.fsync(file.fileno())  # else a machine that stops here could lose it, and the older ones are gone
    # Newer ones are damaged, or this run would have begun there; it writes them again.
    older = [old for old_step, old in list_checkpoints(model_dir) if old_step < step]
    for old in older[keep - 1 :]:
        old.unlink()


def save_best(model_dir: Path, weights: Variables, step: int, loss: float) -> None:
    """Writes `checkpoint-best.safetensors`: the weights alone, with their step and their loss on the held-out part."""
    _write(model_dir / BEST, {**weights, "global_step": np.int32(step), "eval_loss": np.float64(loss)})


def read_best(model_dir: Path) -> tuple[int, float] | None:
    """Step and loss of the best checkpoint; None when there is none, or it is damaged."""
    path = model_dir / BEST
    if not path.exists():
        return None
    try:
        arrays = read_checkpoint(path)
        return int(arrays["global_step"].item()), float(arrays["eval_loss"].item())
    except InputError:
        raise
    except (ValueError, KeyError):
        return None


def restore_best(model_dir: Path, weights: Variables) -> int:
    """Assigns the best checkpoint to the weights -> its step. Raises InputError when there is none or it is damaged."""
    path = model_dir / BEST
    if not path.exists():
        raise InputError(
            f"has no {BEST}", way_out="train with --eval-every, or use --checkpoint newest", path=model_dir
        )
    try:
        arrays = read_checkpoint(path)
        step = int(arrays["global_step"].item())
    except InputError:
        raise
    except (ValueError, KeyError) as error:
        sentence = str(error) if isinstance(error, DamagedWeightsError) else f"{path} is damaged (at its global_step)"
        raise InputError(f"{sentence}", way_out="copy it again, or use --checkpoint newest") from error
    restore(arrays, weights)
    return step


def list_checkpoints(model_dir: Path) -> list[tuple[int, Path]]:
    """Steps and paths of the checkpoints in a folder, the newest first."""
    found = ((step_of(name), model_dir / name) for name in list_names(model_dir))
    return sorted(((step, path) for step, path in found if step is not None), reverse=True)


def require_weights(model_dir: Path, num_weights: int) -> None:
    """Raises InputError where no checkpoint in a folder is large enough for a model of so many weights.

    Before that is made: a configuration that was damaged may ask for more memory than there is.
    """
    sizes = [path.stat().st_size for path in model_dir.glob("checkpoint-*.safetensors")]
    if sizes and num_weights > max(sizes) + _SMALL:
        raise InputError(
            f"has a bert_config of {num_weights:,} weights, and its largest checkpoint {max(sizes):,} bytes",
            way_out="put configuration and checkpoints of one training there",
            path=model_dir,
        )


def step_of(name: str) -> int | None:
    """The step of a checkpoint by the name of its file; None where that is no checkpoint's."""
    match = re.fullmatch(r"checkpoint-(\d+)\.safetensors", name)
    return int(match[1]) if match else None


def restore_newest(model_dir: Path, state: Variables) -> int | None:
    """Assigns the newest undamaged checkpoint to the variables -> its step, or None when there is no checkpoint.

    A checkpoint may hold more than `state` asks for. Raises InputError when every checkpoint is damaged, or one that
    is not cannot be read.
    """
    newest = read_newest(model_dir)
    if newest is None:
        return None
    step, arrays = newest
    restore(arrays, state)
    return step


def restore(arrays: NamedArrays, state: Variables) -> None:
    """Assigns the arrays of a checkpoint to the variables, by name. Raises InputError where it is another model's."""
    for name, variable in state.items():
        shape = arrays[name].shape if name in arrays else None
        if shape != tuple(variable.shape):
            found = f"{name} of shape {shape}" if name in arrays else f"no {name}"
            raise InputError(
                f"the checkpoint has {found}, the model beside it {tuple(variable.shape)}",
                way_out="put checkpoints back into the folder that they were trained in",
            )
        assign(variable, arrays[name])


def read_newest(model_dir: Path) -> tuple[int, NamedArrays] | None:
    """Step and arrays of the newest undamaged checkpoint, or None when there is no checkpoint.

    Raises InputError when every checkpoint is damaged, or one cannot be read: then it may be the newest undamaged one.
    """
    checkpoints = list_checkpoints(model_dir)
    for step, path in checkpoints:
        try:
            return step, read_checkpoint(path)
        except DamagedWeightsError as error:
            logger.warning("%s; trying the checkpoint before it", error)
        except InputError:
            if path.exists():
                raise
            return read_newest(model_dir)  # a training that goes on here has removed it for a newer one
    if checkpoints:
        raise InputError(
            f"every checkpoint in {model_dir} is damaged", way_out="restore one, or train into a new folder"
        )
    return None


def read_numbers(model_dir: Path, step: int) -> dict[str, float]:
    """What `save_checkpoint` was given as `numbers`, of a checkpoint that `read_newest` took."""
    with open_weights(model_dir / f"checkpoint-{step}.safetensors") as file:
        names = [name for name in file.keys() if name.startswith(NUMBERS_PREFIX)]  # noqa: SIM118
        return {name.removeprefix(NUMBERS_PREFIX): float(file.get_tensor(name)) for name in names}


def read_checkpoint(path: Path) -> NamedArrays:
    """The arrays of a checkpoint by name.

    Raises DamagedWeightsError when the file is damaged, else as `open_weights`.
    """
    with open_weights(path) as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        expected = (file.metadata() or {}).get("sha256")
    if digest_of(arrays) != expected:
        raise DamagedWeightsError(f"{path} is damaged (its checksum differs)")
    return arrays


@contextmanager
def open_weights(path: Path) -> Iterator[Any]:
    """A file of weights in the safetensors format, open to be read.

    Raises DamagedWeightsError when what it holds is damaged, InputError when it cannot be read for another reason,
    such as a missing permission, and MemoryError.
    """
    with open_file(path) as readable:  # safetensors calls a file that it may not read a missing one
        readable.read(1)
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, AttributeError, TypeError) as error:  # the last two: numbers that numpy does not have
        raise DamagedWeightsError(f"{path} is damaged ({first_line(error)})") from error
    except OSError as error:
        raise InputError(
            f"cannot be read ({first_line(error)})", way_out="check the disk that it is on", path=path
        ) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust, where it gets no memory for an array
            raise
        raise MemoryError from error


def _write(path: Path, values: Mapping[str, keras.Variable | np.generic]) -> None:
    arrays = {name: np.asarray(value) for name, value in values.items()}
    # One entry: several would be written in any order, and equal trainings should give equal files.
    write_bytes(path, save(arrays, metadata={"sha256": digest_of(arrays)}))


def digest_of(arrays: NamedArrays) -> str:
    """The checksum of arrays with their names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()

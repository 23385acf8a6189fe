"""The devices that a step runs on: all that JAX sees, of one process or of several, each with a part of every batch.

Weights are the same on every device. A batch is one array, of which each device holds its rows; so the step is written,
and compiled, as for one device, and its sums are those of the whole batch. The processes run the same program, step by
step: what one of them does alone, writing the model folder and printing, moves no data between devices.
"""

import atexit
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import keras
import numpy as np

from maskmill.model.training.step import Batch
from maskmill.tokenizer.errors import InputError, first_line

SECONDS_TO_JOIN = 240.0  # that a process waits for the others to start; JAX itself waits 300
_STEPS_BETWEEN_TALKS = 5  # each waits for the devices

# Keras's environment variables; Cloud TPU, Slurm and Open MPI need none.
_ADDRESS, _COUNT, _ID = (f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID"))

# What JAX and the libraries below it say when a process that they talk with is gone.
_IS_LOST = re.compile("gloo|nccl|peer|connection|heartbeat|unavailable|coordination", re.IGNORECASE)

logger = logging.getLogger(__name__)


class RefusedTogetherError(InputError):
    """What every process raises at the same place, so that none waits for another."""


@dataclass(frozen=True)
class Devices:
    """All devices, and this process among the processes that train together."""

    count: int = 1
    host: int = 0
    num_hosts: int = 1
    sharding: Any = None  # JAX's, of a batch

    @property
    def writes(self) -> bool:
        """Whether this process writes the model folder: one does."""
        return self.host == 0

    def place(self, features: Batch) -> Batch:
        """This host's rows of a batch -> the whole batch, on the devices."""
        if self.sharding is None:
            return features
        import jax

        return {name: jax.make_array_from_process_local_data(self.sharding, x) for name, x in features.items()}

    def check_batch(self, name: str, batch_size: int, parts: int = 1) -> None:
        """Raises InputError when a batch cannot be divided among the devices, and each share into so many parts."""
        if batch_size % (self.count * parts):
            devices = f"{self.count} device{'s' if self.count > 1 else ''}"
            steps = f" and gradient_accumulation_steps {parts}" if parts > 1 else ""
            raise InputError(
                f"{name} is {batch_size}", expected=f"a multiple of {self.count * parts}, for {devices}{steps}"
            )

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within it, what one process refuses is refused by all, as RefusedTogetherError: none waits for it for ever.

        Every process must come to its end; and so that they do, nothing within it waits for another one.
        """
        if self.num_hosts == 1:
            yield
            return
        refusal = None
        try:
            yield
        except InputError as error:
            refusal = error
        for host, sentence in enumerate(self._gather(str(refusal) if refusal else None)):
            if sentence:
                raise RefusedTogetherError(f"process {host} of {self.num_hosts}: {sentence}") from refusal

    def require_same(self, values: dict[str, Any]) -> None:
        """Raises RefusedTogetherError naming the first value, of JSON's kinds, that differs between processes."""
        if self.num_hosts == 1:
            return
        first, *others = (list(_leaves(values)) for values in self._gather(values))
        for host, other in enumerate(others, start=1):
            for (name, value), (_, value_there) in zip_longest(first, other, fillvalue=("", None)):
                if value != value_there:
                    raise RefusedTogetherError(
                        f"process 0 has {name} {value}, process {host} has {value_there}; give all processes the same "
                        "command, and datasets and model_dir that all of them see, in Cloud Storage or on a shared disk"
                    )

    def least(self, number: int) -> int:
        """The least of what the processes give."""
        return number if self.num_hosts == 1 else min(self._gather(number))

    def any_stops(self, step: int, stops: bool) -> bool:
        """Whether any process stops after a step, so that all do. They ask one another every few steps."""
        if self.num_hosts == 1:
            return stops
        if step % _STEPS_BETWEEN_TALKS:
            return False
        return bool(_all_gather(np.array(stops)).any())

    def _gather(self, value: Any) -> list[Any]:
        """What each process gives, of JSON's kinds."""
        content = np.frombuffer(json.dumps(value).encode(), np.uint8)
        sizes = _all_gather(np.array(len(content), np.int32))
        rows = _all_gather(np.pad(content, (0, sizes.max() - len(content))))
        return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes)]


ONE_DEVICE = Devices()


def join_processes() -> None:
    """Joins the other processes of this training, before anything is computed.

    Cloud TPU, Slurm and Open MPI tell of them, or else Keras's environment variables do:
    KERAS_DISTRIBUTION_JOB_ADDRESSES (host and port of the first process), KERAS_DISTRIBUTION_NUM_PROCESSES and
    KERAS_DISTRIBUTION_PROCESS_ID. Raises InputError when nothing tells of them, or they do not come in SECONDS_TO_JOIN.
    """
    import jax

    # It would take SIGTERM from us, and swallow those that come before the first step.
    jax.config.update("jax_enable_preemption_service", False)
    address, count, number = (os.environ.get(name) for name in (_ADDRESS, _COUNT, _ID))
    told = f"{_ADDRESS}={address}, {_COUNT}={count}, {_ID}={number}"
    failures: list[Exception] = []

    def join() -> None:
        keras.utils.set_random_seed(0)  # else Keras makes one by talking, in a way that not every device has
        try:
            keras.distribution.initialize()
        except (ValueError, RuntimeError, OSError) as error:
            failures.append(error)

    # JAX would abort the whole process when its time is over, so the waiting is another thread's.
    waiting = threading.Thread(target=join, daemon=True)
    waiting.start()
    waiting.join(SECONDS_TO_JOIN)
    if waiting.is_alive():
        raise InputError(
            f"the other processes did not come in {SECONDS_TO_JOIN:.0f} s ({told})",
            way_out="start all of them, and let them reach the address of the first",
        )
    if failures:
        raise InputError(
            f"--distributed finds no other processes ({first_line(failures[0])}; {told})",
            way_out=(
                f"on Cloud TPU it needs nothing, elsewhere set {_ADDRESS}=HOST:PORT of the first process, "
                f"{_COUNT} and {_ID} from 0 on"
            ),
        ) from failures[0]


@contextmanager
def leaving_alone() -> Iterator[None]:
    """Within it, an error of this process ends it without JAX's farewell, and the loss of another comes as InputError.

    In the farewell it would wait for the others, for minutes, and they for its part of a step.
    """
    try:
        yield
    except RefusedTogetherError:
        raise
    except Exception as error:
        if not _are_processes_joined():
            raise
        atexit.register(_end)  # what is registered last comes first, before JAX's
        if isinstance(error, InputError) or not _IS_LOST.search(f"{type(error).__name__}: {error}"):
            raise
        raise InputError(
            f"another process of this training is gone ({first_line(error)})",
            way_out="see what it said, and start all of them again: they go on from the last checkpoint",
        ) from error


def _are_processes_joined() -> bool:
    if keras.backend.backend() != "jax":
        return False
    import jax

    return bool(jax.distributed.is_initialized())


def _end() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def is_first_process() -> bool:
    """Whether this is the process that writes and prints."""
    if keras.backend.backend() != "jax":
        return True
    import jax

    return bool(jax.process_index() == 0)


def find_devices() -> Devices:
    """All devices of the backend, which the variables made from now on are copied to. TensorFlow trains on one."""
    if keras.backend.backend() != "jax":
        import tensorflow as tf

        if (gpus := len(tf.config.list_physical_devices("GPU"))) > 1:
            logger.warning("TensorFlow trains on one of %d GPUs; --backend jax trains on all of them", gpus)
        return ONE_DEVICE
    import jax

    if jax.device_count() == 1:
        return ONE_DEVICE
    # Process by process: so the rows that one reads are those of its own devices, and lie as in the whole batch.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    names = [f"{device.platform}:{device.id}" for device in devices]
    distribution = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
    keras.distribution.set_distribution(distribution)
    mesh = distribution.device_mesh.backend_mesh
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*mesh.axis_names))
    return Devices(jax.device_count(), jax.process_index(), jax.process_count(), sharding)


def _all_gather(value: np.ndarray) -> np.ndarray:
    """The arrays of all processes, of one shape, stacked."""
    from jax.experimental import multihost_utils

    gathered: np.ndarray = multihost_utils.process_allgather(value)
    return gathered


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values within dicts and lists, with the nearest name above each."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)
    else:
        yield name, value

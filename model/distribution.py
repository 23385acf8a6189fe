"""The devices that a step runs on: all that JAX sees, of one process or of several, each with a part of every batch.

Weights are the same on every device. A batch is one array, of which each device holds its rows; so the step is written,
and compiled, as for one device, and its sums are those of the whole batch.
"""

from dataclasses import dataclass
from typing import Any

import keras

from model.randomness import Tensor
from tokenizer.errors import InputError, first_line

Batch = dict[str, Tensor]

_STEPS_BETWEEN_TALKS = 5  # each waits for the devices


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
                f"{name} is {batch_size}; expected a multiple of {self.count * parts}, for {devices}{steps}"
            )

    def agree(self, step: int) -> None:
        """Raises InputError when the processes would begin at different steps."""
        if self.num_hosts == 1:
            return
        from jax.experimental import multihost_utils

        steps = multihost_utils.process_allgather(step)
        if steps.min() != steps.max():
            raise InputError(
                f"the processes would begin at steps {steps.min()} to {steps.max()}; expected one model_dir that all "
                "of them see, in Cloud Storage or on a shared disk"
            )

    def any_stops(self, step: int, stops: bool) -> bool:
        """Whether any process stops after a step, so that all do. They ask one another every few steps."""
        if self.num_hosts == 1:
            return stops
        if step % _STEPS_BETWEEN_TALKS:
            return False
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(stops).any())


ONE_DEVICE = Devices()


def join_processes() -> None:
    """Joins the processes of this training on other hosts, before anything is computed.

    Cloud TPU tells of them, or else Keras's environment variables: KERAS_DISTRIBUTION_JOB_ADDRESSES (host and port of
    the first process), KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID. Raises InputError when they
    are not told of, or do not come.
    """
    keras.utils.set_random_seed(0)  # else Keras makes one by talking, in a way that not every device has
    try:
        keras.distribution.initialize()
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"--distributed finds no other processes ({first_line(error)}); on Cloud TPU it needs nothing, elsewhere "
            "set KERAS_DISTRIBUTION_JOB_ADDRESSES=HOST:PORT of the first process, KERAS_DISTRIBUTION_NUM_PROCESSES and "
            "KERAS_DISTRIBUTION_PROCESS_ID"
        ) from error


def is_first_process() -> bool:
    """Whether this is the process that writes and prints."""
    if keras.backend.backend() != "jax":
        return True
    import jax

    return bool(jax.process_index() == 0)


def find_devices() -> Devices:
    """All devices of the backend, which the variables made from now on are copied to. TensorFlow trains on one."""
    if keras.backend.backend() != "jax":
        return ONE_DEVICE
    import jax

    if jax.device_count() == 1:
        return ONE_DEVICE
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    keras.distribution.set_distribution(distribution)
    mesh = distribution.device_mesh.backend_mesh
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*mesh.axis_names))
    return Devices(jax.device_count(), jax.process_index(), jax.process_count(), sharding)

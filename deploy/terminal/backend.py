"""The backend of Keras that a command runs on."""

import os

from maskmill.model.training.signals import signals_end_at_once
from maskmill.pipeline.processes import hold_back_stderr


def choose_backend(backend: str, distributed: bool = False) -> None:
    """Imports Keras on a backend, TensorFlow or JAX, and joins the other processes where there are some."""
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with signals_end_at_once(), hold_back_stderr():  # TensorFlow greets every user with notes on GPUs and rounding
        import maskmill.model.bert.encoder  # noqa: F401
        from maskmill.model.training.distribution import join_processes
    if distributed:
        join_processes()

"""The record of a training: `metrics.jsonl`, TensorBoard events, and `training.png`."""

import errno
import io
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary

from maskmill.pipeline.records.tfrecord import frame_records
from maskmill.pipeline.storage.storage import write_bytes, write_text
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import check_of, parse_json

METRICS = "metrics.jsonl"
PICTURE = "training.png"


class MetricsLog:
    """Writes the metrics of a training as it goes on; forgets what an interrupted run wrote after `start_step`."""

    def __init__(self, model_dir: Path, start_step: int, writes: bool = True):
        self.writes = writes
        if not writes:
            return
        path = model_dir / METRICS
        kept = [row for row in read_metrics(model_dir) if row["step"] <= start_step]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        # Unbuffered: what is written is there for whoever looks, and after whatever ends the process.
        self.file = path.open("ab", buffering=0)
        now = time.time()
        name = f"events.out.tfevents.{now:010.0f}.{socket.gethostname()}.{os.getpid()}"  # as TensorBoard has them
        self.events = (model_dir / name).open("ab", buffering=0)
        self._add_event(Event(wall_time=now, file_version="brain.Event:2"))
        # TensorBoard then forgets what an interrupted run wrote of this step and later ones.
        start = SessionLog(status=SessionLog.START)
        self._add_event(Event(wall_time=now, step=start_step + 1, session_log=start))

    def write(self, step: int, metrics: dict[str, float], seconds: float) -> None:
        """Adds a step's metrics by name; `seconds` since 1970. Raises InputError when there is no room for them."""
        if not self.writes:
            return
        _append(self.file, (json.dumps({"step": step, **metrics}) + "\n").encode())
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._add_event(Event(step=step, wall_time=seconds, summary=Summary(value=values)))

    def close(self) -> None:
        """Closes both files."""
        if not self.writes:
            return
        self.file.close()
        self.events.close()

    def _add_event(self, event: Event) -> None:
        _append(self.events, frame_records([event.SerializeToString()]))


def _append(file: io.FileIO, data: bytes) -> None:
    try:
        if file.write(data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise InputError(
            f"{file.name} cannot be written ({error.strerror})", way_out="make room, and give the same command again"
        ) from error


def read_metrics(model_dir: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`: `step`, and the metrics by name. What is no row, is passed over."""
    path = model_dir / METRICS
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with suppress(ValueError):  # half a line, when the machine stopped while it was written
            row = parse_json(line)
            if check_of(dict[str, float])(row) and isinstance(row.get("step"), int):
                rows.append(row)
    return rows


def draw_training(model_dir: Path) -> None:
    """`metrics.jsonl` -> `training.png`: losses and accuracies over the steps."""
    from matplotlib.figure import Figure  # not pyplot, which looks for a display

    rows = read_metrics(model_dir)
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = {
        "loss": ("loss", "masked_lm_loss", "next_sentence_loss"),
        "accuracy": ("masked_lm_accuracy", "next_sentence_accuracy"),
    }
    for axes, (title, names) in zip(figure.subplots(1, 2), panels.items()):
        for name in (*names, *(f"eval_{name}" for name in names)):
            points = [(row["step"], row[name]) for row in rows if name in row]
            if points:
                axes.plot(*zip(*points), ".--" if name.startswith("eval_") else "-", label=name)
        axes.set(xlabel="step", title=title)
        axes.grid(alpha=0.3)
        if axes.lines:  # none where a training was ended before its first line
            axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120)
    write_bytes(model_dir / PICTURE, picture.getvalue())

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from maskmill.model.training.profiling import TRACED_STEPS, WARM_UP_STEPS, Profiler
from maskmill.tokenizer.errors import InputError


def step(number):
    return keras.ops.sum(keras.ops.ones((number, number)))


def traces_of(folder: Path, steps: int) -> list[Path]:
    profiler = Profiler(folder, is_wanted=True, steps=steps)
    for number in range(1, steps + 1):
        profiler.step_begins()
        assert profiler.is_tracing == (profiler.first < number <= profiler.last)
        profiler.step_done(step(number))
    assert not profiler.is_tracing
    return sorted(folder.glob("profile/plugins/profile/*/*.xplane.pb"))


def test_a_trace_is_where_tensorboard_looks_and_can_be_read(tmp_path):
    (trace,) = traces_of(tmp_path, 20)
    if keras.backend.backend() == "tensorflow":
        from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

        planes = XSpace.FromString(trace.read_bytes()).planes
    else:
        from jax.profiler import ProfileData

        planes = list(ProfileData.from_file(str(trace)).planes)
    assert any(line.events for plane in planes for line in plane.lines)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_a_short_training_is_traced_too(tmp_path, steps):
    profiler = Profiler(tmp_path, True, steps)
    assert profiler.last - profiler.first == min(steps, TRACED_STEPS)
    assert len(traces_of(tmp_path, steps)) == 1


def test_the_steps_that_compile_are_left_out():
    profiler = Profiler(Path(), True, 1000)
    assert (profiler.first, profiler.last) == (WARM_UP_STEPS, WARM_UP_STEPS + TRACED_STEPS)


def test_a_second_run_adds_a_trace(tmp_path, monkeypatch):
    traces_of(tmp_path, 1)
    (first,) = tmp_path.glob("profile/plugins/profile/*")
    first.rename(first.with_name("2000_01_01_00_00_00"))  # named by the second
    assert len(traces_of(tmp_path, 1)) == 2


def test_an_interrupted_trace_is_written(tmp_path):
    profiler = Profiler(tmp_path, True, 20)
    for number in range(1, WARM_UP_STEPS + 2):
        profiler.step_begins()
        profiler.step_done(step(number))
    profiler.step_begins()
    profiler.close()
    assert list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))


def test_a_trace_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "profile").write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"profile cannot be written \(.+\); make room, or train without --profile"):
        traces_of(tmp_path, 3)


def test_nothing_is_traced_unless_wanted(tmp_path):
    profiler = Profiler(tmp_path, False, 20)
    for number in range(1, 21):
        profiler.step_begins()
        profiler.step_done(step(number))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="runs on JAX already")
def test_all_this_holds_on_jax():
    pytest.importorskip("jax", reason="the [jax] extra is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    run = subprocess.run([sys.executable, "-m", "pytest", __file__], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:]

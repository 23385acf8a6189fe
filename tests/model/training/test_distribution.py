"""Several devices, emulated in one process, and several processes on loopback: both as one device."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import cache

import numpy as np
import pytest
from places import HELPERS
from small_dataset import write_dataset

from maskmill.model.training import distribution
from maskmill.model.training.checkpoint import list_checkpoints, read_best, read_checkpoint
from maskmill.model.training.distribution import Devices, RefusedTogetherError
from maskmill.model.training.metrics_log import read_metrics
from maskmill.tokenizer.errors import InputError

pytest.importorskip("jax", reason="the [jax] extra is not installed")

BERT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
STEPS = 60
ARGUMENTS = [
    "--backend", "jax", "--train-batch-size", 16, "--num-train-steps", STEPS, "--learning-rate", 1e-3,
    "--eval-every", 4, "--save-checkpoints-steps", 2,
]  # fmt: skip
LONGEST = 300  # seconds that a process which is to end may take


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds `shards`, `other_shards` and `bert.json`."""
    folder = tmp_path_factory.mktemp("distribution")
    for name, seed in (("shards", 0), ("other_shards", 9)):
        train = write_dataset(folder / name, [[40, 37]], seed=seed).info
        held_out = write_dataset(folder / name, [[13, 4]], split="eval", seed=seed + 1).info
        dataclasses.replace(train, shards=(*train.shards, *held_out.shards)).save(folder / name)
    (folder / "bert.json").write_text(json.dumps({**BERT, "vocab_size": 100, "max_position_embeddings": 16}))
    return folder


def start(folder, *arguments, devices=1, **environment):
    """A Python on emulated devices."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}",
        "COLUMNS": "200",
        **environment,
    }
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_same_weights(model_dir, other_dir, step=None):
    """Weights and moments after the same number of steps."""
    names = [f"checkpoint-{step}.safetensors"] if step else [path.name for _, path in list_checkpoints(other_dir)[:1]]
    for name in names:
        ours, theirs = read_checkpoint(model_dir / name), read_checkpoint(other_dir / name)
        assert ours.keys() == theirs.keys()
        for weight in ours:
            np.testing.assert_allclose(ours[weight], theirs[weight], rtol=0, atol=1e-5, err_msg=weight)


@pytest.fixture(scope="module")
def trained_on(folder):
    """A number of devices to the folder that `train_on_devices.py` wrote where there are so many."""

    @cache
    def train(devices):
        script, output = HELPERS / "train_on_devices.py", folder / f"with{devices}"
        process = start(folder, script, folder / "shards", output, devices=devices)
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
        return output

    return train


on_several = pytest.mark.parametrize("devices", [2, pytest.param(8, marks=pytest.mark.slow)])


@on_several
@pytest.mark.parametrize("case", ["plain", "in_parts_masked_anew"])
def test_several_devices_come_to_the_weights_of_one(trained_on, devices, case):
    assert_same_weights(trained_on(devices) / "on_all" / case, trained_on(devices) / "on_one" / case)


def test_dropout_took_part_in_that(trained_on):
    plain, other = (
        list_checkpoints(trained_on(2) / "on_all" / case)[0][1] for case in ("plain", "in_parts_masked_anew")
    )
    name = "bert/layer_0/query/kernel"
    assert np.abs(read_checkpoint(plain)[name] - read_checkpoint(other)[name]).max() > 1e-5


@on_several
def test_losses_and_evaluation_are_those_of_one_device(trained_on, devices):
    ours, theirs = (read_metrics(trained_on(devices) / number / "plain") for number in ("on_all", "on_one"))
    assert "eval_loss" in ours[-1]
    speeds = ("sequences_per_second", "tokens_per_second", "mfu")
    for row, expected in zip(ours, theirs, strict=True):
        assert row.keys() == expected.keys()
        for name in row.keys() - speeds:
            assert row[name] == pytest.approx(expected[name], rel=1e-5), name


@on_several
def test_each_device_has_its_rows_of_the_batch_and_all_of_the_weights(trained_on, devices):
    found = json.loads((trained_on(devices) / "found.json").read_text())
    assert found["rows"] == [16 // devices] * devices
    assert found["replicated"]
    assert found["copies"] == [devices]


@on_several
def test_devices_send_one_another_gradients_and_sums_but_nothing_of_a_batch(trained_on, devices):
    found = json.loads((trained_on(devices) / "found.json").read_text())
    assert found["exchanged"] == ["all-reduce"]
    assert set(found["shapes"]) - set(found["weights"]) <= {"f32[]", "pred[]"}


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(InputError, match="multiple of 16, for 8 devices and gradient_accumulation_steps 2"):
        Devices(count=8).check_batch("train_batch_size", 24, parts=2)


@pytest.mark.slow
def test_a_batch_that_cannot_be_divided_is_refused_before_anything_is_written(trained_on):
    found = json.loads((trained_on(8) / "found.json").read_text())
    assert found["refusal"] == "train_batch_size is 12; expected a multiple of 8, for 8 devices"
    assert not (trained_on(8) / "refused").exists()


# Several processes.


def start_train(folder, model_dir, dataset="shards", **environment):
    """`maskmill train` in a process of its own."""
    command = "import sys; from maskmill.deploy.cli import main; main(prog_name='maskmill')"
    arguments = [*ARGUMENTS, "--model-dir", model_dir, "--bert-config", folder / "bert.json"]
    if environment:
        arguments.append("--distributed")
    return start(folder, "-c", command, "train", folder / dataset, *arguments, **environment)


def start_two(folder, model_dir, datasets=("shards", "shards")):
    """The same in two processes, which find one another."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    common = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    return [
        start_train(folder, model_dir, dataset, **common, KERAS_DISTRIBUTION_PROCESS_ID=str(number))
        for number, dataset in enumerate(datasets)
    ]


def outputs_of(processes):
    """What processes print, once they have ended: both streams of each."""
    try:
        return [process.communicate(timeout=LONGEST) for process in processes]
    finally:
        for process in processes:
            process.kill()


def wait_for_checkpoint(model_dir, processes):
    """Waits until a training is well on its way."""
    while not list_checkpoints(model_dir):
        assert [process.poll() for process in processes] == [None, None], outputs_of(processes)
        time.sleep(0.01)


@pytest.fixture(scope="module")
def trained_alone(folder):
    process = start_train(folder, folder / "alone")
    ((_, errors),) = outputs_of([process])
    assert process.returncode == 0, errors[-3000:]
    return folder / "alone"


@pytest.fixture(scope="module")
def trained_by_two(folder):
    """The model folder, and what each process printed."""
    processes = start_two(folder, folder / "by_two")
    outputs = outputs_of(processes)
    assert [process.returncode for process in processes] == [0, 0], outputs
    return folder / "by_two", outputs


@pytest.mark.slow
def test_two_processes_come_to_the_weights_of_one(trained_by_two, trained_alone):
    model_dir, _ = trained_by_two
    assert_same_weights(model_dir, trained_alone)
    ours, theirs = read_best(model_dir), read_best(trained_alone)
    assert ours[0] == theirs[0]
    assert ours[1] == pytest.approx(theirs[1], rel=1e-5)
    for row, expected in zip(read_metrics(model_dir), read_metrics(trained_alone), strict=True):
        assert row.keys() == expected.keys()
        for name in {"loss", "eval_loss", "eval_masked_lm_accuracy"} & row.keys():
            assert row[name] == pytest.approx(expected[name], rel=1e-5)


@pytest.mark.slow
def test_the_first_of_two_processes_writes_and_prints_alone(trained_by_two, trained_alone):
    model_dir, ((first, _), (second, _)) = trained_by_two
    logs = [path for path in model_dir.iterdir() if path.name.startswith("events.out.tfevents")]
    assert len(logs) == 1
    others = {path.name for path in model_dir.iterdir()} - {logs[0].name}
    assert others == {path.name for path in trained_alone.iterdir() if "tfevents" not in path.name}
    assert f"Wrote {model_dir}: {STEPS} steps" in first
    assert "BERT" not in second
    assert "Wrote" not in second


@pytest.mark.slow
def test_sigterm_to_one_process_stops_both_and_the_same_command_goes_on(folder, trained_by_two):
    model_dir = folder / "stopped"
    processes = start_two(folder, model_dir)
    wait_for_checkpoint(model_dir, processes)
    processes[1].send_signal(signal.SIGTERM)
    outputs = outputs_of(processes)
    assert [process.returncode for process in processes] == [0, 0], outputs
    stopped_at = list_checkpoints(model_dir)[0][0]
    assert stopped_at < STEPS
    assert f"Stopped after step {stopped_at} of {STEPS}" in outputs[0][0]

    processes = start_two(folder, model_dir)
    outputs = outputs_of(processes)
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert_same_weights(model_dir, trained_by_two[0])
    evaluations = (
        [row["eval_loss"] for row in read_metrics(d) if "eval_loss" in row] for d in (model_dir, trained_by_two[0])
    )
    assert next(evaluations) == pytest.approx(next(evaluations), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_when_one_process_is_killed_the_other_ends_and_says_so(folder, tmp_path, killed):
    processes = start_two(folder, tmp_path / "model")
    wait_for_checkpoint(tmp_path / "model", processes)
    processes[killed].kill()
    _, errors = outputs_of(processes)[1 - killed]
    assert processes[1 - killed].returncode not in (0, -signal.SIGKILL), errors
    # Without the first process JAX ends the others itself, and may be faster than our own sentence.
    by_jax = "another task died" if killed == 0 else "never said"
    assert "Error: another process of this training is gone" in errors or by_jax in errors


@pytest.mark.slow
def test_processes_with_different_data_are_refused(folder, tmp_path):
    processes = start_two(folder, tmp_path / "model", ("shards", "other_shards"))
    for process, (_, errors) in zip(processes, outputs_of(processes)):
        assert process.returncode == 1, errors
        assert "Traceback" not in errors
        assert "Error: process 0 has dataset_sha256 " in errors
        assert "give all processes the same command" in errors
    assert not (tmp_path / "model").exists()


SETTINGS = [
    ({"JOB_ADDRESSES": "127.0.0.1:PORT", "NUM_PROCESSES": "2", "PROCESS_ID": "0"}, "the other processes did not come"),
    ({"JOB_ADDRESSES": "127.0.0.1:PORT", "NUM_PROCESSES": "2", "PROCESS_ID": "1"}, "the other processes did not come"),
    ({"JOB_ADDRESSES": "127.0.0.1:PORT", "NUM_PROCESSES": "2", "PROCESS_ID": "2"}, "finds no other processes"),
    ({"JOB_ADDRESSES": "127.0.0.1:PORT", "NUM_PROCESSES": "two"}, "finds no other processes (invalid literal"),
    ({}, "finds no other processes (coordinator_address should be defined"),
]
JOIN = """import json, os, sys
import maskmill.model.training.distribution as distribution
for seconds, environment in json.loads(sys.argv[1]):  # a process each, which need not import JAX again
    if os.fork():
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
        continue
    os.environ.update(environment)
    distribution.SECONDS_TO_JOIN = seconds
    try:
        distribution.join_processes()
    except distribution.InputError as error:
        print(error, flush=True)
        os._exit(1)
"""


def test_a_process_that_never_comes_and_wrong_settings_are_told_in_time(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = [
        {f"KERAS_DISTRIBUTION_{name}": value.replace("PORT", port) for name, value in environment.items()}
        for environment, _ in SETTINGS
    ]
    seconds = [1 if "did not come" in sentence else LONGEST for _, sentence in SETTINGS]
    process = start(folder, "-c", JOIN, json.dumps([*zip(seconds, told)]))
    ((printed, errors),) = outputs_of([process])
    assert process.returncode == 0, errors
    for line, environment, (_, sentence) in zip(printed.splitlines(), told, SETTINGS, strict=True):
        assert sentence in line
        assert all(f"{name}={value}" in line for name, value in environment.items())


def in_threads(monkeypatch, function, count=2):
    """Runs `function(Devices)` for each of several processes that are played by threads -> what each raised."""
    everybody, values, raised = threading.Barrier(count, timeout=LONGEST), [None] * count, [None] * count
    own = threading.local()

    def all_gather(value):
        values[own.host] = value
        everybody.wait()
        gathered = np.stack(values)
        everybody.wait()
        return gathered

    def play(host):
        own.host = host
        try:
            function(Devices(count, host, count))
        except InputError as error:
            raised[host] = error

    monkeypatch.setattr(distribution, "_all_gather", all_gather)
    threads = [threading.Thread(target=play, args=(host,)) for host in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_what_one_process_refuses_all_refuse(monkeypatch):
    def refuse(devices):
        with devices.together():
            if devices.host == 1:
                raise InputError("shard 7 is missing")

    raised = in_threads(monkeypatch, refuse, count=3)
    assert {str(error) for error in raised} == {"process 1 of 3: shard 7 is missing"}
    assert {type(error) for error in raised} == {RefusedTogetherError}


def test_the_first_value_that_differs_is_named(monkeypatch):
    def compare(devices):
        configs = {"train_config": {"learning_rate": 1e-4, "eval_every": 10 + devices.host}, "phases": [{"steps": 1}]}
        devices.require_same({"vocab": "abc", **configs})

    for error in in_threads(monkeypatch, compare):
        assert str(error).startswith("process 0 has eval_every 10, process 1 has 11; give all processes")
    assert in_threads(monkeypatch, lambda devices: devices.require_same({"vocab": "ä"})) == [None, None]


def test_all_stop_when_one_does_at_a_step_at_which_they_talk(monkeypatch):
    stops = {}

    def stop(devices):
        for step in range(1, 11):
            stops[devices.host, step] = devices.any_stops(step, devices.host == 1 and step >= 6)

    assert in_threads(monkeypatch, stop) == [None, None]
    assert [key for key, is_stop in sorted(stops.items()) if is_stop] == [(0, 10), (1, 10)]
    assert Devices().any_stops(3, True)


def test_tensorflow_tells_that_it_leaves_gpus_alone(monkeypatch, caplog):
    tensorflow = pytest.importorskip("tensorflow", reason="needs the [train] extra")
    if distribution.keras.backend.backend() != "tensorflow":
        pytest.skip("tests TensorFlow")
    for count, warnings in ((0, 0), (1, 0), (2, 1)):
        monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind, count=count: ["gpu"] * count)
        caplog.clear()
        assert distribution.find_devices() == Devices()
        assert len(caplog.records) == warnings
    assert "one of 2 GPUs; --backend jax trains on all" in caplog.text

"""A training that was ended anywhere, in whatever way, comes to the bytes of one that was not."""

import json
import random
import signal

import pytest
from command import run as maskmill
from mortal_training import Run, run_all

pytest.importorskip("tensorflow", reason="needs the [train] extra")
pytest.importorskip("jax", reason="the [jax] extra is not installed")

BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
BORDER, LAST = 7, 13
EVERYTHING = [
    "--train-batch-size", 8, "--gradient-accumulation-steps", 2, "--optimizer", "lamb", "--precision", "bfloat16",
    "--dynamic-masking", "--learning-rate", 0.01, "--num-warmup-steps", 3, "--save-checkpoints-steps", 4,
    "--eval-every", 3, "--keep-checkpoints", 2,
]  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory, corpus_file, small_vocab_file):
    """Holds the datasets `seq24` and `seq32`, and `bert.json`."""
    folder = tmp_path_factory.mktemp("resume")
    (folder / "bert.json").write_text(json.dumps({**BERT, "max_position_embeddings": 32}))
    maskmill(
        "generate", corpus_file, "--vocab-file", small_vocab_file, "--output", folder, "--max-seq-length", 24,
        "--max-seq-length", 32, "--eval-fraction", 0.2, "--dupe-factor", 2,
    )  # fmt: skip
    return folder


def train_command(shards, model_dir, *arguments):
    datasets = ["--phase", f"{shards}/seq24:{BORDER}", "--phase", f"{shards}/seq32:{LAST - BORDER}"]
    command = ["train", *datasets, "--model-dir", model_dir, "--bert-config", shards / "bert.json", *EVERYTHING]
    return [str(argument) for argument in (*command, *arguments)]


@pytest.fixture(scope="module", params=["jax", "tensorflow"])
def uninterrupted(request, shards, tmp_path_factory):
    """The backend, the folder of its compiled steps, and the folder of a model that was trained in one go."""
    folder = tmp_path_factory.mktemp(request.param)
    (end,) = run_all(request.param, folder / "cache", Run(train_command(shards, folder / "model")))
    assert end.status == 0, end.stderr
    assert f"{LAST} steps" in end.stdout
    return request.param, folder / "cache", folder / "model"


def outcome(model_dir):
    """The weights and all other state at the end, the best weights, and every loss and accuracy on the way."""
    files = {path.name: path.read_bytes() for path in model_dir.glob("checkpoint-*")}
    rows = [json.loads(line) for line in (model_dir / "metrics.jsonl").read_text().splitlines()]
    speeds = ("sequences_per_second", "tokens_per_second", "mfu")
    return files, [{name: value for name, value in row.items() if name not in speeds} for row in rows]


def assert_equal(model_dir, expected_dir):
    files, rows = outcome(model_dir)
    expected_files, expected_rows = outcome(expected_dir)
    assert sorted(files) == ["checkpoint-12.safetensors", f"checkpoint-{LAST}.safetensors", "checkpoint-best.safetensors"]
    assert [name for name in files if files[name] != expected_files[name]] == []
    assert rows == expected_rows
    assert [row["step"] for row in rows if "eval_loss" in row] == [3, 6, 9, 12, LAST]
    assert not list(model_dir.glob(".*"))


def test_a_training_that_is_killed_again_and_again_ends_as_an_uninterrupted_one(uninterrupted, shards, tmp_path):
    backend, cache, expected = uninterrupted
    model_dir = tmp_path / "model"
    command = train_command(shards, model_dir)

    def end(at, step, number=signal.SIGKILL):
        return Run(command, at, step, signal=number), -number if number == signal.SIGKILL else 0

    plan = [
        end("writing", 4),
        end("in step", BORDER, signal.SIGTERM),
        end("best", 9),
        (Run(command), 0),
    ]
    if backend == "jax":  # compiles once
        plan[1:2] = [
            end("in step", 2),
            end("in step", 3, signal.SIGTERM),  # an evaluation is due, which the next run makes up for
            end("saved", 4),
            end("evaluating", 6, signal.SIGTERM),
            end("evaluating", 6),
            end("in step", BORDER, signal.SIGTERM),
        ]
        plan.insert(-1, end("saved", LAST))  # before the last evaluation
    ends = run_all(backend, cache, *(run for run, _ in plan))
    assert [end.status for end in ends] == [status for _, status in plan], ends
    for (run, _), end in zip(plan, ends):
        if run.signal == signal.SIGTERM:
            sentence = f"Stopped by SIGTERM after step {run.step} of {LAST}, which is saved in {model_dir}; "
            assert end.stdout.splitlines()[-1] == sentence + "the same command goes on"
            assert end.stderr == ""
    assert_equal(model_dir, expected)


def test_a_training_that_is_killed_at_any_time_ends_as_an_uninterrupted_one(uninterrupted, shards, tmp_path):
    backend, cache, expected = uninterrupted
    if backend == "tensorflow":
        pytest.skip("compiles for too long")
    model_dir = tmp_path / "model"
    command = train_command(shards, model_dir, "--save-checkpoints-steps", 1)  # so that much time goes into writing
    seconds = [random.uniform(0.5, 6) for _ in range(6)]
    runs = [Run(command, "after", seconds=some) for some in seconds]
    ends = run_all(backend, cache, *runs, Run(command), until_done=True)
    assert {end.status for end in ends[:-1]} <= {-signal.SIGKILL}, ends
    assert ends[-1].status == 0, seconds
    assert_equal(model_dir, expected)

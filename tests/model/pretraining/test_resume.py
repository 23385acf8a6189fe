"""A training that was ended anywhere, in whatever way, comes to the bytes of one that was not."""

import json
import random
import signal
from contextlib import closing

import click
import numpy as np
import pytest
from command import refuse
from command import run as maskmill
from mortal_training import Run, run_all

from maskmill.deploy.training.train import parse_phase
from maskmill.model.pretraining.config import PhaseRequest, TrainConfig
from maskmill.pipeline.dataset.dataset import Dataset

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
    """The backend, and the folder of a model that was trained in one go."""
    folder = tmp_path_factory.mktemp(request.param)
    (end,) = run_all(request.param, Run(train_command(shards, folder / "model")))
    assert end.status == 0, end.stderr
    assert f"{LAST} steps" in end.stdout
    return request.param, folder / "model"


def outcome(model_dir):
    """The weights and all other state at the end, the best weights, and every loss and accuracy on the way."""
    files = {path.name: path.read_bytes() for path in model_dir.glob("checkpoint-*")}
    rows = [json.loads(line) for line in (model_dir / "metrics.jsonl").read_text().splitlines()]
    speeds = ("sequences_per_second", "tokens_per_second", "mfu")
    return files, [{name: value for name, value in row.items() if name not in speeds} for row in rows]


def assert_equal(model_dir, expected_dir):
    files, rows = outcome(model_dir)
    expected_files, expected_rows = outcome(expected_dir)
    assert sorted(files) == [
        "checkpoint-12.safetensors",
        f"checkpoint-{LAST}.safetensors",
        "checkpoint-best.safetensors",
    ]
    assert [name for name in files if files[name] != expected_files[name]] == []
    assert rows == expected_rows
    assert [row["step"] for row in rows if "eval_loss" in row] == [3, 6, 9, 12, LAST]
    assert not list(model_dir.glob(".*"))


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_as_an_uninterrupted_one(uninterrupted, shards, tmp_path):
    backend, expected = uninterrupted
    model_dir = tmp_path / "model"
    command = train_command(shards, model_dir)

    def end(at, step, number=signal.SIGKILL):
        return Run(command, at, step, signal=number), {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 0}[
            number
        ]

    plan = [
        end("writing", 4),
        end("in step", BORDER, signal.SIGTERM),
        end("best", 9),
        (Run(command), 0),
    ]
    if backend == "jax":  # compiles once
        plan[:2] = [
            end("in step", 1, signal.SIGTERM),  # while it compiles
            end("in step", 3, signal.SIGINT),  # an evaluation is due, which the next run makes up for
            end("writing", 4),
            end("saved", 4),
            end("evaluating", 6, signal.SIGTERM),
            end("evaluating", 6),
            end("in step", BORDER, signal.SIGTERM),
        ]
        plan.insert(-1, end("saved", LAST))  # before the last evaluation
    ends = run_all(backend, *(run for run, _ in plan))
    assert [end.status for end in ends] == [status for _, status in plan], ends
    for (run, _), end in zip(plan, ends):
        if run.signal == signal.SIGTERM:
            sentence = f"Stopped after step {run.step} of {LAST}, which is saved in {model_dir}; "
            assert end.stdout.splitlines()[-1] == sentence + "the same command goes on"
            # TensorFlow says in a forked process that there is no GPU.
            told = [line for line in end.stderr.splitlines() if line and "cuInit" not in line]
            assert told == ["SIGTERM: stopping after the step at hand and its checkpoint; a second one ends it without"]
        if run.signal == signal.SIGINT:
            assert end.stderr.strip().startswith("SIGINT: stopping after the step at hand and its checkpoint; ")
            sentence = f"Stopped; the same command goes on from the last checkpoint in {model_dir}, if there is one."
            assert end.stderr.splitlines()[-1] == sentence
    assert_equal(model_dir, expected)


@pytest.mark.slow
def test_a_training_that_is_killed_at_any_time_ends_as_an_uninterrupted_one(uninterrupted, shards, tmp_path):
    backend, expected = uninterrupted
    if backend == "tensorflow":
        pytest.skip("compiles for too long")
    model_dir = tmp_path / "model"
    command = train_command(shards, model_dir, "--save-checkpoints-steps", 1)  # so that much time goes into writing
    seconds = [random.uniform(0.5, 6) for _ in range(6)]
    runs = [Run(command, "after", seconds=some) for some in seconds]
    ends = run_all(backend, *runs, Run(command), until_done=True)
    assert {end.status for end in ends[:-1]} <= {-signal.SIGKILL}, ends
    assert ends[-1].status == 0, seconds
    assert_equal(model_dir, expected)


ONE_STEP = ["--num-train-steps", 1, "--num-warmup-steps", 0]  # and that at a learning rate of 0
WITHOUT_DROPOUT = {**BERT, "max_position_embeddings": 32, "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0}
DYNAMIC, IN_PARTS = "--dynamic-masking", ["--gradient-accumulation-steps", 4]


@pytest.fixture(scope="module")
def trained(shards, corpus_file, small_vocab_file, tmp_path_factory):
    """Models without dropout, by name: the folder of the dataset and that of the model."""
    folder = tmp_path_factory.mktemp("masking")
    (folder / "bert.json").write_text(json.dumps(WITHOUT_DROPOUT))
    vocab = ["--vocab-file", small_vocab_file, "--max-seq-length", 24, "--max-predictions-per-seq", 4]
    for objective in ("sop", "mlm"):
        output = [
            "--output",
            folder / f"shards-{objective}",
            "--objective",
            objective,
            "--whole-word-mask",
            "--dupe-factor",
            2,
        ]
        maskmill("generate", corpus_file, *vocab, *output)
    nsp, sop, mlm = shards / "seq24", folder / "shards-sop", folder / "shards-mlm"
    models = {
        "nsp": (nsp, [*ONE_STEP, DYNAMIC]),
        "sop": (sop, [*ONE_STEP, DYNAMIC]),
        "mlm, in parts, another seed": (mlm, [*ONE_STEP, DYNAMIC, *IN_PARTS, "--random-seed", 7]),
        "three steps": (nsp, ["--num-train-steps", 3, DYNAMIC]),
        "three steps in parts": (nsp, ["--num-train-steps", 3, DYNAMIC, *IN_PARTS]),
    }
    common = ["--bert-config", folder / "bert.json", "--train-batch-size", 16]
    commands = [
        ["train", dataset, "--model-dir", folder / name, *arguments, *common]
        for name, (dataset, arguments) in models.items()
    ]
    ends = run_all("jax", *(Run([str(word) for word in command]) for command in commands))
    assert [end.stderr for end in ends if end.status] == []
    return {name: (dataset, folder / name) for name, (dataset, _) in models.items()}


def first_loss(model_dir):
    return json.loads((model_dir / "metrics.jsonl").read_text().splitlines()[0])["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nsp", "sop", "mlm, in parts, another seed"])
def test_a_training_masks_its_batches_as_remask_does(trained, name):
    from maskmill.model.bert.randomness import fold_in, key_of
    from maskmill.model.formats.model_dir import load_model
    from maskmill.model.pretraining.batches import train_batches
    from maskmill.model.pretraining.dynamic_masking import MaskingRules, remask
    from maskmill.model.training.step import MASKING

    dataset, model_dir = trained[name]
    seed = 7 if "seed" in name else TrainConfig.random_seed
    opened = Dataset.open(dataset)
    with closing(train_batches(opened, 16, seed)) as batches:
        static = next(batches)
    key = fold_in(fold_in(key_of(seed), MASKING), 0)
    model, _ = load_model(model_dir)  # its only step was at a learning rate of 0
    assert first_loss(model_dir) == pytest.approx(
        float(model(remask(static, key, MaskingRules.load(opened)))["loss"]), rel=1e-5
    )
    assert first_loss(model_dir) != pytest.approx(float(model(static)["loss"]), rel=1e-3)


@pytest.mark.slow
def test_parts_of_a_dynamically_masked_batch_train_as_the_whole(trained):
    from maskmill.model.training.checkpoint import read_checkpoint

    whole, parts = (
        read_checkpoint(trained[name][1] / "checkpoint-3.safetensors")
        for name in ("three steps", "three steps in parts")
    )
    start = read_checkpoint(trained["nsp"][1] / "checkpoint-1.safetensors")
    for name in start.keys() - {"global_step"}:
        np.testing.assert_allclose(parts[name], whole[name], atol=1e-5, err_msg=name)
    words = "bert/embeddings/word_embeddings"
    assert abs(whole[words] - start[words]).max() > 1e-4


@pytest.mark.parametrize(
    ("arguments", "sentence", "exit_code"),
    [
        (["--phase", "SEQ24:0"], "seq24:0 is given; expected DIR:STEPS with 1 to 2,147,483,647 steps", 2),
        (["--phase", "SEQ24"], "seq24 is given; expected DIR:STEPS", 2),
        (["--phase", "SEQ24:"], "seq24: is given; expected DIR:STEPS", 2),
        (["--phase", ":5"], ":5 is given; expected DIR:STEPS", 2),
        (["--phase", "SEQ24:five"], "seq24:five is given; expected DIR:STEPS", 2),
        (["--phase", "SEQ24:-5"], "seq24:-5 is given; expected DIR:STEPS", 2),
        (["--phase", "SEQ24:5", "--num-train-steps", 5], "--num-train-steps is given beside --phase DIR:STEPS", 2),
        (["--phase", "SEQ24:5", "SEQ24"], "expected a DATASET, or --phase DIR:STEPS once or more", 2),
        ([], "expected a DATASET, or --phase DIR:STEPS once or more", 2),
        (["--phase", "SEQ24:5", "--phase", "nowhere:5"], "nowhere is no dataset", 1),
        (["--phase", "SEQ24:5", "--num-warmup-steps", 6], "num_warmup_steps is 6; expected at most num_train_steps", 1),
        (["SEQ24", "--optimizer", "sgd"], "'sgd' is not one of 'google', 'adamw', 'lamb'", 2),
        (["SEQ24", "--precision", "float16"], "'float16' is not one of 'float32', 'bfloat16'", 2),
        (["SEQ24", "--gradient-accumulation-steps", 0], "gradient_accumulation_steps is 0; expected 1 to 2^31 - 1", 2),
        (["SEQ24", "--eval-every", 0], "eval_every is 0; expected 1 to 2^31 - 1 steps", 2),
        (
            ["SEQ24", "--gradient-accumulation-steps", 3],
            "train_batch_size is 32; expected a multiple of 3, for 1 device and gradient_accumulation_steps 3",
            1,
        ),
    ],
)
def test_wrong_phases_and_choices_are_refused_in_one_sentence(shards, tmp_path, arguments, sentence, exit_code):
    given = [str(argument).replace("SEQ24", str(shards / "seq24")) for argument in arguments]
    command = ["train", *given, "--model-dir", tmp_path / "model", "--bert-config", shards / "bert.json"]
    assert sentence in refuse(*command, exit_code=exit_code)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("directory", ["gs://bucket/shards", "gs://bucket/a:b/seq128", "C:x"])
def test_a_phase_may_have_colons_in_its_path(directory):
    assert parse_phase(f"{directory}:100") == PhaseRequest(directory, 100)


def test_a_path_in_cloud_storage_without_steps_is_no_phase():
    for phase in ("gs://bucket/shards", "gs://bucket/shards:1.5", "gs://bucket/shards:"):
        with pytest.raises(click.UsageError, match="expected DIR:STEPS"):
            parse_phase(phase)

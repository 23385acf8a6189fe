"""From shards to a trained, evaluated, used and exported model, by the commands that a user types."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from command import SMALL_TRAIN, refuse, run, run_unread

from maskmill.deploy.cli import main

pytest.importorskip("tensorflow", reason="needs the [train] extra")


def test_training_writes_checkpoints_logs_and_a_picture(folder):
    names = {path.name for path in (folder / "model").iterdir()}
    assert {"checkpoint-3.safetensors", "checkpoint-6.safetensors", "metrics.jsonl", "training.png"} <= names
    assert {"bert_config.json", "vocab.txt", "training.json"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)


def test_the_same_command_again_goes_on_where_it_stopped_also_when_nobody_reads_what_it_prints(folder):
    before = (folder / "model" / "checkpoint-6.safetensors").read_bytes()
    (folder / "model" / "checkpoint-6.safetensors").unlink()
    arguments = ["--model-dir", folder / "model", "--bert-config", folder / "bert.json", *SMALL_TRAIN]
    assert run_unread("train", folder / "shards", *arguments) == 0
    assert (folder / "model" / "checkpoint-6.safetensors").read_bytes() == before


def test_another_training_in_the_same_folder_is_refused(folder):
    arguments = ["--model-dir", folder / "model", "--bert-config", folder / "bert.json", *SMALL_TRAIN]
    assert "learning_rate" in refuse("train", folder / "shards", *arguments, "--learning-rate", 0.5)


def test_evaluation_prints_and_writes_metrics_beside_guesses_and_says_what_is_not_learned(folder):
    output = run("evaluate", folder / "shards", "--model-dir", folder / "model")
    assert "always the most frequent token" in output
    assert "│ 10,000 or more                 │" in output
    assert "the model has learned little more than how frequent tokens are. Train longer" in output
    results = (folder / "model" / "eval_results.txt").read_text().splitlines()
    assert [line.split(" = ")[0] for line in results] == [
        "bits_per_character", "global_step", "loss", "masked_lm_accuracy",
        "masked_lm_accuracy_10000_or_more_per_million", "masked_lm_loss", "next_sentence_accuracy",
        "next_sentence_loss", "perplexity",
    ]  # fmt: skip


def test_what_was_measured_is_printed_also_where_it_cannot_be_written(folder, tmp_path):
    shutil.copytree(folder / "model", tmp_path / "model")
    (tmp_path / "model" / "eval_results.txt").unlink(missing_ok=True)
    (tmp_path / "model" / "eval_results.txt").mkdir()
    result = CliRunner().invoke(main, ["evaluate", str(folder / "shards"), "--model-dir", str(tmp_path / "model")])
    assert result.exit_code == 1
    assert "masked_lm_accuracy" in result.stdout
    assert "eval_results.txt cannot be written (Is a directory)" in result.stderr


def test_json_is_alone_on_stdout_and_quiet_leaves_the_result(folder):
    model = ["--model-dir", str(folder / "model")]
    evaluate = ["evaluate", str(folder / "shards"), *model]
    result = CliRunner().invoke(main, [*evaluate, "--json"])
    values = json.loads(result.stdout)
    assert values["metrics"]["masked_lm_accuracy"] >= 0
    assert set(values["guesses"]) == {"masked_lm_accuracy", "next_sentence_accuracy"}
    (band,) = values["frequency_bands"]  # of so few different tokens all are frequent
    assert (band["per_million_from"], band["per_million_below"]) == (10_000, None)
    assert band["masked_lm_accuracy"] == pytest.approx(values["metrics"]["masked_lm_accuracy"])
    assert [warning["metric"] for warning in values["warnings"]] == [*values["guesses"]]
    assert "Wrote" in result.stderr
    quiet = CliRunner().invoke(main, [*evaluate, "--quiet"])
    assert "masked_lm_accuracy" in quiet.stdout
    assert "Wrote" not in quiet.output


def test_what_else_makes_something_goes_on_too_and_what_shows_something_ends_without_a_word(
    folder, tmp_path, corpus_file, capsys
):
    shutil.copytree(folder / "model", tmp_path / "model")
    model = ["--model-dir", tmp_path / "model"]
    assert run_unread("evaluate", folder / "shards", *model) == 0
    assert (tmp_path / "model" / "eval_results.txt").exists()
    assert run_unread("export", *model, "--output", tmp_path / "exported") == 0
    assert run_unread("vocab", corpus_file, "--output", tmp_path / "vocab.txt", "--vocab-size", 60) == 0
    vocab = ["--vocab-file", tmp_path / "vocab.txt", "--max-seq-length", 32]
    assert run_unread("generate", corpus_file, *vocab, "--output", tmp_path / "shards") == 0
    assert (tmp_path / "shards" / "dataset_info.json").exists()
    assert run_unread("inspect", folder / "shards") == 1
    assert run_unread("fill-mask", *model, "the [MASK]") == 1
    assert capsys.readouterr().err == ""


# While it trains


@pytest.fixture(scope="module")
def watched(folder, tmp_path_factory):
    """A training with evaluations and a trace, and what it printed."""
    model_dir = tmp_path_factory.mktemp("watched") / "model"
    command = [
        "train",
        folder / "shards",
        "--model-dir",
        model_dir,
        "--bert-config",
        folder / "bert.json",
        *SMALL_TRAIN,
    ]
    return model_dir, run(*command, "--eval-every", 2, "--learning-rate", 0.02, "--num-warmup-steps", 5, "--profile")


def test_evaluations_on_the_way_are_printed_and_the_best_is_used_when_asked_for(watched, folder):
    model_dir, output = watched
    lines = [line for line in output.splitlines() if "held-out documents" in line]
    assert [line.split(",")[0] for line in lines] == ["step 2", "step 4", "step 6"]
    best = [line for line in lines if line.endswith(" (the best so far)")][-1]
    assert not lines[-1].endswith(" (the best so far)")  # or the newest would be the best
    evaluated = run("evaluate", folder / "shards", "--model-dir", model_dir, "--checkpoint", "best")
    for name in ("masked_lm_loss", "perplexity"):
        (value,) = [words[3] for line in evaluated.splitlines() if (words := line.split())[1:2] == [name]]
        assert f"{name} {value}" in best
    assert "│ global_step            │ 6 " in run("evaluate", folder / "shards", "--model-dir", model_dir)
    for name, *arguments in (["fill-mask", "the [MASK] sat", "--top-k", 40], ["export"]):
        made = []
        for checkpoint in ("newest", "best"):
            output_dir = model_dir.parent / f"{name}-{checkpoint}"
            more = ["--output", output_dir] if name == "export" else []
            printed = run(name, *arguments, "--model-dir", model_dir, "--checkpoint", checkpoint, *more)
            made.append((output_dir / "model.safetensors").read_bytes() if more else printed)
        assert made[0] != made[1], name


def test_a_trace_is_written_and_where_it_is_is_told(watched):
    model_dir, output = watched
    assert f"The trace is in {model_dir}/profile; see it with: tensorboard --logdir {model_dir}" in output
    assert len(list(model_dir.glob("profile/plugins/profile/*/*.xplane.pb"))) == 1


@pytest.mark.parametrize("objective", ["mlm", "sop"])
def test_other_objectives_are_trained_and_evaluated(folder, tmp_path, corpus_file, small_vocab_file, objective):
    run(
        "generate", corpus_file, "--vocab-file", small_vocab_file, "--output", tmp_path / "shards",
        "--objective", objective, "--max-seq-length", 32, "--max-predictions-per-seq", 5, "--eval-fraction", 0.2,
        "--dupe-factor", 1,
    )  # fmt: skip
    model = ["--model-dir", tmp_path / "model"]
    command = ["train", tmp_path / "shards", *model, "--bert-config", folder / "bert.json"]
    trained = run(*command, "--train-batch-size", 8, "--num-train-steps", 20, "--eval-every", 20)
    evaluated = run("evaluate", tmp_path / "shards", *model)
    metrics = (tmp_path / "model" / "metrics.jsonl").read_text()
    results = (tmp_path / "model" / "eval_results.txt").read_text()
    for said in (trained, evaluated, metrics, results):
        assert "masked_lm_accuracy" in said
        assert ("next_sentence" in said) == (objective == "sop")
    row, evaluation = map(json.loads, metrics.splitlines())
    pairs = row["next_sentence_loss"] if objective == "sop" else 0
    assert row["loss"] == pytest.approx(row["masked_lm_loss"] + pairs)
    assert ("eval_next_sentence_loss" in evaluation) == (objective == "sop")


def test_the_export_is_a_folder_of_hugging_faces_files(folder):
    run("export", "--model-dir", folder / "model", "--output", folder / "huggingface")
    names = {path.name for path in (folder / "huggingface").iterdir()}
    assert names == {
        "config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "model.keras",
    }  # fmt: skip
    assert "is not empty" in refuse("export", "--model-dir", folder / "model", "--output", folder / "huggingface")


def test_a_model_is_made_and_used_where_tensorflow_is_not_installed(folder, tmp_path):
    pytest.importorskip("jax", reason="the [jax] extra is not installed")
    model = ["--model-dir", tmp_path / "model"]
    commands = [
        ["train", folder / "shards", *model, "--bert-config", folder / "bert.json", *SMALL_TRAIN, "--eval-every", "6"],
        ["evaluate", folder / "shards", *model],
        ["fill-mask", *model, "the [MASK] sat"],
        ["export", *model, "--output", tmp_path / "huggingface"],
    ]
    code = """
import json, sys
sys.modules["tensorflow"] = None  # so that its import fails, as where it is not installed
from maskmill.deploy.cli import main
for command in json.loads(sys.argv[1]):
    main(command, standalone_mode=False)
"""
    arguments = json.dumps([[str(argument) for argument in command] for command in commands])
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    result = subprocess.run([sys.executable, "-c", code, arguments], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == ["TensorFlow is not installed here; Keras runs on JAX."]
    assert "6 steps" in result.stdout
    assert json.loads((tmp_path / "model" / "training.json").read_text())["backend"] == "jax"
    names = {path.name.partition(".tfevents")[0] for path in (tmp_path / "model").iterdir()}
    assert {"training.png", "metrics.jsonl", "eval_results.txt", "events.out"} <= names
    assert (tmp_path / "huggingface" / "model.safetensors").exists()
    *_, row = map(json.loads, (tmp_path / "model" / "metrics.jsonl").read_text().splitlines())
    results = dict(line.split(" = ") for line in (tmp_path / "model" / "eval_results.txt").read_text().splitlines())
    assert row.pop("step") == int(results["global_step"])
    for name, value in row.items():
        assert value == float(results[name.removeprefix("eval_")])  # to the last digit

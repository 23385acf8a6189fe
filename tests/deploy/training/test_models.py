"""From shards to a trained, evaluated, used and exported model, by the commands that a user types."""

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from command import refuse, run, run_unread
from rich.console import Console, Group

from maskmill.deploy.cli import main
from maskmill.deploy.terminal.progress import Bar
from maskmill.deploy.training import training
from maskmill.deploy.training.training import describe_progress, describe_steps, describe_want_of_memory
from maskmill.model.bert.config import BertConfig
from maskmill.model.formats.model_dir import read_training
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.training.meter import TrainProgress
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.tokenizer.json_file import seal_versioned

pytest.importorskip("tensorflow", reason="needs the [train] extra")

BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
TRAIN = ["--train-batch-size", "8", "--num-train-steps", "6", "--save-checkpoints-steps", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus_file, small_vocab_file):
    """Holds `shards`, `model` and `bert.json`, made by the commands; and what they printed."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "bert.json").write_text(json.dumps({**BERT, "max_position_embeddings": 32}))
    run(
        "generate", corpus_file, "--vocab-file", small_vocab_file, "--output", folder / "shards",
        "--max-seq-length", 32, "--max-predictions-per-seq", 5, "--eval-fraction", 0.2, "--dupe-factor", 2,
    )  # fmt: skip
    output = run(
        "train", folder / "shards", "--model-dir", folder / "model", "--bert-config", folder / "bert.json", *TRAIN
    )
    assert f"Wrote {folder}/model: 6 steps" in output
    return folder


def test_training_writes_checkpoints_logs_and_a_picture(folder):
    names = {path.name for path in (folder / "model").iterdir()}
    assert {"checkpoint-3.safetensors", "checkpoint-6.safetensors", "metrics.jsonl", "training.png"} <= names
    assert {"bert_config.json", "vocab.txt", "training.json"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)


def test_the_same_command_again_goes_on_where_it_stopped_also_when_nobody_reads_what_it_prints(folder):
    before = (folder / "model" / "checkpoint-6.safetensors").read_bytes()
    (folder / "model" / "checkpoint-6.safetensors").unlink()
    arguments = ["--model-dir", folder / "model", "--bert-config", folder / "bert.json", *TRAIN]
    assert run_unread("train", folder / "shards", *arguments) == 0
    assert (folder / "model" / "checkpoint-6.safetensors").read_bytes() == before


def test_another_training_in_the_same_folder_is_refused(folder):
    arguments = ["--model-dir", folder / "model", "--bert-config", folder / "bert.json", *TRAIN]
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
    command = ["train", folder / "shards", "--model-dir", model_dir, "--bert-config", folder / "bert.json", *TRAIN]
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


PROGRESS = TrainProgress(
    step=123_456, num_train_steps=1_000_000, learning_rate=1e-4,
    metrics={"loss": 10.3333, "masked_lm_accuracy": 0.0984, "next_sentence_accuracy": 0.5641},
    sequences_per_second=12_345.6, tokens_per_second=1_580_236.8, mfu=0.344, seconds_left=93_784.2,
)  # fmt: skip


def test_progress_is_told_in_full_or_in_less_than_eighty_characters():
    assert describe_steps(PROGRESS) == "step 123,456 of 1,000,000, 1 day, 2:03:04 left"
    assert describe_progress(PROGRESS) == (
        "loss 10.333, masked_lm_accuracy 0.098, next_sentence_accuracy 0.564, 12,346 sequences/s, 1,580,237 tokens/s, "
        "MFU 34%"
    )
    short = "loss 10.333, MLM 0.098, NSP 0.564, 12,346 seq/s, 1,580,237 tokens/s, MFU 34%"
    assert describe_progress(PROGRESS, is_short=True) == short
    assert len(short) < 80


def test_what_is_not_known_is_not_told():
    metrics = {"loss": 10.3333, "masked_lm_accuracy": 0.0984}
    first = replace(PROGRESS, metrics=metrics, sequences_per_second=0, tokens_per_second=0, mfu=0, seconds_left=0)
    assert describe_steps(first) == "step 123,456 of 1,000,000"
    assert describe_progress(first) == "loss 10.333, masked_lm_accuracy 0.098"
    assert "2.3 sequences/s" in describe_progress(replace(PROGRESS, sequences_per_second=2.345))


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_bar_fits_the_terminal(columns):
    console = Console(width=columns, force_terminal=True, soft_wrap=True, file=io.StringIO(), legacy_windows=False)
    bar = Bar(console, "compiling", is_short=True)
    bar.draw(describe_steps(PROGRESS), 123_456, 1_000_000, describe_progress(PROGRESS, columns < training.WIDE))
    lines = console.render_lines(Group(*bar.get_renderables()))
    texts = ["".join(segment.text for segment in line) for line in lines]
    assert len(texts) == 2
    assert max(map(len, texts)) <= columns
    assert ("MFU 34%" in texts[1]) == (columns >= 80)


def test_a_step_that_cannot_fit_into_memory_is_told_beforehand(folder, monkeypatch):
    info = DatasetInfo.load(folder / "shards")
    bert = BertConfig.load("base", info.vocab_size)
    config = TrainConfig(train_batch_size=4096)
    monkeypatch.setattr(training, "machine_memory", lambda: 16e9)
    warning = describe_want_of_memory(bert, config, info)
    assert warning
    assert warning.startswith("A step needs 103 GB of memory or more, this machine has 16 GB: ")
    assert warning.endswith(
        "Give more --gradient-accumulation-steps, a smaller --train-batch-size, or --precision bfloat16."
    )
    assert describe_want_of_memory(bert, replace(config, gradient_accumulation_steps=64), info) is None
    monkeypatch.setattr(training, "machine_memory", lambda: 1e9)  # which no batch is small enough for
    warning = describe_want_of_memory(bert, replace(config, gradient_accumulation_steps=4096), info)
    assert warning
    assert warning.endswith("Give a smaller --bert-config.")
    monkeypatch.setattr(training, "machine_memory", lambda: 16e9)
    monkeypatch.setattr("maskmill.model.training.flops.is_on_cpu", lambda: False)
    assert describe_want_of_memory(bert, config, info) is None


def test_a_model_is_not_evaluated_on_text_of_another_case(folder, tmp_path, corpus_file):
    vocab_file = folder / "model" / "vocab.txt"
    cased = ["--cased", "--eval-fraction", 0.2, "--max-seq-length", 32, "--max-predictions-per-seq", 5]
    run("generate", corpus_file, "--vocab-file", vocab_file, "--output", tmp_path / "cased", *cased)
    assert "was trained with cased=False" in refuse("evaluate", tmp_path / "cased", "--model-dir", folder / "model")


def test_the_export_is_a_folder_of_hugging_faces_files(folder):
    run("export", "--model-dir", folder / "model", "--output", folder / "huggingface")
    names = {path.name for path in (folder / "huggingface").iterdir()}
    assert names == {
        "config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "tokenizer_config.json", "model.keras",
    }  # fmt: skip
    assert "is not empty" in refuse("export", "--model-dir", folder / "model", "--output", folder / "huggingface")


ONE_STEP = ["--num-train-steps", 1, "--learning-rate", 1e-9, "--train-batch-size", 8]


def weights_in(model_dir):
    from maskmill.model.formats.model_dir import load_model

    return {name: np.asarray(weight).copy() for name, weight in load_model(model_dir)[0].named_weights.items()}


@pytest.mark.parametrize("form", ["model", "export"])
def test_training_begins_with_a_model_in_our_form_or_hugging_faces(folder, tmp_path, form):
    source = folder / "model"
    if form == "export":
        source = tmp_path / "export"
        run("export", "--model-dir", folder / "model", "--output", source)
    model_dir = tmp_path / "model"
    command = ["train", folder / "shards", "--model-dir", model_dir, "--init-checkpoint", source, *ONE_STEP]
    assert "(1 layers of 16)" in run(*command)
    expected = weights_in(folder / "model")
    for name, weight in weights_in(model_dir).items():
        np.testing.assert_allclose(weight, expected[name], atol=1e-7, err_msg=name)
    assert json.loads((model_dir / "training.json").read_text())["init_checkpoint"] == str(source)


def test_a_training_that_began_with_a_checkpoint_goes_on_without_it(folder, tmp_path):
    (tmp_path / "source").mkdir()
    for path in (folder / "model").iterdir():
        (tmp_path / "source" / path.name).write_bytes(path.read_bytes())
    command = ["train", folder / "shards", "--model-dir", tmp_path / "model", *ONE_STEP]
    run(*command, "--init-checkpoint", tmp_path / "source")
    before = weights_in(tmp_path / "model")
    (tmp_path / "source").rename(tmp_path / "elsewhere")
    run(*command, "--init-checkpoint", tmp_path / "source")
    assert all(np.array_equal(weight, before[name]) for name, weight in weights_in(tmp_path / "model").items())
    assert "holds a training with init_checkpoint" in refuse(*command, "--init-checkpoint", tmp_path / "elsewhere")
    assert "holds a training with init_checkpoint" in refuse(*command, "--bert-config", folder / "bert.json")


def test_after_a_training_without_a_checkpoint_another_one_may_be_begun_with(folder, tmp_path):
    model_dir = tmp_path / "model"
    shutil.copytree(folder / "model", model_dir)
    for path in model_dir.glob("checkpoint-*"):
        path.unlink()
    values = json.loads((model_dir / "bert_config.json").read_text())
    (model_dir / "bert_config.json").write_text(json.dumps(values | {"hidden_size": 8}))
    run("train", folder / "shards", "--model-dir", model_dir, "--init-checkpoint", folder / "model", *ONE_STEP)
    assert BertConfig.load(model_dir, 36).hidden_size == 16


def test_another_vocabulary_needs_resized_embeddings(folder, tmp_path, corpus_file, small_vocab, caplog):
    tokens = [token for token in small_vocab.tokens if token not in ("cat", "[unused0]")] + ["zebra"]
    (tmp_path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    run(
        "generate", corpus_file, "--vocab-file", tmp_path / "vocab.txt", "--output", tmp_path / "shards",
        "--max-seq-length", 40, "--max-predictions-per-seq", 5,
    )  # fmt: skip
    command = ["train", tmp_path / "shards", "--model-dir", tmp_path / "model", *ONE_STEP]
    command += ["--init-checkpoint", folder / "model"]
    assert f"has vocab_size 36, the dataset has {len(tokens)}; " in (message := refuse(*command))
    assert "with --resize-embeddings" in message
    assert not (tmp_path / "model").exists()
    run(*command, "--resize-embeddings")
    assert f"of {len(tokens)} tokens {len(tokens) - 1} begin as in {folder / 'model'} (by token)" in caplog.text
    assert "the first 32 positions begin as in" in caplog.text
    name = "bert/embeddings/word_embeddings"
    new, old = weights_in(tmp_path / "model")[name], weights_in(folder / "model")[name]
    assert new.shape == (len(tokens), 16)
    np.testing.assert_allclose(new[tokens.index("mat")], old[small_vocab.ids["mat"]], atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--init-checkpoint", "nowhere"], "nowhere has neither bert_config.json nor config.json beside it, or is not"),
        (["--init-checkpoint", "nowhere", "--bert-config", "tiny"], "nowhere is no checkpoint, or is not there; give"),
        (["--init-checkpoint", "MODEL", "--bert-config", "tiny"], "has hidden_size 16, bert_config has 128; set it"),
    ],
)
def test_a_checkpoint_that_cannot_be_begun_with_is_refused_and_nothing_is_made(folder, tmp_path, arguments, sentence):
    arguments = [folder / "model" if argument == "MODEL" else argument for argument in arguments]
    assert sentence in refuse("train", folder / "shards", "--model-dir", tmp_path / "model", *arguments)
    assert not (tmp_path / "model").exists()


def test_resized_embeddings_need_a_checkpoint(folder, tmp_path):
    command = ["train", folder / "shards", "--model-dir", tmp_path / "model", "--resize-embeddings"]
    assert "without --init-checkpoint" in refuse(*command, exit_code=2)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda shards: (shards / "vocab.txt").write_text("[PAD]\n"), "vocab.txt has sha256"),
        (lambda shards: next(shards.glob("instances*")).write_bytes(b"cut"), "has 3 bytes, dataset_info.json says"),
        (lambda shards: (shards / "dataset_info.json").unlink(), "is no dataset"),
        (lambda shards: replace(DatasetInfo.load(shards), shards=()).save(shards), "has no examples to train on"),
    ],
)
def test_a_dataset_that_does_not_fit_its_manifest_is_refused(folder, tmp_path, damage, sentence):
    copy = tmp_path / "shards"
    copy.mkdir()
    for path in (folder / "shards").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    damage(copy)
    assert sentence in refuse("train", copy, "--model-dir", tmp_path / "model", "--bert-config", folder / "bert.json")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"vocab_size": 7}, "bert_config has vocab_size 7"),
        ({"max_position_embeddings": 16}, "has max_seq_length 32"),
        ({"type_vocab_size": 1}, "type_vocab_size is 1; expected 2 or more"),
        ({"hidden_dropout_prob": "0.1"}, "hidden_dropout_prob is '0.1'; expected a share"),
        ({"initializer_range": -1}, "initializer_range is -1; expected more than 0"),
        ({"num_attention_heads": 3}, "num_attention_heads is 3; expected a divisor of hidden_size"),
    ],
)
def test_a_model_that_does_not_fit_the_dataset_is_refused(folder, tmp_path, values, sentence):
    (tmp_path / "bert.json").write_text(json.dumps({**BERT, **values}))
    arguments = ["--model-dir", tmp_path / "model", "--bert-config", tmp_path / "bert.json"]
    assert sentence in refuse("train", folder / "shards", *arguments)


def test_a_model_is_made_and_used_where_tensorflow_is_not_installed(folder, tmp_path):
    pytest.importorskip("jax", reason="the [jax] extra is not installed")
    model = ["--model-dir", tmp_path / "model"]
    commands = [
        ["train", folder / "shards", *model, "--bert-config", folder / "bert.json", *TRAIN, "--eval-every", "6"],
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


def test_a_folder_without_permission_is_told(folder):
    arguments = ["--bert-config", folder / "bert.json", *TRAIN]
    message = refuse("train", folder / "shards", "--model-dir", "/proc/model", *arguments)
    assert "/proc/model cannot be used (" in message
    assert message.endswith("; check the path, its permissions and the free space")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        ([], 2, "expected a DATASET, or --phase DIR:STEPS once or more"),
        (["SHARDS", "--phase", "SHARDS:3"], 2, "expected a DATASET, or --phase DIR:STEPS once or more"),
        (["--phase", "SHARDS"], 2, "expected DIR:STEPS with 1 to 2,147,483,647 steps"),
        (["--phase", "SHARDS:3", "--num-train-steps", 3], 2, "which says the steps of each phase"),
        (["nowhere"], 1, "nowhere is no dataset"),
        (["SHARDS", "--bert-config", "huge"], 1, "bert_config huge is neither one of tiny, mini, small, medium, base"),
        (["SHARDS", "--bert-config", "SHARDS/vocab.txt"], 1, "vocab.txt is not JSON"),
        (["SHARDS", "--train-batch-size", 4096], 1, "train_batch_size is 4,096; expected"),
        (["SHARDS", "--train-batch-size", 10, "--gradient-accumulation-steps", 4], 1, "expected a multiple of 4"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_nothing_is_made(folder, tmp_path, arguments, exit_code, sentence):
    arguments = [str(argument).replace("SHARDS", str(folder / "shards")) for argument in arguments]
    assert sentence in refuse("train", *arguments, "--model-dir", tmp_path / "model", exit_code=exit_code)
    assert not (tmp_path / "model").exists()


def test_wrong_values_are_wrong_usage(folder, tmp_path):
    arguments = ["--model-dir", tmp_path / "model", "--learning-rate", "-1"]
    assert "learning_rate is -1.0; expected 1e-12 to 100" in refuse("train", folder / "shards", *arguments, exit_code=2)


@pytest.mark.parametrize("option", ["--model-dir", "--bert-config", "--init-checkpoint"])
def test_an_option_that_an_unset_variable_left_empty_is_wrong_usage(folder, tmp_path, option):
    arguments = ["--model-dir", tmp_path / "model", option, ""]
    assert f"'{option}': it is empty; expected " in refuse("train", folder / "shards", *arguments, exit_code=2)


@pytest.mark.parametrize(
    "change", [{"bert_config": 3}, {"train_config": []}, {"phases": 1}, {"cased": "no"}, {"vocab_sha256": None}]
)
def test_a_value_in_training_json_that_is_none_is_refused(folder, tmp_path, change):
    training = read_training(folder / "model")
    (tmp_path / "training.json").write_text(seal_versioned(training | change))
    ((name, value),) = change.items()
    message = refuse("evaluate", folder / "shards", "--model-dir", tmp_path)
    assert f"training.json is damaged ({name} is {value!r}); restore it" in message


@pytest.mark.parametrize("content", ["{}", "[]", "{", ""])
def test_a_damaged_training_json_is_refused(folder, tmp_path, content):
    (tmp_path / "training.json").write_text(content)
    message = refuse("evaluate", folder / "shards", "--model-dir", tmp_path)
    assert "training.json" in message
    assert "train" in message.split(";")[-1]


@pytest.mark.parametrize("command", [["fill-mask", "a [MASK]"], ["export", "--output", "out"]])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:100]), lambda path: path.unlink()])
def test_a_model_is_not_used_with_another_vocabulary(folder, tmp_path, monkeypatch, command, damage):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "model", "model")
    damage(tmp_path / "model" / "vocab.txt")
    assert "model/vocab.txt " in refuse(*command, "--model-dir", "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("change", [{"num_hidden_layers": 2}, {"hidden_size": 32}])
def test_the_checkpoint_of_another_model_is_refused(folder, tmp_path, change):
    shutil.copytree(folder / "model", tmp_path / "model")
    path = tmp_path / "model" / "training.json"
    training = read_training(path.parent)
    path.write_text(seal_versioned(training | {"bert_config": training["bert_config"] | change}))
    message = refuse("evaluate", folder / "shards", "--model-dir", tmp_path / "model")
    assert "the checkpoint has " in message
    assert "put checkpoints back into the folder that they were trained in" in message


@pytest.mark.parametrize("command", [["evaluate", "shards"], ["export"]])
def test_a_folder_without_a_model_is_refused(folder, tmp_path, command):
    name, *arguments = command
    arguments = [folder / "shards" if argument == "shards" else argument for argument in arguments]
    output = ["--output", tmp_path / "out"] if name == "export" else []
    assert "holds no model" in refuse(name, *arguments, "--model-dir", tmp_path, *output)

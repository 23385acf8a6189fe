"""A classifier is trained on labelled texts, kept at its best epoch, and gone on with to the same bytes."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from cloud import emulator
from command import refuse, run
from google.cloud.storage import Client
from small_classifier import CONFIG, TOKENS, rows, write_csv, write_model

from maskmill.deploy.tasks.finetuning import settle_optimizer
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.formats.checkpoint_formats import read_init_checkpoint
from maskmill.model.formats.model_dir import rules_of
from maskmill.model.tasks import finetuning
from maskmill.model.tasks.classifier import BertClassifier
from maskmill.model.tasks.confusion import draw_confusion
from maskmill.model.tasks.finetune_config import FinetuneConfig, choose_class_weights
from maskmill.model.tasks.finetuned import open_finetuned
from maskmill.model.tasks.metrics import count_confusion, macro_f1, matthews_correlation
from maskmill.model.tasks.predicting import predict_logits
from maskmill.model.tasks.trained import open_trained
from maskmill.model.training import loop
from maskmill.model.training.checkpoint import read_checkpoint
from maskmill.model.training.optimization import AdamSettings
from maskmill.model.training.step import eval_step
from maskmill.pipeline.tables.fields import Fields
from maskmill.pipeline.tables.labelled import read_labelled, split_off
from maskmill.pipeline.tables.texts import encode_texts
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.rules import AddedToken, TextRules

FIELDS = Fields(label_field="label")
SMALL = FinetuneConfig(
    train_batch_size=16, learning_rate=5e-3, num_train_epochs=2, max_seq_length=24, save_checkpoints_steps=4
)
SIX_EPOCHS = replace(SMALL, num_train_epochs=6)
OPTIONS = [
    "--train-batch-size", 16, "--learning-rate", 5e-3, "--num-train-epochs", 2, "--max-seq-length", 24,
    "--save-checkpoints-steps", 4, "--eval-fraction", 0.25,
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds `model` and `table.csv`."""
    folder = tmp_path_factory.mktemp("finetuning")
    write_model(folder / "model", random_seed=2)
    write_csv(folder / "table.csv", rows(120))
    return folder


@pytest.fixture(scope="module")
def parts(folder):
    found, _ = read_labelled(str(folder / "table.csv"), FIELDS)
    return split_off(found, 0.25, 1)


@pytest.fixture(scope="module")
def trained(folder, parts):
    """A fine-tuning in one go, and what it came to."""
    told = []
    hooks = loop.Hooks(evaluated=lambda *arguments: told.append(arguments))
    outcome = finetuning.finetune(open_trained(folder / "model"), *parts, folder / "output", SIX_EPOCHS, hooks)
    return folder / "output", outcome, told


def state(output):
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return {path.name: path.read_bytes() for path in output.glob("checkpoint-*")}, rows


def test_metrics_of_cases_made_by_hand():
    # From the definitions: of three labels, two rows of each; precisions 2/3, 1/2, 0 of 1 and recalls 1, 1/2, 0.
    confusion = count_confusion([0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 0, 1], 3)
    assert macro_f1(confusion) == pytest.approx((0.8 + 0.5 + 0) / 3)
    assert matthews_correlation(confusion) == pytest.approx((3 * 6 - 12) / np.sqrt((36 - 12) * (36 - 14)))
    # A label without rows does not count, whether a row is taken for it or not.
    assert macro_f1(count_confusion([0, 0, 1, 1], [0, 0, 1, 2], 3)) == pytest.approx((1 + 2 / 3) / 2)
    assert macro_f1(count_confusion([0, 0, 1, 1], [0, 0, 1, 1], 3)) == 1
    # Of two labels R_K is Matthews's own (tp * tn - fp * fn) / sqrt(...).
    tp, fn, fp, tn = 7, 2, 4, 5
    expected = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert matthews_correlation(np.array([[tn, fp], [fn, tp]])) == pytest.approx(expected)
    assert matthews_correlation(np.array([[3, 0], [2, 0]])) == 0
    assert matthews_correlation(np.diag([1, 2, 3])) == pytest.approx(1)


def test_the_scores_are_those_of_the_whole_pooled_output():
    net, pretrainer = BertClassifier(CONFIG, 3), BertPretrainer(CONFIG)
    for name, weight in net.named_weights.items():
        if name in pretrainer.named_weights:
            weight.assign(pretrainer.named_weights[name])
    assert set(net.named_weights) - set(pretrainer.named_weights) == {"classifier/kernel", "classifier/bias"}
    ids = np.random.default_rng(0).integers(5, CONFIG.vocab_size, (4, 12)).astype(np.int32)
    mask = (np.arange(12) < np.array([[12], [5], [8], [3]])).astype(np.int32)
    features = {"input_ids": ids * mask, "input_mask": mask, "segment_ids": np.zeros_like(ids)}
    _, pooled = pretrainer.encoder(*features.values())
    expected = np.asarray(pooled) @ np.asarray(net.classifier.kernel)
    np.testing.assert_allclose(np.asarray(net(features)["logits"]), expected, atol=1e-6)
    deviation = np.asarray(BertClassifier(replace(CONFIG, hidden_size=64), 50).classifier.kernel).std()
    assert 0.015 < deviation < 0.02  # truncated at two deviations of 0.02


def test_a_row_that_fills_up_a_batch_counts_nowhere_and_weights_scale_the_loss():
    net = BertClassifier(CONFIG, 2)
    features = {
        "input_ids": np.full((2, 8), 6, np.int32),
        "input_mask": np.array([[1] * 8, [0] * 8], np.int32),
        "segment_ids": np.zeros((2, 8), np.int32),
        "label_ids": np.zeros((2, 1), np.int32),
    }
    plain, weighted = (
        {name: float(value) for name, value in net.sums({**features, "label_weights": weights}).items()}
        for weights in (np.ones((2, 1), np.float32), np.full((2, 1), 3, np.float32))
    )
    assert plain["rows"] == weighted["rows"] == 1
    assert weighted["loss_sum"] == pytest.approx(3 * plain["loss_sum"])
    assert choose_class_weights("a=1,b=2.5", ["a", "b"], {}) == [1, 2.5]
    with pytest.raises(InputError, match=r"expected a weight for .*: mend that of 'b', which no row to train on has"):
        choose_class_weights("a=1,b=2", ["a", "c"], {})
    with pytest.raises(InputError, match=r"mend that of 'c', which has no weight"):
        choose_class_weights("a=1,b=2", ["a", "b", "c"], {})
    for wrong in ("half", "", "a=1,a=2", "a=nan,b=1", "a=1e39,b=1", "a=-1,b=1"):
        with pytest.raises(InputError, match=rf"class_weights is '{wrong}'; expected none, balanced, or LABEL=NUMBER"):
            FinetuneConfig(class_weights=wrong)
    with pytest.raises(InputError, match=r"class_weights is 'a=0,b=0', by which nothing is learned"):
        FinetuneConfig(class_weights="a=0,b=0")


def test_scores_do_not_depend_on_the_order_of_the_rows_beyond_rounding(small_vocab):
    net = BertClassifier(replace(CONFIG, vocab_size=len(small_vocab), max_position_embeddings=64), 2)
    words = [token for token in small_vocab.tokens if token.isalpha()]
    texts = [" ".join(words[:length]) for length in (3, 30, 1, 20, 3, 25)] * 12
    logits = [
        predict_logits(
            eval_step(net), encode_texts(some, None, FastTokenizer(small_vocab), small_vocab, 40), 2, max_seq_length=40
        )
        for some in (texts, texts[::-1])
    ]
    np.testing.assert_allclose(logits[0], logits[1][::-1], atol=1e-6)


def test_the_settings_of_the_tokenizer_are_kept_where_they_are_not_googles(folder, parts):
    start = open_trained(folder / "model")
    rules = TextRules(False, False, True, 100, (AddedToken("new york", len(TOKENS)),))
    for one in (TextRules(), rules):
        description = finetuning.describe(replace(start, rules=one), *parts, ["neg", "pos"], SMALL, "0")
        assert ("tokenizer" in description) == (one == rules)
        assert rules_of(json.loads(json.dumps(description))) == one


def test_it_learns_and_keeps_the_best_epoch(trained, parts):
    output, outcome, told = trained
    assert outcome.is_done
    assert outcome.step == 6 * 6
    assert outcome.metrics["accuracy"] > 0.9
    assert outcome.confusion.sum() == len(parts[1])
    goodness = [(metrics["macro_f1"], -metrics["loss"]) for _, metrics, _ in told]
    assert [is_best for _, _, is_best in told] == [
        one > max(goodness[:epoch], default=(-1, 0)) for epoch, one in enumerate(goodness)
    ]
    best = read_checkpoint(output / "checkpoint-best.safetensors")
    assert best["global_step"] == 6 * (1 + goodness.index(max(goodness)))
    assert outcome.metrics == pytest.approx(told[goodness.index(max(goodness))][1])
    found = open_finetuned(output)
    assert (found.labels, found.rules.cased, found.max_seq_length) == (["neg", "pos"], False, 24)
    assert found.fields == {"text_field": "text", "text_pair_field": None, "label_field": "label"}
    assert (output / "confusion.png").stat().st_size > 1000
    assert "matthews_correlation = " in (output / "eval_results.txt").read_text()


def test_its_encoder_serves_as_any_other_model(trained):
    output, outcome, _ = trained
    encoder = open_trained(output, "best")
    best = read_checkpoint(output / "checkpoint-best.safetensors")
    np.testing.assert_array_equal(
        np.asarray(encoder.model.named_weights["bert/pooler/kernel"]), best["bert/pooler/kernel"]
    )
    assert open_trained(output).step == outcome.step
    with pytest.raises(InputError, match=r"has no weights of masked_lm"):
        encoder.require_head("masked_lm")
    assert read_init_checkpoint(output).notes == ("left aside: classifier/bias, classifier/kernel",)


class KilledError(Exception):
    """In place of the end of the process."""


def finetune_with_end(folder, parts, output, monkeypatch, at=None, step=0, config=SIX_EPOCHS):
    """Fine-tunes, and ends where a process might be killed: in a step, or when something is saved."""
    real = {name: getattr(loop, name) for name in ("save_checkpoint", "save_best")}
    real["train_step"] = finetuning.train_step

    def end_at(here, now):
        if (here, now) == (at, step):
            raise KilledError

    def train_step(net, optimizer, seed):
        run_step = real["train_step"](net, optimizer, seed)
        first = int(np.asarray(optimizer.global_step.value))
        taken = []

        def mortal_step(features):
            taken.append(1)
            end_at("step", first + len(taken))
            return run_step(features)

        return mortal_step

    def saved(name):
        def save(folder, *arguments):
            real[name](folder, *arguments)
            end_at(name, arguments[0] if name == "save_checkpoint" else arguments[1])

        return save

    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "train_step", train_step)
        for name in ("save_checkpoint", "save_best"):
            patch.setattr(loop, name, saved(name))
        return finetuning.finetune(open_trained(folder / "model"), *parts, output, config)


def test_a_fine_tuning_that_ended_anywhere_comes_to_the_same_bytes(folder, parts, trained, tmp_path, monkeypatch):
    for at, step in (("save_best", 6), ("step", 9), ("save_checkpoint", 12)):
        with pytest.raises(KilledError):
            finetune_with_end(folder, parts, tmp_path / "output", monkeypatch, at, step)
    finetune_with_end(folder, parts, tmp_path / "output", monkeypatch)
    assert state(tmp_path / "output") == state(trained[0])


def test_another_fine_tuning_does_not_go_on_in_the_folder(folder, parts, trained):
    start = open_trained(folder / "model")
    with pytest.raises(InputError, match=r"learning_rate 0.005, this one has 0.1; .*, or give another folder$"):
        finetuning.finetune(start, *parts, trained[0], replace(SMALL, num_train_epochs=6, learning_rate=0.1))
    with pytest.raises(InputError, match=r"holds a training with train_sha256"):
        finetuning.finetune(start, parts[1], parts[0], trained[0], replace(SMALL, num_train_epochs=6))
    with pytest.raises(InputError, match=r"model holds something else than a training; give a new or an empty"):
        finetuning.finetune(start, *parts, folder / "model", SMALL)
    with pytest.raises(InputError, match=r"max_seq_length is 64, .*model has 32 positions; give --max-seq-length 32"):
        finetuning.finetune(start, *parts, folder / "new", replace(SMALL, max_seq_length=64))
    assert not (folder / "new").exists()


def test_a_fine_tuning_that_began_without_strata_goes_on_with_its_rows(folder, tmp_path, monkeypatch):
    found, _ = read_labelled(str(folder / "table.csv"), FIELDS)
    parts = split_off(found, 0.25, SMALL.random_seed, stratified=False)
    with pytest.raises(KilledError):
        finetune_with_end(folder, parts, tmp_path / "old", monkeypatch, "save_checkpoint", 4)
    path = tmp_path / "old" / "finetuning.json"
    finetuning_json = json.loads(path.read_text())
    del finetuning_json["held_out"]["stratified"], finetuning_json["format_version"], finetuning_json["sha256"]
    path.write_text(json.dumps(finetuning_json))
    command = ["finetune", folder / "table.csv", "--model-dir", folder / "model", *OPTIONS, "--num-train-epochs", 6]
    said = run(*command, "--output", tmp_path / "old")
    assert f"on {len(parts[0])} rows, {len(parts[1])} rows held out\n" in said
    assert (tmp_path / "old" / "confusion.png").exists()
    assert "rows held out, stratified by label\n" in run(*command, "--output", tmp_path / "new")
    with pytest.raises(InputError, match=r"holds a training with train_sha256"):
        finetuning.finetune(
            open_trained(folder / "model"), *parts, tmp_path / "new", replace(SMALL, num_train_epochs=6)
        )


def without_optimizer(path):
    """Makes a finetuning.json what a maskmill wrote that had one optimizer."""
    finetuning_json = json.loads(path.read_text())
    del (
        finetuning_json["config"]["optimizer"],
        finetuning_json["config"]["schedule"],
        finetuning_json["format_version"],
        finetuning_json["sha256"],
    )
    path.write_text(json.dumps(finetuning_json))


def test_a_fine_tuning_that_an_older_maskmill_began_goes_on_with_googles_optimizer(folder, tmp_path, monkeypatch):
    found, _ = read_labelled(str(folder / "table.csv"), FIELDS)
    parts = split_off(found, 0.25, SMALL.random_seed)
    old, google = tmp_path / "out" / "seed-12345", replace(SMALL, optimizer="google")
    with pytest.raises(KilledError):
        finetune_with_end(folder, parts, old, monkeypatch, "save_best", 6, google)
    without_optimizer(old / "finetuning.json")
    assert open_finetuned(old).config == google
    assert settle_optimizer(SMALL, None, str(tmp_path / "out")) == google  # for other seeds, too
    command = ["finetune", folder / "table.csv", "--model-dir", folder / "model", *OPTIONS, "--output", old]
    refused = refuse(*command, "--optimizer", "adamw")
    assert "seed-12345 holds a training with optimizer google, this one has adamw; repeat that one to resume" in refused
    run(*command)
    run(*command)  # which finds finetuning.json as it is written today
    finetuning.finetune(open_trained(folder / "model"), *parts, tmp_path / "whole", google)
    assert state(old) == state(tmp_path / "whole")


def test_a_fine_tuning_with_adamw_of_before_keeps_its_schedule(folder, tmp_path):
    out = tmp_path / "out"
    run("finetune", folder / "table.csv", "--model-dir", folder / "model", *OPTIONS, "--output", out)
    path = out / "finetuning.json"
    values = json.loads(path.read_text())
    assert values["config"]["schedule"] is None
    del values["config"]["schedule"], values["sha256"], values["format_version"]
    path.write_text(json.dumps(values))
    config = settle_optimizer(SMALL, None, str(out))
    assert (config.optimizer, config.schedule, config.is_as_transformers) == ("adamw", "google", False)
    assert not finetuning.optimizer_of(BertClassifier(CONFIG, 2), config, 10).schedule.decays_from_warmup


def test_the_bias_is_corrected_unless_told_otherwise():
    net = BertClassifier(CONFIG, 2)
    for config, corrected in ((SMALL, True), (replace(SMALL, optimizer="google"), False)):
        expected = AdamSettings(config.weight_decay_rate, bias_correction=corrected)
        assert finetuning.optimizer_of(net, config, 10).settings == expected
    assert settle_optimizer(SMALL, None, "new") == SMALL
    assert SMALL.optimizer == "adamw"
    with pytest.raises(InputError, match=r"optimizer is 'lamb'; expected adamw or google"):
        FinetuneConfig(optimizer="lamb")


def test_a_classifier_that_takes_all_rows_for_one_label_is_said_to_with_what_helps(folder, tmp_path):
    table = [{"id": str(i), "text": f"the film {'so ' * i}", "label": ("neg", "pos", "neg")[i % 3]} for i in range(60)]
    path = write_csv(tmp_path / "table.csv", table)
    command = ["finetune", path, "--model-dir", folder / "model", *OPTIONS, "--eval-file", path]
    command = [one for one in command if one not in ("--eval-fraction", 0.25)]
    helps = "what helps: a lower --learning-rate than 0.005, more --num-train-epochs, or another --random-seed"
    said = run(*command, "--output", tmp_path / "out", "--seeds", 2, "--json", "--quiet")
    warning, _, printed = said.partition("\n")
    assert warning.startswith("2 of 2 seeds (12345, 12346) take (nearly) all held-out rows for 'neg', so nothing was")
    assert warning.endswith(helps)
    assert [one["one_label"] for one in json.loads(printed)] == ["neg", "neg"]
    assert json.loads((tmp_path / "out" / "seeds.json").read_text())["one_label"] == ["neg", "neg"]
    said = run(*command, "--output", tmp_path / "out" / "seed-12345")
    assert "The classifier takes (nearly) all held-out rows for 'neg', so nothing was learned" in said
    assert helps in said


def test_labels_that_are_not_measured_are_named(folder, tmp_path):
    table = [*rows(60), {"id": "60", "text": "the great film", "label": "very good"}]
    path = write_csv(tmp_path / "table.csv", table)
    said = run("finetune", path, "--model-dir", folder / "model", "--output", tmp_path / "out", *OPTIONS)
    assert "1 label without held-out rows, not measured and not in macro_f1: very good" in " ".join(said.split())


def test_the_command_trains_shows_and_spreads(folder, tmp_path):
    table = rows(120)
    table[5] = {**table[5], "text": " "}
    path = write_csv(tmp_path / "dirty.csv", table)
    command = ["finetune", path, "--model-dir", folder / "model", "--output", tmp_path / "out", *OPTIONS]
    printed = run(*command, "--seeds", 2, "--class-weights", "balanced")
    assert f"Rejected of {path}: 1 field 'text' is empty" in printed
    assert "2 labels: neg (" in printed
    assert "epoch 2, held-out rows: loss " in printed
    assert "label \\ taken for" in printed
    assert "standard deviation" in printed
    summary = json.loads((tmp_path / "out" / "seeds.json").read_text())
    assert summary["seeds"] == [12345, 12346]
    values = summary["metrics"]["accuracy"]["values"]
    assert summary["metrics"]["accuracy"]["mean"] == pytest.approx(sum(values) / 2)
    assert open_finetuned(tmp_path / "out" / "seed-12346").labels == ["neg", "pos"]
    (listed,) = (tmp_path / "out").glob("rejected-*.jsonl")
    assert json.loads(listed.read_text()) == {
        "file": str(path), "place": 6, "reason": "field 'text' is empty", "excerpt": "  neg",
    }  # fmt: skip


def test_what_cannot_be_learned_from_is_one_sentence(folder, tmp_path):
    table, model_dir = folder / "table.csv", folder / "model"
    one = write_csv(tmp_path / "one.csv", [{**row, "label": "pos"} for row in rows(40)])
    other = write_csv(tmp_path / "other.csv", [{**row, "label": "maybe"} for row in rows(4)])
    empty = write_csv(tmp_path / "empty.csv", [{**row, "text": ""} for row in rows(4)])
    to = ["--model-dir", model_dir, "--output", tmp_path / "out"]
    assert "has one label alone in the rows to train on, 'pos'" in refuse("finetune", one, *to)
    assert "label 'maybe' is in the held-out part alone (4 of its 4 rows)" in refuse(
        "finetune", table, *to, "--eval-file", other
    )
    assert "has no row that can be used (4 field 'text' is empty)" in refuse("finetune", empty, *to)
    assert "has no column body" in refuse("finetune", table, *to, "--text-field", "body")
    wrong = ["--model-dir", tmp_path, "--output", tmp_path / "out"]
    assert f"{tmp_path} holds no checkpoint; give a checkpoint of Google's" in refuse("finetune", table, *wrong)
    both = ["--eval-file", other, "--eval-fraction", 0.5]
    assert "--eval-file and --eval-fraction are both given" in refuse("finetune", table, *to, *both, exit_code=2)
    for field in ("--text-field", "--text-pair-field", "--label-field"):
        assert f"Invalid value for '{field}': it is empty" in refuse("finetune", table, *to, field, "", exit_code=2)
    assert "learning_rate is 0.0; expected 1e-12 to 100" in refuse(
        "finetune", table, *to, "--learning-rate", 0, exit_code=2
    )
    seeds = ["--seeds", 2, "--random-seed", 2**63 - 1]
    assert "expected 0 to 2^63 - 1 for the last of 2 seeds, too" in refuse("finetune", table, *to, *seeds, exit_code=2)
    assert not (tmp_path / "out").exists()


def test_after_ctrl_c_the_one_sentence_tells_how_to_go_on(folder, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(finetuning, "finetune", interrupted)
    to = ["--model-dir", folder / "model", "--output", tmp_path / "out"]
    assert refuse("finetune", folder / "table.csv", *to, "--quiet", exit_code=130) == (
        f"Stopped; the same command goes on from the last checkpoint in {tmp_path / 'out'}, if there is one."
    )


def test_table_model_and_output_may_lie_in_cloud_storage_where_the_second_of_two_stops(folder, tmp_path, monkeypatch):
    with emulator() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        bucket = Client().bucket("work")
        bucket.create()
        bucket.blob("table.csv").upload_from_filename(folder / "table.csv")
        for path in (folder / "model").iterdir():
            bucket.blob(f"model/{path.name}").upload_from_filename(path)
        command = ["finetune", "gs://work/table.csv", "--model-dir", "gs://work/model", *OPTIONS]
        run(*command, "--output", "gs://work/classifier")
        assert {"classifier/checkpoint-best.safetensors", "classifier/confusion.png"} <= {
            blob.name for blob in bucket.list_blobs()
        }
        predict = ["predict", "gs://work/table.csv", "--model-dir", "gs://work/classifier"]
        assert "120 rows" in run(*predict, "--output", "gs://work/labels.csv")

        def save(*arguments, real=loop.save_checkpoint):
            real(*arguments)
            bucket.blob("taken/.written-by").upload_from_string("another 1\n")

        monkeypatch.setattr(loop, "save_checkpoint", save)
        assert "another training has written into gs://work/taken since" in refuse(
            *command, "--output", "gs://work/taken"
        )


@pytest.mark.filterwarnings("error")
def test_labels_of_any_characters_are_drawn_as_they_are(tmp_path):
    draw_confusion(tmp_path, np.eye(3, dtype=np.int64), ["$x^$", "北京 🙂", "two\nlines"])
    assert (tmp_path / "confusion.png").stat().st_size > 1000


KILLED_IN_A_CHECKPOINT = """
import os, signal
import maskmill.model.training.loop as loop
from maskmill.deploy.cli import main

save = loop.save_checkpoint
def save_and_die(folder, step, *rest):
    save(folder, step, *rest)
    if step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
loop.save_checkpoint = save_and_die
main({arguments})
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_killed_command_given_again_ends_as_one_that_was_not(folder, tmp_path, monkeypatch, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)

    def start(output, step):
        options = ["finetune", folder / "table.csv", "--model-dir", folder / "model", "--output", output, *OPTIONS]
        arguments = [str(one) for one in (*options, "--backend", backend)]
        code = KILLED_IN_A_CHECKPOINT.format(step=step, arguments=arguments)
        return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode

    assert start(tmp_path / "whole", 0) == 0
    assert start(tmp_path / "killed", 4) == -signal.SIGKILL
    assert start(tmp_path / "killed", 6) == -signal.SIGKILL
    assert start(tmp_path / "killed", 0) == 0
    assert state(tmp_path / "killed") == state(tmp_path / "whole")


def test_weights_that_an_update_broke_are_not_saved_whatever_the_loss(folder, parts, tmp_path, monkeypatch):
    real = finetuning.train_step

    def breaking_step(model, optimizer, random_seed):
        step = real(model, optimizer, random_seed)

        def break_one(features):
            losses = step(features)
            if int(optimizer.global_step.value) == 4:
                model.classifier.bias.assign(np.full(2, np.nan, np.float32))
            return losses

        return break_one

    monkeypatch.setattr(finetuning, "train_step", breaking_step)
    with pytest.raises(InputError, match=r"^classifier/bias is not finite after step 4; likely causes"):
        finetuning.finetune(open_trained(folder / "model"), *parts, tmp_path / "out", SMALL)
    assert not list((tmp_path / "out").glob("checkpoint-*"))

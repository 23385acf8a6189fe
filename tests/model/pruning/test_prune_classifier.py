"""From a fine-tuned model to a smaller one, chosen by the loss of its task, that every other command takes."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
from command import refuse, run
from small_classifier import rows, write_csv, write_model
from small_dataset import write_both_splits

from maskmill.deploy.training.prune import PruneRequest
from maskmill.deploy.training.pruned_models import open_finetuned_subject
from maskmill.model.bert.config import PruneConfig
from maskmill.model.pruning.classifier import METRICS, prune_classifier
from maskmill.model.tasks.finetune_config import FINETUNING, FinetuneConfig
from maskmill.model.tasks.finetuned import open_finetuned, read_finetuning
from maskmill.model.tasks.finetuning import finetune, go_on
from maskmill.model.tasks.finetuning_loop import Hooks
from maskmill.model.tasks.predicting import measure_texts
from maskmill.model.tasks.trained import open_trained
from maskmill.model.training.checkpoint import read_checkpoint
from maskmill.model.training.metrics_log import read_metrics
from maskmill.model.training.step import eval_step
from maskmill.pipeline.tables.fields import Fields
from maskmill.pipeline.tables.labelled import read_labelled, split_off
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import seal_versioned

CONFIG = FinetuneConfig(train_batch_size=16, learning_rate=5e-3, num_train_epochs=2, max_seq_length=16)
HALF = PruneConfig(heads=0.5, ffn=0.5)
RECOVERY = replace(CONFIG, num_train_steps=6, save_checkpoints_steps=2)  # an epoch has 3 steps
LEARNING = {"precision": "float32"}


def request_for(table, model_dir, learning=LEARNING, **options):
    return PruneRequest(str(table), str(model_dir), "out", PruneConfig(heads=0.5), learning=learning, **options)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Holds `table.csv`, a `model`, a `classifier`, and that `pruned`, to be trained on; with what came of both."""
    folder = tmp_path_factory.mktemp("work")
    write_model(folder / "model", random_seed=2)
    found, _ = read_labelled(str(write_csv(folder / "table.csv", rows(60))), Fields(label_field="label"))
    parts = split_off(found, 0.25, 1)
    outcome = finetune(open_trained(folder / "model"), *parts, folder / "classifier", CONFIG)
    pruning = prune_classifier(open_finetuned(folder / "classifier"), *parts, folder / "pruned", HALF, RECOVERY)
    return folder, parts, outcome, pruning


def test_the_figures_are_those_of_both_models_on_the_rows_held_out(work):
    folder, (_, held_out), outcome, pruning = work
    assert {name: pruning["before"][name] for name in METRICS} == pytest.approx(outcome.metrics)
    pruned = open_finetuned(folder / "pruned")
    encoded = held_out.encode(pruned.vocab, pruned.rules, 16)
    measured, _ = measure_texts(eval_step(pruned.model), encoded, held_out.label_ids(pruned.labels), 2, 16)
    assert {name: pruning["after"][name] for name in METRICS} == pytest.approx(measured)
    assert (pruning["after"]["heads"], pruning["after"]["units"]) == (1, 16)
    assert list(pruning["loss_by_importance"]) == ["taylor", "magnitude", "random"]
    assert pruning["loss_by_importance"]["taylor"] == pruning["after"]["loss"]
    (kept,) = pruning["kept"]
    whole = open_finetuned(folder / "classifier").model.named_weights["bert/layer_0/output/kernel"]
    left = pruned.model.named_weights["bert/layer_0/output/kernel"]
    np.testing.assert_array_equal(np.asarray(left), np.asarray(whole)[kept["units"]])


class KilledError(Exception):
    """In place of the end of the process."""


def test_a_recovery_that_ended_goes_on_to_the_same_bytes_and_the_best_of_it_is_kept(work, tmp_path):
    folder, parts, _, pruning = work
    for name in ("once", "twice"):
        shutil.copytree(folder / "pruned", tmp_path / name)

    def end():
        raise KilledError

    with pytest.raises(KilledError):
        go_on(tmp_path / "twice", *parts, RECOVERY, Hooks(saved=end))
    assert open_finetuned(tmp_path / "twice", "newest").step == 2
    outcomes = [go_on(tmp_path / name, *parts, RECOVERY) for name in ("once", "twice")]
    assert [outcome.step for outcome in outcomes] == [6, 6]
    once, twice = (read_checkpoint(tmp_path / name / "checkpoint-6.safetensors") for name in ("once", "twice"))
    assert once.keys() == twice.keys()
    for name in once:
        np.testing.assert_array_equal(once[name], twice[name], err_msg=name)
    epochs = read_metrics(tmp_path / "once")
    assert [row["step"] for row in epochs] == [0, 3, 6]
    assert epochs[0]["eval_loss"] == pruning["after"]["loss"]
    best = max(epochs, key=lambda row: (row["eval_macro_f1"], -row["eval_loss"]))
    assert outcomes[0].metrics["macro_f1"] == pytest.approx(best["eval_macro_f1"])
    assert open_finetuned(tmp_path / "once").step == best["step"] == outcomes[0].best_step
    with pytest.raises(InputError, match=r"holds a training with learning_rate 0.005, this one has 0.1"):
        go_on(tmp_path / "once", *parts, replace(RECOVERY, learning_rate=0.1))


def test_a_recovery_that_an_older_maskmill_began_goes_on_with_googles_optimizer(work, tmp_path):
    folder, parts, _, _ = work
    for name in ("classifier", "pruned"):
        shutil.copytree(folder / name, tmp_path / name)
        path = tmp_path / name / FINETUNING
        finetuning = read_finetuning(path.parent)
        del finetuning["config"]["optimizer"]
        path.write_text(seal_versioned(finetuning))
    table, classifier = str(folder / "table.csv"), str(tmp_path / "classifier")
    subject = open_finetuned_subject(request_for(table, classifier, recovery_steps=6))
    assert subject.config.optimizer == "google"
    request = replace(RECOVERY, optimizer=subject.config.optimizer)
    with pytest.raises(InputError, match=r"holds a training with optimizer google, this one has adamw"):
        go_on(tmp_path / "pruned", *parts, RECOVERY)
    go_on(tmp_path / "pruned", *parts, request)
    assert open_finetuned(tmp_path / "pruned").config == request


def test_the_command_prunes_and_predict_finetune_and_prune_take_what_it_wrote(work, tmp_path):
    folder, _, outcome, _ = work
    table, out = folder / "table.csv", tmp_path / "out"
    command = ["prune", table, "--model-dir", folder / "classifier", "--output", out, "--heads", 0.5, "--ffn", 0.5]
    recovery = ["--recovery-steps", 2, "--train-batch-size", 16, "--learning-rate", 1e-12]  # which changes nothing
    said = run(*command, *recovery)
    assert "losses of held-out rows" in said
    assert f"macro_f1  │ {outcome.metrics['macro_f1']:.4f}" in " ".join(said.split()).replace(
        "macro_f1 │", "macro_f1  │"
    )
    assert "after 2 steps" in said
    assert "No epoch of the recovery is better than what was left" in said
    again = run(*command, *recovery)
    assert "Pruning" not in again
    assert "after 2 steps" in again
    assert "was pruned with ffn 0.5, this time it is 0.25" in refuse(*command, "--ffn", 0.25, *recovery)
    assert "out is not empty; give a new or an empty folder" in refuse(*command)
    run("predict", table, "--model-dir", out, "--output", tmp_path / "predicted.csv")
    with (tmp_path / "predicted.csv").open(newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} <= {"pos", "neg"}
    encoder = open_trained(out)
    assert (encoder.model.config.heads, encoder.model.config.units) == ((1,), (16,))
    twice = run("prune", table, "--model-dir", out, "--output", tmp_path / "twice", "--ffn", 0.5)
    assert f"or finetune with --model-dir {tmp_path / 'twice'}" in twice
    assert open_finetuned(tmp_path / "twice").model.config.units == (8,)


def test_the_rows_held_out_are_those_of_the_training_unless_others_are_given(work, tmp_path):
    folder, parts, _, _ = work

    def opened(model_dir, **given):
        return open_finetuned_subject(request_for(folder / "table.csv", model_dir, of_table=given))

    subject = opened(folder / "classifier")
    assert (subject.train, subject.held_out) == parts
    more = write_csv(tmp_path / "more.csv", rows(80))  # held-out rows of which the model may have learned from
    with pytest.raises(InputError, match=r"more.csv does not hold the rows that were held out when .* --eval-file"):
        open_finetuned_subject(request_for(more, folder / "classifier"))
    dev = write_csv(tmp_path / "dev.csv", rows(20))
    other = opened(folder / "classifier", eval_file=str(dev))
    assert (len(other.train), len(other.held_out)) == (60, 20)
    # Of a training whose rows held out had a file of their own.
    shutil.copytree(folder / "classifier", tmp_path / "classifier")
    path = tmp_path / "classifier" / FINETUNING
    finetuning = {**read_finetuning(path.parent), "held_out": {"eval_file": str(dev)}}
    path.write_text(seal_versioned(finetuning))
    with pytest.raises(InputError, match=r"with the rows of .*dev.csv held out; give them with --eval-file"):
        opened(tmp_path / "classifier")  # a file is not opened because a folder names it
    assert opened(tmp_path / "classifier", eval_file=str(dev)).held_out == other.held_out


def test_what_does_not_fit_is_one_sentence(work, tmp_path):
    folder, _, _, _ = work
    write_both_splits(tmp_path / "shards", [[8]], [[8]])
    table, classifier = folder / "table.csv", folder / "classifier"

    def refusal(data, model_dir, *options, exit_code=1):
        command = ["prune", data, "--model-dir", model_dir, "--output", tmp_path / "out", "--ffn", 0.5]
        said = refuse(*command, *options, exit_code=exit_code)
        assert not (tmp_path / "out").exists()
        return said

    assert "shards is a folder, and " in refusal(tmp_path / "shards", classifier)
    assert "table.csv is a file, and " in refusal(table, folder / "model")
    wrong = refusal(table, classifier, "--split", "train", exit_code=2)
    assert f"--split is given, but {classifier} is a classifier, which is pruned on a table; leave it out" in wrong
    wrong = refusal(tmp_path / "shards", folder / "model", "--text-field", "text", exit_code=2)
    assert "--text-field is given, but" in wrong
    assert "learning_rate is 0.0" in refusal(table, classifier, "--learning-rate", 0, exit_code=2)
    assert "has no column body" in refusal(table, classifier, "--text-field", "body")
    many = write_csv(tmp_path / "many.csv", [*rows(60), *({**row, "label": "so-so"} for row in rows(90)[60:])])
    wrong = refusal(many, classifier)
    assert (
        f"tells neg, pos apart, and label 'so-so' is in {many} alone; give rows with the labels of the model" in wrong
    )

"""From a trained model to the folder of a smaller one, which every other command takes."""

import json
import shutil
import signal
from dataclasses import replace

import keras
import numpy as np
import pytest
from command import refuse, run
from documentation import blocks, read_page
from small_dataset import write_both_splits, write_dataset
from small_model import write_model

from maskmill.model.bert.config import BertConfig
from maskmill.model.formats.export import export
from maskmill.model.formats.model_dir import load_model
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.evaluate import measure
from maskmill.model.pretraining.train import Start, train
from maskmill.model.pruning.config import PruneConfig
from maskmill.model.pruning.pretrained import PruneSource, prune
from maskmill.model.pruning.smaller import PRUNING, read_pruning
from maskmill.model.tasks.trained import open_trained
from maskmill.model.training.checkpoint import read_checkpoint
from maskmill.model.training.loop import Hooks
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import Vocab

SHAPE = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
HALF = PruneConfig(heads=0.5, ffn=0.5, num_examples=20)
RECOVERY = TrainConfig(
    train_batch_size=8, num_train_steps=4, num_warmup_steps=0, save_checkpoints_steps=2, save_summary_steps=1
)
HALF_OPTIONS = ["--heads", 0.5, "--ffn", 0.5, "--num-examples", 20]
RECOVERY_OPTIONS = ["--recovery-steps", 4, "--train-batch-size", 8, "--save-checkpoints-steps", 2]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Holds `shards`, a `model` of their vocabulary, and that `pruned`, to be trained on; with what `prune` gave."""
    folder = tmp_path_factory.mktemp("work")
    write_both_splits(folder / "shards", [[40]], [[12]])
    write_model(folder / "model", Vocab.load(folder / "shards" / "vocab.txt"), max_position_embeddings=16, **SHAPE)
    before = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    pruning = prune(PruneSource(folder / "shards", folder / "model"), folder / "pruned", HALF, RECOVERY)
    assert {path.name: path.read_bytes() for path in (folder / "model").iterdir()} == before
    return folder, pruning


@pytest.fixture(scope="module")
def by_command(work):
    """The command that prunes and trains on, what it said, and its folder."""
    folder, _ = work
    command = ["prune", folder / "shards", "--model-dir", folder / "model", "--output", folder / "out", *HALF_OPTIONS]
    return command, run(*command, *RECOVERY_OPTIONS), folder / "out"


@pytest.fixture
def pruned(work, tmp_path):
    """A copy to write into."""
    return shutil.copytree(work[0] / "pruned", tmp_path / "pruned")


def test_the_figures_are_those_of_both_models(work):
    folder, pruning = work
    for name, model_dir in (("before", folder / "model"), ("after", folder / "pruned")):
        figures, model = pruning[name], load_model(model_dir)[0]
        assert figures["num_weights"] == sum(int(np.prod(weight.shape)) for weight in model.named_weights.values())
        assert figures["weight_bytes"] == 4 * figures["num_weights"]
        assert (figures["heads"], figures["units"]) == (sum(model.config.heads), sum(model.config.units))
        assert figures["seconds_per_sequence"] > 0
        measured = measure(Dataset.open(folder / "shards"), model_dir).metrics
        both = measured.keys() - {"global_step", "bits_per_character"}
        assert {name: figures[name] for name in both} == pytest.approx(
            {name: measured[name] for name in both}, rel=1e-6
        )
    assert (pruning["after"]["heads"], pruning["after"]["units"]) == (2, 32)
    assert read_pruning(folder / "pruned", {}) == pruning


def test_it_begins_with_the_weights_that_were_kept(work):
    folder, pruning = work
    whole, pruned = (open_trained(folder / name) for name in ("model", "pruned"))
    assert pruned.step == 0
    assert (pruned.vocab.tokens, pruned.rules) == (whole.vocab.tokens, whole.rules)
    units = pruning["kept"][0]["units"]
    name = "bert/layer_0/output/kernel"
    kept = np.asarray(whole.model.named_weights[name])[units]
    np.testing.assert_array_equal(np.asarray(pruned.model.named_weights[name]), kept)


def test_it_is_trained_on_and_an_interrupted_training_resumes_to_the_same_weights(work, pruned, by_command):
    folder, _ = work
    config = load_model(pruned)[0].config

    def recover(hooks=None):
        return train(folder / "shards", pruned, config, RECOVERY, hooks, Start(str(folder / "model")))

    with pytest.raises(KeyboardInterrupt):
        recover(Hooks(lambda now: now.step == 3 and signal.raise_signal(signal.SIGINT)))
    assert load_model(pruned)[1] == 3
    assert recover() == 4
    ours, theirs = (read_checkpoint(path / "checkpoint-4.safetensors") for path in (pruned, by_command[2]))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    for name, weight in open_trained(folder / "pruned").model.named_weights.items():
        # A bias of the keys moves all scores of a query alike, which the softmax takes away.
        assert name.endswith("key/bias") or not np.array_equal(ours[name], np.asarray(weight)), name


def test_a_training_may_begin_with_it_and_not_with_another_shape(work, tmp_path):
    folder, _ = work
    config, start = load_model(folder / "pruned")[0].config, Start(str(folder / "pruned"))
    assert train(folder / "shards", tmp_path / "new", config, RECOVERY, start=start) == 4
    whole = replace(config, num_attention_heads_per_layer=None)
    with pytest.raises(InputError, match=r"pruned has num_attention_heads_per_layer \(.*\), bert_config has None"):
        train(folder / "shards", tmp_path / "whole", whole, RECOVERY, start=start)
    with pytest.raises(InputError, match=r"holds a training with num_attention_heads_per_layer \["):
        train(folder / "shards", folder / "pruned", whole, RECOVERY, start=Start(str(folder / "model")))
    assert BertConfig.load(folder / "pruned", 7) == config


def test_keras_opens_what_hugging_faces_format_cannot_say(work, tmp_path, caplog):
    folder, _ = work
    names = {path.name for path in export(folder / "pruned", tmp_path / "bert").iterdir()}
    assert {"model.keras", "vocab.txt"} < names
    assert not names & {"config.json", "model.safetensors"}
    assert "heads of 8, and Hugging Face's BERT has in each layer as many heads as make up hidden_size" in caplog.text
    opened, model = keras.saving.load_model(tmp_path / "bert" / "model.keras"), load_model(folder / "pruned")[0]
    assert opened.count_params() == model.config.num_weights
    ids = np.arange(10, dtype=np.int32)[None]
    expected, _ = model.encoder(ids, np.ones_like(ids), np.zeros_like(ids))
    outputs = opened({"input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)})
    np.testing.assert_allclose(np.asarray(outputs["sequence_output"]), np.asarray(expected), atol=1e-5)


def test_hugging_faces_folder_with_fewer_units_is_exported_to_its_format(work, tmp_path):
    folder, _ = work
    whole = export(folder / "model", tmp_path / "whole")
    prune(PruneSource(folder / "shards", whole), tmp_path / "pruned", PruneConfig(ffn=0.25, num_examples=20))
    config = json.loads((export(tmp_path / "pruned", tmp_path / "bert") / "config.json").read_text())
    assert (config["intermediate_size"], config["num_attention_heads"]) == (48, 4)
    assert not any(name.endswith("_per_layer") for name in config)
    assert open_trained(tmp_path / "bert").model.config == load_model(tmp_path / "pruned")[0].config


# The command


def test_the_command_prunes_trains_on_and_tells_what_it_cost(work, by_command):
    folder, _ = work
    command, said, out = by_command
    for row in ("attention heads", "parameters", "memory of the weights", "ms for a sequence", "masked_lm_accuracy"):
        assert row in said
    assert "after 4 steps" in said
    assert "Loss of the pruned model by what chose: taylor" in said
    again = run(*command, *RECOVERY_OPTIONS)
    assert "Pruning" not in again
    assert "after 4 steps" in again
    assert "was pruned with heads 0.5, this time it is 0.25" in refuse(*command, "--heads", 0.25, *RECOVERY_OPTIONS)
    assert "out is not empty; give a new or an empty folder" in refuse(*command)
    assert "learning_rate" in refuse(*command, *RECOVERY_OPTIONS, "--learning-rate", 0.5)
    assert "perplexity" in run("evaluate", folder / "shards", "--model-dir", out)
    assert "%" in run("fill-mask", "--model-dir", out, "token7 [MASK] token9")


def test_without_further_training_the_folder_holds_what_another_measure_left(work, tmp_path):
    folder, pruning = work
    command = ["prune", folder / "shards", "--model-dir", folder / "model", "--output", tmp_path / "out", *HALF_OPTIONS]
    assert "give --recovery-steps, or train with --init-checkpoint" in run(*command, "--importance", "random")
    other = json.loads((tmp_path / "out" / PRUNING).read_text())
    assert list(pruning["loss_by_importance"]) == ["taylor", "magnitude", "random"]
    assert other["loss_by_importance"] == pytest.approx(pruning["loss_by_importance"], rel=1e-5)
    assert other["after"]["loss"] == other["loss_by_importance"]["random"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "bert_config.json", "checkpoint-0.safetensors", "pruning.json", "training.json", "vocab.txt",
    }  # fmt: skip
    again = [*command, *RECOVERY_OPTIONS]
    assert "was pruned with recovery_steps None, this time it is 4" in refuse(*again)


def test_what_would_remove_nothing_is_refused(work, tmp_path):
    folder, _ = work
    with pytest.raises(InputError, match=r"^heads 0.05 and ffn 0.0 remove nothing of 4 heads and 64 units"):
        prune(
            PruneSource(folder / "shards", folder / "model"), tmp_path / "out", PruneConfig(heads=0.05, num_examples=20)
        )
    assert not (tmp_path / "out").exists()


def test_what_does_not_fit_is_one_sentence(work, tmp_path):
    folder, _ = work

    def refusal(dataset=folder / "shards", model_dir=folder / "model"):
        said = refuse("prune", dataset, "--model-dir", model_dir, "--output", tmp_path / "out", *HALF_OPTIONS)
        assert not (tmp_path / "out").exists()
        return said

    assert "nowhere is no checkpoint, or is not there" in refusal(model_dir=tmp_path / "nowhere")
    assert "is no dataset" in refusal(folder / "model")
    write_dataset(tmp_path / "train", [[20]])
    assert "has no eval split" in refusal(tmp_path / "train")
    info = write_both_splits(tmp_path / "other", [[20]], [[8]]).info
    replace(info, vocab_sha256="0" * 64).save(tmp_path / "other")
    assert "was made with another vocabulary than" in refusal(tmp_path / "other")
    replace(info, config={**info.config, "cased": True}).save(tmp_path / "other")
    assert "the dataset is cased, the model is not" in refusal(tmp_path / "other")
    (shard,) = (tmp_path / "other").glob("eval-*")
    info.save(tmp_path / "other")
    shard.write_bytes(shard.read_bytes()[:-8])
    assert "eval-0-0.tfrecord" in refusal(tmp_path / "other")


def test_a_damaged_record_of_the_request_is_said(pruned, work):
    (pruned / PRUNING).write_text("{")
    folder, _ = work
    command = ["prune", folder / "shards", "--model-dir", folder / "model", "--output", pruned, *HALF_OPTIONS]
    assert "prune into a new folder" in refuse(*command, *RECOVERY_OPTIONS)


def test_the_python_on_the_page_runs(work, tmp_path, monkeypatch):
    for name in ("shards", "model"):
        shutil.copytree(work[0] / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    _, section = read_page("using_the_model.md").split("## Prune\n")
    code, _ = blocks(section.split("\n## ")[0], "python")  # the other: test_using_the_model.py
    values: dict[str, object] = {}
    exec(code, values)
    assert values["step"] == 0
    assert load_model("pruned")[1] == 4

import dataclasses
import json
import math
import signal
from collections import Counter, defaultdict

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from small_dataset import VOCAB_TEXT, write_both_splits, write_dataset
from small_training import BERT_CONFIG, STEPS, TRAIN_CONFIG
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from maskmill.model.bert.config import BertConfig
from maskmill.model.formats.model_dir import load_model
from maskmill.model.pretraining.batches import eval_batches, train_batches
from maskmill.model.pretraining.config import PhaseRequest, TrainConfig
from maskmill.model.pretraining.evaluate import evaluate, measure, rests_at_guess
from maskmill.model.pretraining.phases import Plan, choose_warmup
from maskmill.model.pretraining.train import BAD_BATCH, train
from maskmill.model.training.checkpoint import read_checkpoint
from maskmill.model.training.loop import Hooks
from maskmill.model.training.memory import require_countable
from maskmill.model.training.metrics_log import read_metrics
from maskmill.model.training.optimization import Schedule
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.tfrecord import read_records
from maskmill.tokenizer.errors import InputError


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dataset")
    write_dataset(directory, [[20, 17], [20, 17]])
    return directory


@pytest.fixture(scope="module")
def eval_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("eval")
    write_dataset(directory, [[9, 4]], split="eval", seed=1)
    return directory


@pytest.fixture(scope="module")
def trained(dataset_dir, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("trained") / "model"
    reports = []
    assert train(dataset_dir, model_dir, BERT_CONFIG, TRAIN_CONFIG, Hooks(reports.append)) == STEPS
    return model_dir, reports


def test_training_leaves_all_that_it_promises(trained, dataset_dir):
    model_dir, reports = trained
    names = {path.name for path in model_dir.iterdir() if not path.name.startswith("events.out.tfevents")}
    assert names == {
        "bert_config.json", "vocab.txt", "training.json", "metrics.jsonl", "training.png",
        "checkpoint-8.safetensors", "checkpoint-10.safetensors",
    }  # fmt: skip
    assert (model_dir / "vocab.txt").read_bytes() == (dataset_dir / "vocab.txt").read_bytes()
    assert [progress.step for progress in reports] == list(range(1, STEPS + 1))
    assert reports[-1].seconds_left == 0
    assert reports[-1].sequences_per_second > 0
    assert [row["step"] for row in read_metrics(model_dir)] == list(range(1, STEPS + 1))
    assert reports[-1].loss < reports[0].loss


@pytest.mark.parametrize("how", ["killed", "ctrl-c"])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(trained, dataset_dir, tmp_path, how):
    def interrupt(progress):
        if progress.step == 6:
            if how == "ctrl-c":
                signal.raise_signal(signal.SIGINT)
            else:
                raise SystemExit

    model_dir = tmp_path / "model"
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(dataset_dir, model_dir, BERT_CONFIG, TRAIN_CONFIG, Hooks(interrupt))
    resumed_from = {"killed": 4, "ctrl-c": 6}[how]
    assert (model_dir / f"checkpoint-{resumed_from}.safetensors").exists()

    reports = []
    train(dataset_dir, model_dir, BERT_CONFIG, TRAIN_CONFIG, Hooks(reports.append))
    assert reports[0].step == resumed_from + 1
    ours, theirs = (read_checkpoint(d / f"checkpoint-{STEPS}.safetensors") for d in (model_dir, trained[0]))
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    losses, other_losses = ([row["loss"] for row in read_metrics(d)] for d in (model_dir, trained[0]))
    assert losses == other_losses


def test_what_is_no_row_of_the_log_is_passed_over(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(
        b'{"step": 1, "loss": 2.0}\n12\n{}\n\xff\xfe\n{"step": 2, "loss": 1.5}\n{"st'
    )
    assert [row["loss"] for row in read_metrics(tmp_path)] == [2.0, 1.5]


def test_a_finished_training_is_left_as_it_is(trained, dataset_dir):
    assert train(dataset_dir, trained[0], BERT_CONFIG, TRAIN_CONFIG) == STEPS


def test_another_training_in_the_same_folder_is_refused(trained, dataset_dir, tmp_path):
    def refusal(directory, bert_config, train_config):
        with pytest.raises(InputError) as error:
            train(directory, trained[0], bert_config, train_config)
        return str(error.value)

    replace = dataclasses.replace
    slower = replace(TRAIN_CONFIG, learning_rate=1e-4)
    assert "learning_rate 0.001, this one has 0.0001" in refusal(dataset_dir, BERT_CONFIG, slower)
    deeper = replace(BERT_CONFIG, num_hidden_layers=2)
    assert "num_hidden_layers 1, this one has 2" in refusal(dataset_dir, deeper, TRAIN_CONFIG)
    write_dataset(tmp_path, [[8]])
    assert "dataset_sha256" in refusal(tmp_path, BERT_CONFIG, TRAIN_CONFIG)


def test_how_often_checkpoints_are_kept_may_change(trained, dataset_dir):
    config = dataclasses.replace(TRAIN_CONFIG, keep_checkpoints=5, save_checkpoints_steps=3)
    assert train(dataset_dir, trained[0], BERT_CONFIG, config) == STEPS


def test_a_folder_with_other_files_is_refused(dataset_dir):
    with pytest.raises(InputError, match="holds something else than a training"):
        train(dataset_dir, dataset_dir, BERT_CONFIG, TRAIN_CONFIG)


def test_a_dataset_that_does_not_fit_the_model_is_refused(dataset_dir, tmp_path):
    for change, sentence in (
        ({"vocab_size": 41}, "bert_config has vocab_size 41, .* was made with 100 tokens"),
        ({"max_position_embeddings": 8}, "max_position_embeddings 8, .* has max_seq_length 16"),
    ):
        with pytest.raises(InputError, match=sentence):
            train(dataset_dir, tmp_path / "model", dataclasses.replace(BERT_CONFIG, **change), TRAIN_CONFIG)
    assert not (tmp_path / "model").exists()


def test_sequences_with_more_attention_scores_than_dropout_counts_are_refused():
    base = BertConfig.preset("base", vocab_size=100)
    require_countable(base, 13_377)
    with pytest.raises(InputError, match="of 13,378 tokens are too long for 12 attention heads; expected 13,377"):
        require_countable(base, 13_378)


def test_a_damaged_shard_is_refused(tmp_path):
    write_dataset(tmp_path / "data", [[8]])
    shard = tmp_path / "data" / "train-0-0.tfrecord"
    content = bytearray(shard.read_bytes())
    content[50] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=r"train-0-0\.tfrecord has sha256"):
        train(tmp_path / "data", tmp_path / "model", BERT_CONFIG, TRAIN_CONFIG)


def test_a_loss_that_is_not_finite_stops_the_training(dataset_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "maskmill.model.training.config.is_learning_rate", lambda rate: True
    )  # more than is taken from a user
    config = dataclasses.replace(TRAIN_CONFIG, learning_rate=1e30, num_warmup_steps=0)
    with pytest.raises(InputError, match=r"the loss of step \d+ is (nan|inf)"):
        train(dataset_dir, tmp_path / "model", BERT_CONFIG, config)
    assert not list((tmp_path / "model").glob("checkpoint-*"))


def test_unless_given_the_steps_are_one_pass_and_a_tenth_of_it_warms_up(dataset_dir):
    config = dataclasses.replace(TRAIN_CONFIG, train_batch_size=5, num_train_steps=None, num_warmup_steps=None)
    plan = Plan.load([PhaseRequest(dataset_dir, None)], BERT_CONFIG, config)
    googles = dataclasses.replace(config, first_weights="bert")
    assert plan.schedule(googles) == Schedule(1e-3, math.ceil(74 / 5), 1)
    assert plan.schedule(config) == Schedule(1e-3, math.ceil(74 / 5), 5)  # of the neighbour start


@pytest.mark.parametrize(("steps", "warmup"), [(2, 0), (300, 100), (697, 200), (2_087, 208), (6_500, 650)])
def test_the_neighbour_start_warms_up_for_some_hundred_steps(steps, warmup):
    assert choose_warmup(steps, dataclasses.replace(TRAIN_CONFIG, first_weights="neighbours")) == warmup
    assert choose_warmup(steps, dataclasses.replace(TRAIN_CONFIG, first_weights="bert")) == steps // 10


def refusal_of(dataset_dir, model_dir, train_config):
    with pytest.raises(InputError) as error:
        train(dataset_dir, model_dir, BERT_CONFIG, train_config)
    return str(error.value)


def test_the_examples_of_a_batch_whose_loss_is_not_finite_are_named(dataset_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "maskmill.model.training.config.is_learning_rate", lambda rate: True
    )  # more than is taken from a user
    config = dataclasses.replace(TRAIN_CONFIG, learning_rate=1e30, num_warmup_steps=0, precision="bfloat16")
    sentence = refusal_of(dataset_dir, tmp_path / "model", config)
    for said in ("at a learning rate of", "the step before", "likely causes: a learning_rate of 1e+30", "bfloat16"):
        assert said in sentence
    bad = json.loads((tmp_path / "model" / BAD_BATCH).read_text())
    assert sentence.startswith(f"the loss of step {bad['step']} is ")
    dataset = Dataset.open(dataset_dir)
    *_, batch = (
        batch for batch, _ in zip(train_batches(dataset, 8, config.random_seed), range(bad["step"]), strict=False)
    )
    decoder = ExampleDecoder(dataset.info.features)
    named = []
    for name in bad["examples"]:
        path, number = name.split(", record ")
        named += decoder.decode([list(read_records(path))[int(number) - 1]])["input_ids"].tolist()
    assert named == batch["input_ids"].tolist()


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."),  # as of JAX
        MemoryError(),
    ],
    ids=["tensorflow", "jax", "numpy"],
)
def test_a_want_of_memory_tells_the_way_out(dataset_dir, tmp_path, monkeypatch, error):
    def step_without_memory(*_):
        def run(_):
            raise error

        return run

    monkeypatch.setattr("maskmill.model.pretraining.train.train_step", step_without_memory)
    config = dataclasses.replace(TRAIN_CONFIG, gradient_accumulation_steps=2)
    assert refusal_of(dataset_dir, tmp_path, config) == (
        "a step on 8 sequences of 16 tokens does not fit into memory; give --gradient-accumulation-steps 4, "
        "which changes no gradient, or a smaller --train-batch-size"
    )


def test_a_model_that_does_not_fit_into_memory_tells_the_way_out(dataset_dir, tmp_path, monkeypatch):
    def no_memory(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]")

    monkeypatch.setattr("maskmill.model.pretraining.train.BertPretrainer", no_memory)
    sentence = refusal_of(dataset_dir, tmp_path, TRAIN_CONFIG)
    assert sentence.endswith("weights, with optimizer does not fit into memory; give a smaller --bert-config")


def test_fewer_examples_than_a_batch_are_refused(tmp_path):
    write_dataset(tmp_path / "data", [[5]])
    sentence = refusal_of(tmp_path / "data", tmp_path / "model", TRAIN_CONFIG)
    assert sentence.endswith("has 5 examples, train_batch_size is 8; expected 5 or less, or more documents")
    assert not (tmp_path / "model").exists()


# Evaluation on the way


@pytest.fixture(scope="module")
def both_dir(tmp_path_factory):
    """A dataset with both splits."""
    directory = tmp_path_factory.mktemp("both")
    write_both_splits(directory, [[30]], [[70]])
    return directory


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def evaluated(request, both_dir, tmp_path_factory):
    """A training that evaluates after steps 3, 6, 9 and 10, and gets worse on the way; and what it told of that."""
    model_dir = tmp_path_factory.mktemp("evaluated") / "model"
    config = dataclasses.replace(
        TRAIN_CONFIG, eval_every=3, save_checkpoints_steps=3, keep_checkpoints=9, save_summary_steps=5,
        learning_rate=0.1, precision=request.param,
    )  # fmt: skip
    told = []
    train(both_dir, model_dir, BERT_CONFIG, config, Hooks(evaluated=lambda *arguments: told.append(arguments)))
    return model_dir, told


def test_an_evaluation_on_the_way_is_what_evaluate_says_of_that_checkpoint(evaluated, both_dir):
    model_dir, told = evaluated
    assert [step for step, _, _ in told] == [3, 6, 9, 10]
    for step, metrics, _ in reversed(told):
        measured = measure(Dataset.open(both_dir), model_dir).metrics
        assert {name: measured[name] for name in metrics} == metrics
        assert measured["global_step"] == step
        (model_dir / f"checkpoint-{step}.safetensors").rename(model_dir / f"{step}")
    for step, _, _ in told:
        (model_dir / f"{step}").rename(model_dir / f"checkpoint-{step}.safetensors")


def test_the_best_checkpoint_is_kept(evaluated, both_dir):
    model_dir, told = evaluated
    losses = [metrics["loss"] for _, metrics, _ in told]
    assert [is_best for _, _, is_best in told] == [loss < min([math.inf, *losses[:i]]) for i, loss in enumerate(losses)]
    best_step = told[losses.index(min(losses))][0]
    assert best_step < STEPS  # else the newest would be as good
    results = evaluate(both_dir, model_dir, checkpoint="best")
    assert results["global_step"] == best_step
    assert results["loss"] == min(losses)


def test_both_kinds_of_rows_are_in_the_log_and_in_tensorboards_events(evaluated):
    model_dir, told = evaluated
    rows = read_metrics(model_dir)
    evaluations = [row for row in rows if "eval_loss" in row]
    assert evaluations == [
        {"step": step, **{f"eval_{name}": value for name, value in metrics.items()}} for step, metrics, _ in told
    ]
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == [5, 10]
    assert {"masked_lm_accuracy", "next_sentence_loss", "learning_rate", "tokens_per_second", "mfu"} < steps[0].keys()
    events = EventAccumulator(str(model_dir)).Reload()
    for kind in (evaluations, steps):
        for name in kind[0].keys() - {"step"}:
            scalars = events.Scalars(name)
            assert [scalar.step for scalar in scalars] == [row["step"] for row in kind]
            np.testing.assert_allclose([scalar.value for scalar in scalars], [row[name] for row in kind], rtol=1e-6)


def test_evaluating_changes_no_weight(evaluated, both_dir, tmp_path):
    config = TrainConfig(**json.loads((evaluated[0] / "training.json").read_text())["train_config"])
    train(both_dir, tmp_path, BERT_CONFIG, dataclasses.replace(config, eval_every=None))
    ours, theirs = (read_checkpoint(d / f"checkpoint-{STEPS}.safetensors") for d in (tmp_path, evaluated[0]))
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_there_is_no_best_checkpoint_without_evaluations(trained):
    with pytest.raises(InputError, match=r"checkpoint-best.* train with --eval-every, or use --checkpoint newest"):
        load_model(trained[0], "best")


def test_evaluations_without_an_eval_split_are_refused_before_anything_is_made(dataset_dir, tmp_path):
    config = dataclasses.replace(TRAIN_CONFIG, eval_every=5)
    assert "has no eval split; generate it with --eval-fraction" in refusal_of(dataset_dir, tmp_path / "model", config)
    assert not (tmp_path / "model").exists()


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_evaluation_equals_metrics_recomputed_in_numpy(trained, eval_dir):
    results = evaluate(eval_dir, trained[0], eval_batch_size=5)
    model, step = load_model(trained[0])
    masked, pairs, tokens, of_token = [], [], Counter(), defaultdict(list)
    for batch in eval_batches(Dataset.open(eval_dir), 1, "eval"):
        sequence, pooled = model.encoder(batch["input_ids"], batch["input_mask"], batch["segment_ids"])
        logits = ops.convert_to_numpy(model.masked_lm_logits(sequence))[0, batch["masked_lm_positions"][0]]
        for row, label, weight in zip(log_softmax(logits), batch["masked_lm_ids"][0], batch["masked_lm_weights"][0]):
            if weight:
                masked.append((-row[label], row.argmax() == label))
                of_token[label].append(row.argmax() == label)
        (row,), label = (
            log_softmax(ops.convert_to_numpy(model.next_sentence(pooled))),
            batch["next_sentence_labels"][0, 0],
        )
        pairs.append((-row[label], row.argmax() == label))
        tokens.update(batch["input_ids"][0, batch["input_mask"][0] > 0][1:-1].tolist())  # nothing is shown as [MASK]
    texts = VOCAB_TEXT.split("\n")
    characters = sum(len(texts[label]) * len(rights) for label, rights in of_token.items())
    is_frequent = {label: tokens[label] / tokens.total() >= 0.01 for label in of_token}
    rare, frequent = (
        np.mean([right for label, rights in of_token.items() if is_frequent[label] == which for right in rights])
        for which in (False, True)
    )
    masked_lm_loss, masked_lm_accuracy = np.mean(masked, axis=0)
    next_sentence_loss, next_sentence_accuracy = np.mean(pairs, axis=0)
    assert results == pytest.approx(
        {
            "global_step": step,
            "bits_per_character": sum(loss for loss, _ in masked) / math.log(2) / characters,
            "loss": masked_lm_loss + next_sentence_loss,
            "masked_lm_accuracy": masked_lm_accuracy,
            "masked_lm_accuracy_1000_to_10000_per_million": rare,
            "masked_lm_accuracy_10000_or_more_per_million": frequent,
            "masked_lm_loss": masked_lm_loss,
            "next_sentence_accuracy": next_sentence_accuracy,
            "next_sentence_loss": next_sentence_loss,
            "perplexity": np.exp(masked_lm_loss),
        },
        rel=1e-5,
    )


def test_eval_results_are_written_as_google_writes_them(trained, eval_dir):
    results = evaluate(eval_dir, trained[0])
    lines = (trained[0] / "eval_results.txt").read_text().splitlines()
    assert lines == [f"{name} = {results[name]}" for name in sorted(results)]
    assert f"global_step = {STEPS}" in lines


def test_evaluation_refuses_what_it_cannot_evaluate(trained, dataset_dir, eval_dir, tmp_path):
    with pytest.raises(InputError, match="has no eval split"):
        evaluate(dataset_dir, trained[0])
    with pytest.raises(InputError, match="holds no model"):
        evaluate(eval_dir, tmp_path)
    info = write_dataset(tmp_path, [[4]], split="eval").info
    dataclasses.replace(info, vocab_sha256="0" * 64).save(tmp_path)
    with pytest.raises(InputError, match="made with another vocabulary"):
        evaluate(tmp_path, trained[0])


def test_the_most_frequent_token_is_a_baseline(trained, eval_dir):
    labels = []
    for batch in eval_batches(Dataset.open(eval_dir), 1, "eval"):
        labels += batch["masked_lm_ids"][batch["masked_lm_weights"] > 0].tolist()
    measured = measure(Dataset.open(eval_dir), trained[0])
    assert measured.masked_tokens == len(labels)
    assert measured.guess == max(map(labels.count, labels)) / len(labels)


def test_an_accuracy_rests_at_the_guess_until_it_is_clearly_above_it():
    assert rests_at_guess(0.0681, 0.0680, 18_000)  # the README's example of 56 steps
    assert rests_at_guess(0.02, 0.068, 18_000)
    assert not rests_at_guess(0.11, 0.068, 18_000)
    assert rests_at_guess(0.11, 0.068, 400)  # two standard errors are 0.025 there
    assert not rests_at_guess(0.5, 0.5, 4)  # where nothing can be said
    assert not rests_at_guess(1.0, 1.0, 18_000)


def test_a_model_without_a_checkpoint_is_refused(trained, tmp_path):
    (tmp_path / "training.json").write_bytes((trained[0] / "training.json").read_bytes())
    with pytest.raises(InputError, match="has no checkpoint yet"):
        load_model(tmp_path)

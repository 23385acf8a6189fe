"""What a training does between its steps, with a step and an evaluation that compute nothing."""

import itertools
import json
import logging
import resource
import shutil
from contextlib import closing

import numpy as np
import pytest
from fake_steps import BORDER, CONFIG, LAST, at, die, learn, preempt
from fake_steps import datasets as datasets  # a fixture
from fake_steps import steps as steps  # a fixture

from maskmill.model.pretraining.batches import train_batches
from maskmill.model.pretraining.train import BAD_BATCH
from maskmill.model.training.checkpoint import BEST, list_checkpoints, read_best, read_checkpoint
from maskmill.model.training.metrics_log import read_metrics
from maskmill.model.training.optimization import AdamWeightDecay, Schedule
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.tfrecord import read_records
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import parse_sealed, seal_versioned


def without_speeds(rows):
    speeds = ("sequences_per_second", "tokens_per_second", "mfu")
    return [{name: value for name, value in row.items() if name not in speeds} for row in rows]


def assert_all_was_taken_once(batches, datasets):
    expected = []
    for directory, count in datasets:
        with closing(train_batches(Dataset.open(directory), 8, CONFIG.random_seed)) as some:
            expected += itertools.islice(some, count)
    assert len(batches) == len(expected) == LAST
    for ours, theirs in zip(batches, expected):
        np.testing.assert_array_equal(ours["input_ids"], theirs["input_ids"])


def test_phases_follow_one_another_each_from_the_beginning_of_its_data(steps, datasets, tmp_path):
    assert learn(datasets, tmp_path) == LAST
    assert_all_was_taken_once(steps.batches, datasets)
    assert [batch["input_ids"].shape[1] for batch in steps.batches] == [16] * BORDER + [24] * (LAST - BORDER)


def test_one_schedule_spans_all_phases(steps, datasets, tmp_path):
    learn(datasets, tmp_path)
    schedule = Schedule(CONFIG.learning_rate, LAST, CONFIG.num_warmup_steps)
    rates = {row["step"]: row["learning_rate"] for row in read_metrics(tmp_path)}
    assert rates == {step: pytest.approx(float(schedule.at(step))) for step in range(1, LAST + 1)}
    assert rates[BORDER + 1] == pytest.approx(1e-3 * (1 - (BORDER + 1) / LAST))


def test_one_phase_is_a_dataset_with_that_many_steps(steps, datasets, tmp_path):
    directory = datasets[0][0]
    learn([(directory, LAST)], tmp_path / "phase")
    learn(directory, tmp_path / "dataset", num_train_steps=LAST)
    for name in ("training.json", f"checkpoint-{LAST}.safetensors"):
        assert (tmp_path / "phase" / name).read_bytes() == (tmp_path / "dataset" / name).read_bytes()


@pytest.mark.parametrize("step", [1, BORDER - 1, BORDER, BORDER + 1, LAST - 1])
def test_after_sigterm_a_training_goes_on_within_its_phase(steps, datasets, tmp_path, step):
    settings = {"save_summary_steps": 4, "eval_every": 3}  # so a line is of steps of both runs
    learn(datasets, tmp_path / "uninterrupted", **settings)
    steps.batches.clear()
    steps.in_step = at(step, preempt)
    assert learn(datasets, tmp_path / "model", **settings) == step
    assert list_checkpoints(tmp_path / "model")[0][0] == step
    steps.in_step = lambda step: None
    assert learn(datasets, tmp_path / "model", **settings) == LAST
    assert_all_was_taken_once(steps.batches, datasets)
    ours, theirs = (without_speeds(read_metrics(tmp_path / name)) for name in ("model", "uninterrupted"))
    assert ours == theirs


def test_sigterm_ends_an_evaluation_and_the_next_run_makes_up_for_it(steps, datasets, tmp_path):
    settings = {"eval_every": 3}
    steps.in_evaluation = at(BORDER + 1, preempt)
    assert learn(datasets, tmp_path, **settings) == BORDER + 1
    assert steps.evaluated == [(3, 16)]
    assert [step for step, _ in list_checkpoints(tmp_path)] == [BORDER + 1, 3]
    assert learn(datasets, tmp_path, **settings) == BORDER + 1  # in what is made up for, too
    steps.in_evaluation = lambda step: None
    assert learn(datasets, tmp_path, **settings) == LAST
    assert steps.evaluated == [(3, 16), (6, 24), (9, 24), (LAST, 24)]
    assert learn(datasets, tmp_path, **settings) == LAST
    assert len(steps.evaluated) == 4


@pytest.fixture
def returning(datasets):
    """Phases of 5, 3 and 4 steps, of which the last is on the dataset of the first, in a copy of its folder."""
    (short, _), (long, _) = datasets
    copy = short.parent / "copy_of_short"
    shutil.copytree(short, copy, dirs_exist_ok=True)
    return [(short, 5), (long, 3), (copy, 4)]


def first_ids(dataset, *steps):
    """The token ids of some batches of a dataset, told by their numbers."""
    directory, _ = dataset
    with closing(train_batches(Dataset.open(directory), 8, CONFIG.random_seed)) as some:
        batches = list(itertools.islice(some, max(steps) + 1))
    return [batches[step]["input_ids"].tolist() for step in steps]


@pytest.mark.parametrize("stopped_at", [None, 3, 5, 7, 8, 10])
def test_a_phase_on_a_dataset_of_an_earlier_one_goes_on_where_that_stopped(steps, returning, tmp_path, stopped_at):
    steps.in_step = at(stopped_at, preempt)
    assert learn(returning, tmp_path) == (stopped_at or LAST)
    assert learn(returning, tmp_path) == LAST
    short, long, _ = returning
    expected = first_ids(short, *range(5)) + first_ids(long, *range(3)) + first_ids(short, *range(5, 9))
    assert [batch["input_ids"].tolist() for batch in steps.batches] == expected


def test_a_training_of_an_older_maskmill_goes_on_with_the_first_examples_of_each_phase(steps, returning, tmp_path):
    steps.in_step = at(7, preempt)
    learn(returning, tmp_path)
    path = tmp_path / "training.json"
    training = parse_sealed(path.read_bytes(), path, "")
    assert [phase.pop("first_batch") for phase in training["phases"]] == [0, 0, 5]
    path.write_text(seal_versioned(training))
    steps.batches.clear()
    steps.in_step = at(10, preempt)
    assert learn(returning, tmp_path) == 10
    assert learn(returning, tmp_path) == LAST
    short, long, _ = returning
    expected = first_ids(long, 2) + first_ids(short, *range(4))
    assert [batch["input_ids"].tolist() for batch in steps.batches] == expected


@pytest.mark.parametrize(("bad_step", "place"), [(3, 2), (8, 2), (10, 6)])  # 8: read in the next phase
def test_the_bad_batch_of_a_returning_phase_is_named(steps, returning, tmp_path, bad_step, place):
    steps.losses[bad_step] = float("nan")
    with pytest.raises(InputError, match=f"the loss of step {bad_step} is nan"):
        learn(returning, tmp_path, save_summary_steps=100)
    dataset = returning[1 if bad_step == 8 else 0 if bad_step == 3 else 2]
    found = []
    for name in json.loads((tmp_path / BAD_BATCH).read_text())["examples"]:
        path, number = name.split(", record ")
        assert path.startswith(f"{dataset[0]}/")
        found.append(list(read_records(path))[int(number) - 1])
    decoded = ExampleDecoder(DatasetInfo.load(dataset[0]).features).decode(found)
    assert [decoded["input_ids"].tolist()] == first_ids(dataset, place)


def test_an_evaluation_at_the_border_is_of_the_phase_before_it(steps, datasets, tmp_path):
    steps.in_step = at(BORDER, preempt)
    learn(datasets, tmp_path, eval_every=BORDER)
    learn(datasets, tmp_path, eval_every=BORDER)
    assert steps.evaluated == [(BORDER, 16), (2 * BORDER, 24), (LAST, 24)]


def test_a_checkpoint_is_there_before_an_evaluation_begins(steps, datasets, tmp_path):
    steps.in_evaluation = at(4, die)
    with pytest.raises(SystemExit):
        learn(datasets, tmp_path, eval_every=4, save_checkpoints_steps=2)
    assert list_checkpoints(tmp_path)[0][0] == 4


def test_the_best_checkpoint_is_that_of_the_lowest_loss_in_the_last_phase(steps, datasets, tmp_path):
    steps.eval_losses = {2: 1.0, 4: 0.5, 6: 9.0, 8: 7.0, 10: 8.0, 12: float("nan")}
    best = []
    steps.in_step = lambda step: best.append(read_best(tmp_path))
    learn(datasets, tmp_path, eval_every=2)
    assert best[2:] == [(2, 1.0)] * 2 + [(4, 0.5)] * 2 + [(6, 9.0)] * 2 + [(8, 7.0)] * 4
    assert read_best(tmp_path) == (8, 7.0)


def test_after_a_fallback_the_best_checkpoint_is_still_the_best(steps, datasets, tmp_path, caplog):
    settings = {"eval_every": 1, "save_checkpoints_steps": 1}
    steps.eval_losses = {step: 9.0 - step for step in range(1, LAST)} | {LAST: 5.0}
    learn(datasets, tmp_path / "uninterrupted", **settings)
    steps.in_step = at(9, die)
    with pytest.raises(SystemExit):
        learn(datasets, tmp_path / "model", **settings)
    for step in (8, 7):
        (tmp_path / "model" / f"checkpoint-{step}.safetensors").write_bytes(b"damaged")
    steps.batches.clear()
    best = []
    steps.in_step = lambda step: best.append(read_best(tmp_path / "model"))
    with caplog.at_level(logging.WARNING):
        assert learn(datasets, tmp_path / "model", **settings) == LAST
    assert [text.split("/")[-1].split(" (")[0] for text in caplog.messages] == [
        "checkpoint-8.safetensors is damaged", "checkpoint-7.safetensors is damaged",
    ]  # fmt: skip
    assert len(steps.batches) == LAST - 6
    assert best == [(8, 1.0)] * 3 + [(9, 0.0), (10, -1.0), (11, -2.0)]
    for name in (BEST, *(f"checkpoint-{step}.safetensors" for step in (10, 11, 12))):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "uninterrupted" / name).read_bytes()
    ours, theirs = (without_speeds(read_metrics(tmp_path / name)) for name in ("model", "uninterrupted"))
    assert ours == theirs


def limit_files(size):
    """No file may become larger, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("what", ["checkpoint-6.safetensors", BEST, "metrics.jsonl", "events.out.tfevents"])
def test_a_full_disk_is_one_sentence_and_keeps_the_checkpoints(steps, datasets, tmp_path, what):
    settings = {"save_checkpoints_steps": 3, "keep_checkpoints": 1, "eval_every": 5}

    def fill_disk():
        sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
        if what in ("metrics.jsonl", "events.out.tfevents"):
            other = "events" if what == "metrics.jsonl" else "metrics"
            next(tmp_path.glob(f"{other}*")).write_bytes(b"")  # the smaller of the two is not the one that fails
            limit_files(next(size for name, size in sizes.items() if name.startswith(what)))
        else:
            limit_files(sizes["checkpoint-3.safetensors"] // (6 if what == BEST else 2))

    steps.in_step = at(4, fill_disk)
    try:
        with pytest.raises(InputError, match=rf"{what}.* cannot be written \(File too large\); make room") as error:
            learn(datasets, tmp_path, **settings)
    finally:
        limit_files(resource.RLIM_INFINITY)
    assert "\n" not in str(error.value)
    steps.in_step = lambda step: None
    assert not list(tmp_path.glob(".*"))
    for _, path in list_checkpoints(tmp_path):
        read_checkpoint(path)
    assert learn(datasets, tmp_path, **settings) == LAST


@pytest.mark.parametrize("name", ["bert/pooler/bias", "bert/embeddings/word_embeddings/adam_v"])
def test_weights_that_an_update_broke_are_not_saved_whatever_the_loss(steps, datasets, tmp_path, monkeypatch, name):
    states = []
    real = AdamWeightDecay.state.fget
    monkeypatch.setattr(AdamWeightDecay, "state", property(lambda of: states.append(real(of)) or states[-1]))

    def break_one():
        states[0][name].assign(np.full(states[0][name].shape, np.nan))

    steps.in_step = at(6, break_one)
    with pytest.raises(InputError, match=f"^{name} is not finite after step 6, at .*; likely") as error:
        learn(datasets, tmp_path, save_checkpoints_steps=2, eval_every=3)
    assert str(error.value).endswith(f"the examples of that batch are in {tmp_path / BAD_BATCH}")
    assert json.loads((tmp_path / BAD_BATCH).read_text())["step"] == 6
    assert [step for step, _ in list_checkpoints(tmp_path)] == [4, 2]
    assert read_best(tmp_path) == (3, 1.0)

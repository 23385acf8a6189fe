"""What a training does between its steps, with a step and an evaluation that compute nothing."""

import dataclasses
import errno
import itertools
import json
import logging
import resource
import signal
import subprocess
import sys
from contextlib import closing, suppress

import numpy as np
import pytest
from small_dataset import VOCAB_SIZE, write_dataset

import model.train
from model.checkpoint import BEST, list_checkpoints, read_best, read_checkpoint, state_of
from model.config import BertConfig, TrainConfig
from model.dataset import train_batches
from model.heads import SUMS
from model.metrics_log import read_metrics
from model.optimization import Schedule
from model.signals import ctrl_c_ends_at_once
from model.train import BAD_BATCH, Start, train
from pipeline.schema import MANIFEST, NOT_SEALED, DatasetInfo
from tokenizer.errors import InputError

BERT_CONFIG = BertConfig(
    vocab_size=VOCAB_SIZE,
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=1,
    intermediate_size=8,
    max_position_embeddings=24,
)
BORDER, LAST = 5, 12
CONFIG = TrainConfig(
    train_batch_size=8, learning_rate=1e-3, num_warmup_steps=3, save_checkpoints_steps=100, save_summary_steps=1
)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Two phases: datasets of other lengths, with held-out examples, and the steps on each."""
    folder = tmp_path_factory.mktemp("phases")
    for name, length in (("short", 16), ("long", 24)):
        train_split = write_dataset(folder / name, [[20, 17], [20, 17]], seed=length, max_seq_length=length)
        held_out = write_dataset(folder / name, [[9]], split="eval", seed=1, max_seq_length=length)
        dataclasses.replace(train_split, shards=train_split.shards + held_out.shards).save(folder / name)
    return [(folder / "short", BORDER), (folder / "long", LAST - BORDER)]


class FakeSteps:
    """What is called in each step and in each evaluation, the batches that came, and losses of evaluations to give."""

    def __init__(self):
        self.batches = []
        self.in_step = lambda step: None
        self.in_evaluation = lambda step: None
        self.eval_losses = {}
        self.evaluated = []
        self.global_step = None

    def train_step(self, bert, optimizer, *rest):
        self.global_step = optimizer.global_step

        def step(features):
            self.batches.append(features)
            optimizer.global_step.assign(optimizer.global_step + 1)
            for weight in optimizer.weights.values():
                weight.assign(weight + 1)
            self.in_step(int(optimizer.global_step))
            return dict.fromkeys(("loss", *SUMS), features["input_ids"].mean())

        step.sync = lambda: None
        return step

    def evaluate_split(self, run_eval, info, *rest):
        step = int(self.global_step)
        self.in_evaluation(step)
        run_eval({})
        self.evaluated.append((step, info.max_seq_length))
        return {"loss": self.eval_losses.get(step, 1.0)}


@pytest.fixture
def steps(monkeypatch):
    fake = FakeSteps()
    monkeypatch.setattr(model.train, "train_step", fake.train_step)
    monkeypatch.setattr(model.train, "evaluate_split", fake.evaluate_split)
    monkeypatch.setattr(model.train, "eval_step", lambda bert: lambda features: {})
    monkeypatch.setattr(model.train, "measure_peak", lambda dtype: 1e12)
    monkeypatch.setattr(model.train, "draw_training", lambda folder: None)
    return fake


def learn(datasets, model_dir, **changes):
    """Trains with some settings changed -> the number of steps that the model has."""
    return train(datasets, model_dir, BERT_CONFIG, dataclasses.replace(CONFIG, **changes))


def at(wanted, act):
    return lambda step: act() if step == wanted else None


def preempt():
    signal.raise_signal(signal.SIGTERM)


def die():
    raise SystemExit


def without_speeds(rows):
    speeds = ("sequences_per_second", "tokens_per_second", "mfu")
    return [{name: value for name, value in row.items() if name not in speeds} for row in rows]


def assert_all_was_taken_once(batches, datasets):
    expected = []
    for directory, count in datasets:
        with closing(train_batches(DatasetInfo.load(directory), directory, 8, CONFIG.random_seed)) as some:
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


def test_a_half_written_file_is_never_read_and_is_removed(steps, datasets, tmp_path):
    half = f"{'0' * 31}1.tmp"
    tmp_path.joinpath(f".training.json.{half}").write_text("{")  # killed before anything else was there
    steps.in_step = at(4, preempt)
    learn(datasets, tmp_path)
    tmp_path.joinpath(f".checkpoint-9.safetensors.{half}").write_bytes(b"half")
    tmp_path.joinpath(".notes.tmp").write_text("mine")
    steps.in_step = lambda step: None
    assert learn(datasets, tmp_path) == LAST
    assert len(steps.batches) == LAST
    assert [path.name for path in tmp_path.glob(".*")] == [".notes.tmp"]


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


def test_a_training_without_a_checkpoint_may_be_begun_in_another_way(steps, datasets, tmp_path):
    def no_memory():
        raise MemoryError

    steps.in_step = at(2, no_memory)
    with pytest.raises(InputError, match="give --gradient-accumulation-steps 2, which changes no gradient"):
        learn(datasets, tmp_path)
    steps.in_step = at(2, preempt)
    assert learn(datasets, tmp_path, random_seed=2) == 2
    with pytest.raises(InputError, match="holds a training with random_seed 2, this one has 12345"):
        learn(datasets, tmp_path)


def test_the_best_checkpoint_is_never_there_alone_so_a_killed_training_goes_on(steps, datasets, tmp_path):
    steps.in_step = at(4, die)
    with pytest.raises(SystemExit):
        learn(datasets, tmp_path, eval_every=2)
    assert read_best(tmp_path) == (2, 1.0)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2]
    steps.in_step = lambda step: None
    assert learn(datasets, tmp_path, eval_every=2) == LAST
    assert [step for step, _ in list_checkpoints(tmp_path)] == [LAST, 2]  # no more than needed


def test_the_best_checkpoint_outlives_the_others_that_its_user_removed(steps, datasets, tmp_path):
    learn(datasets, tmp_path, eval_every=6)
    for _, path in list_checkpoints(tmp_path):
        path.unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for changes in ({}, {"random_seed": 2}):
        with pytest.raises(InputError, match=rf"holds {BEST}, and no checkpoint to go on from; remove that file"):
            learn(datasets, tmp_path, eval_every=6, **changes)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    start = Start(str(tmp_path / BEST))  # one of the ways out
    config = dataclasses.replace(CONFIG, num_train_steps=LAST)
    assert train(datasets, tmp_path / "another", BERT_CONFIG, config, start=start) == LAST
    (tmp_path / BEST).unlink()  # another
    assert learn(datasets, tmp_path, eval_every=6) == LAST


@pytest.mark.parametrize("name", ["bert/pooler/bias", "bert/embeddings/word_embeddings/adam_v"])
def test_weights_that_an_update_broke_are_not_saved_whatever_the_loss(steps, datasets, tmp_path, monkeypatch, name):
    states = []
    monkeypatch.setattr("model.train.state_of", lambda *of: states.append(state_of(*of)) or states[-1])

    def break_one():
        states[0][name].assign(np.full(states[0][name].shape, np.nan))

    steps.in_step = at(6, break_one)
    with pytest.raises(InputError, match=f"^{name} is not finite after step 6, at .*; likely") as error:
        learn(datasets, tmp_path, save_checkpoints_steps=2, eval_every=3)
    assert str(error.value).endswith(f"the examples of that batch are in {tmp_path / BAD_BATCH}")
    assert json.loads((tmp_path / BAD_BATCH).read_text())["step"] == 6
    assert [step for step, _ in list_checkpoints(tmp_path)] == [4, 2]
    assert read_best(tmp_path) == (3, 1.0)


@pytest.mark.parametrize(
    ("setting", "before", "value"),
    [
        ("optimizer", "adamw", "lamb"),
        ("precision", "float32", "bfloat16"),
        ("dynamic_masking", False, True),
        ("random_seed", 12345, 1),
    ],
)
def test_what_changes_the_weights_is_kept_and_may_not_change(steps, datasets, tmp_path, setting, before, value):
    steps.in_step = at(1, preempt)
    learn(datasets, tmp_path)
    assert json.loads((tmp_path / "training.json").read_text())["train_config"][setting] == before
    with pytest.raises(InputError, match=f"holds a training with {setting} {before}, this one has {value}; "):
        learn(datasets, tmp_path, **{setting: value})


def test_what_changes_no_weight_may_change(steps, datasets, tmp_path):
    steps.in_step = at(6, preempt)
    learn(datasets, tmp_path, save_checkpoints_steps=1, keep_checkpoints=6)
    assert len(list_checkpoints(tmp_path)) == 6
    changes = {"eval_every": 3, "save_checkpoints_steps": 4, "keep_checkpoints": 2, "save_summary_steps": 2}
    assert learn(datasets, tmp_path, **changes) == LAST
    assert [step for step, _ in list_checkpoints(tmp_path)] == [LAST, 8]
    assert [step for step, _ in steps.evaluated] == [6, 9, LAST]


def test_a_phase_that_does_not_fit_into_memory_is_gone_on_with_as_its_error_says(steps, datasets, tmp_path):
    def run_out():
        raise MemoryError

    steps.in_step = at(BORDER + 1, run_out)
    with pytest.raises(InputError, match="24 tokens does not fit into memory; give --gradient-accumulation-steps 2"):
        learn(datasets, tmp_path, save_checkpoints_steps=BORDER)
    steps.in_step = lambda step: None
    assert learn(datasets, tmp_path, gradient_accumulation_steps=2) == LAST


def test_two_processes_do_not_train_into_one_folder(steps, datasets, tmp_path):
    def learn_twice():
        with pytest.raises(InputError, match=f"another process trains into {tmp_path}; wait for its end, or give"):
            learn(datasets, tmp_path)

    steps.in_step = at(3, learn_twice)
    assert learn(datasets, tmp_path) == LAST
    assert [row["step"] for row in read_metrics(tmp_path) if "loss" in row] == [*range(1, LAST + 1)]
    assert learn(datasets, tmp_path) == LAST  # once the first is at its end


def test_other_phases_are_another_training(steps, datasets, tmp_path):
    steps.in_step = at(1, preempt)
    learn(datasets, tmp_path)
    (short, _), (long, _) = datasets
    for other, what in (
        ([(short, LAST)], "the number of phases 2, this one has 1"),
        ([(short, BORDER - 1), (long, LAST - BORDER + 1)], f"num_train_steps {BORDER}, this one has {BORDER - 1}"),
        ([(long, BORDER), (short, LAST - BORDER)], "dataset_sha256 [0-9a-f]+, this one has [0-9a-f]+"),
    ):
        with pytest.raises(InputError, match=f"holds a training with {what}; repeat that one to resume it"):
            learn(other, tmp_path)


def changed_copy(directory, target, **changes):
    info = DatasetInfo.load(directory)
    config = {name: value for name, value in {**info.config, **changes}.items() if value is not None}
    write_dataset(target, [[20]], max_seq_length=info.max_seq_length)
    made = DatasetInfo.load(target)
    dataclasses.replace(made, config=config).save(target)
    return target


@pytest.mark.parametrize(
    ("changes", "settings", "sentence"),
    [
        ({"cased": True}, {}, "other has cased=True, .*short has cased=False; generate both alike"),
        ({"masked_lm_prob": None}, {"dynamic_masking": True}, "has no masked_lm_prob, which --dynamic-masking needs"),
        ({}, {"eval_every": 2}, "other has no eval split; generate it with --eval-fraction"),
        ({}, {"train_batch_size": 64}, "other has 20 examples, train_batch_size is 64"),
    ],
)
def test_a_second_phase_that_does_not_fit_is_refused_before_the_first_begins(
    steps, datasets, tmp_path, changes, settings, sentence
):
    other = changed_copy(datasets[1][0], tmp_path / "other", **changes)
    with pytest.raises(InputError, match=sentence):
        learn([datasets[0], (other, 3)], tmp_path / "model", **settings)
    assert not (tmp_path / "model").exists()


def test_phases_whose_labels_mean_different_things_are_refused(steps, datasets, tmp_path):
    sop, mlm = (changed_copy(datasets[0][0], tmp_path / objective, objective=objective) for objective in ("sop", "mlm"))
    for phases in ([datasets[0], (sop, 3)], [(sop, 3), (mlm, 3), datasets[0]]):
        with pytest.raises(InputError, match=r"has objective (sop|nsp), .* has (nsp|sop): label 1 is a random next"):
            learn(phases, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert learn([(mlm, 2), (sop, 2), (mlm, 2)], tmp_path / "model") == 6  # no pairs, no other meaning


def test_a_manifest_that_is_not_as_it_was_written_is_refused(steps, datasets, tmp_path):
    dataset, manifest = tmp_path / "shards", tmp_path / "shards" / MANIFEST
    write_dataset(dataset, [[20]])
    content = manifest.read_bytes()
    unsealed = {name: value for name, value in json.loads(content).items() if name != "sha256"}  # of an older maskmill
    for changed in (content.replace(b'"cased": false', b'"cased": true'), json.dumps(unsealed, indent=1).encode()):
        manifest.write_bytes(changed)
        with pytest.raises(InputError, match=rf"{MANIFEST} {NOT_SEALED}; restore it, or generate the dataset again"):
            learn([(dataset, 2)], tmp_path / "model")
    assert not (tmp_path / "model").exists()
    manifest.write_bytes(content)
    assert learn([(dataset, 3)], tmp_path / "model") == 3


def test_phases_of_different_vocabularies_are_refused(steps, datasets, tmp_path):
    other = write_dataset(tmp_path / "other", [[20]])
    dataclasses.replace(other, vocab_sha256="0" * 64).save(tmp_path / "other")
    with pytest.raises(InputError, match=r"made with another vocabulary than .*short; generate it with --vocab-file"):
        learn([datasets[0], (tmp_path / "other", 3)], tmp_path / "model")


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def each_signal(request):
    before = signal.getsignal(request.param)
    yield request.param
    signal.signal(request.param, before)


def test_a_second_signal_acts_as_ever(steps, datasets, tmp_path, each_signal):
    def raise_twice():
        signal.raise_signal(each_signal)
        signal.raise_signal(each_signal)

    signal.signal(each_signal, lambda *_: die())
    steps.in_step = at(2, raise_twice)
    with pytest.raises(SystemExit):
        learn(datasets, tmp_path)
    assert not list_checkpoints(tmp_path)
    with pytest.raises(SystemExit):  # handlers are put back
        signal.raise_signal(each_signal)


def test_an_ignored_signal_is_ignored(steps, datasets, tmp_path, each_signal):
    signal.signal(each_signal, signal.SIG_IGN)  # as of Ctrl-C in the background of a script
    steps.in_step = at(2, lambda: signal.raise_signal(each_signal))
    assert learn(datasets, tmp_path) == LAST


def test_a_signal_is_answered_at_once_even_if_the_step_is_long(steps, datasets, tmp_path, each_signal, capfd):
    told = []

    def stop():
        signal.raise_signal(each_signal)
        told.append(capfd.readouterr().err)

    steps.in_step = at(2, stop)
    with suppress(KeyboardInterrupt):
        learn(datasets, tmp_path)
    assert f"{each_signal.name}: stopping after the step at hand" in told[0]
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2]


def test_a_terminal_that_is_gone_does_not_keep_a_training_from_its_checkpoint(steps, datasets, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("model.signals.os.write", fail)
    steps.in_step = at(2, lambda: signal.raise_signal(signal.SIGHUP))
    assert learn(datasets, tmp_path) == 2
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2]


def test_ctrl_c_during_an_import_ends_the_process_whatever_catches_errors():
    code = """
import signal
from model.signals import ctrl_c_ends_at_once
with ctrl_c_ends_at_once():
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        print("lost")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (-signal.SIGINT, "")


def test_after_an_import_ctrl_c_acts_as_before():
    before = signal.getsignal(signal.SIGINT)
    with ctrl_c_ends_at_once():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_ends_a_training_after_a_checkpoint(steps, datasets, tmp_path):
    steps.in_step = at(2, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        learn(datasets, tmp_path)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2]

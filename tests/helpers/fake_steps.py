"""Trainings whose steps and evaluations compute nothing, on two small datasets."""

import dataclasses
import signal

import pytest
from small_dataset import VOCAB_SIZE, write_dataset

import maskmill.model.pretraining.train
from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.heads import SUMS
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.train import train

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
        train_split = write_dataset(folder / name, [[20, 17], [20, 17]], seed=length, max_seq_length=length).info
        held_out = write_dataset(folder / name, [[9]], split="eval", seed=1, max_seq_length=length).info
        dataclasses.replace(train_split, shards=train_split.shards + held_out.shards).save(folder / name)
    return [(folder / "short", BORDER), (folder / "long", LAST - BORDER)]


class FakeSteps:
    """What is called in each step and in each evaluation, the batches that came, and the losses to give."""

    def __init__(self):
        self.batches = []
        self.in_step = lambda step: None
        self.in_evaluation = lambda step: None
        self.eval_losses = {}
        self.losses = {}  # of steps, where they are not means of ids
        self.evaluated = []
        self.global_step = None

    def train_step(self, bert, optimizer, *rest):
        self.global_step = optimizer.global_step

        def step(features):
            self.batches.append(features)
            optimizer.global_step.assign(optimizer.global_step + 1)
            for weight in optimizer.weights.values():
                weight.assign(weight + 1)
            number = int(optimizer.global_step)
            self.in_step(number)
            return dict.fromkeys(("loss", *SUMS), self.losses.get(number, features["input_ids"].mean()))

        return step

    def evaluate_split(self, run_eval, dataset, *rest):
        step = int(self.global_step)
        self.in_evaluation(step)
        run_eval({})
        self.evaluated.append((step, dataset.info.max_seq_length))
        return {"loss": self.eval_losses.get(step, 1.0)}


@pytest.fixture
def steps(monkeypatch):
    fake = FakeSteps()
    monkeypatch.setattr(maskmill.model.pretraining.train, "train_step", fake.train_step)
    monkeypatch.setattr(maskmill.model.pretraining.train, "evaluate_split", fake.evaluate_split)
    monkeypatch.setattr(maskmill.model.pretraining.train, "eval_step", lambda bert: lambda features: {})
    monkeypatch.setattr(maskmill.model.pretraining.train, "measure_peak", lambda dtype: 1e12)
    monkeypatch.setattr(maskmill.model.pretraining.train, "draw_training", lambda folder: None)
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

"""How many steps fit into a time, and how long a training takes."""

import json
from dataclasses import replace

import pytest
from fake_steps import BERT_CONFIG, CONFIG, at, preempt
from fake_steps import datasets as datasets  # a fixture
from fake_steps import steps as steps  # a fixture

import maskmill.model.pretraining.speed as speed_module
import maskmill.model.pretraining.train
from maskmill.deploy.training.training_time import describe_time, time_of_presets
from maskmill.model.bert.config import PRESETS, BertConfig
from maskmill.model.pretraining.config import PhaseRequest
from maskmill.model.pretraining.phases import Plan
from maskmill.model.pretraining.speed import measure_speed, steps_that_fit
from maskmill.model.pretraining.train import train
from maskmill.model.training.distribution import ONE_DEVICE
from maskmill.model.training.meter import TrainProgress
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.tokenizer.errors import InputError

IN_A_MINUTE = replace(CONFIG, max_time=60.0, num_warmup_steps=None)


def progress(seconds_left):
    return TrainProgress(10, 1010, {}, 1e-4, 9.0, 1152.0, 0.4, seconds_left)


def test_the_schedule_is_that_of_the_steps_that_fit_and_a_resumed_training_keeps_them(
    steps, datasets, tmp_path, monkeypatch
):
    measured = []
    monkeypatch.setattr(maskmill.model.pretraining.train, "steps_that_fit", lambda *of: measured.append(of) or 20)
    directory = datasets[0][0]
    steps.in_step = at(3, preempt)
    assert train(directory, tmp_path, BERT_CONFIG, IN_A_MINUTE) == 3
    recorded = json.loads((tmp_path / "training.json").read_text())["train_config"]
    assert (recorded["num_train_steps"], recorded["num_warmup_steps"], recorded["max_time"]) == (20, 2, 60.0)
    assert train(directory, tmp_path, BERT_CONFIG, IN_A_MINUTE) == 20
    assert len(measured) == 1
    with pytest.raises(InputError, match=r"holds a training with max_time 60.0, this one has 90.0; repeat that one"):
        train(directory, tmp_path, BERT_CONFIG, replace(IN_A_MINUTE, max_time=90.0))


def test_a_time_and_a_number_of_steps_are_refused(datasets, tmp_path):
    for other in (replace(IN_A_MINUTE, num_train_steps=5), IN_A_MINUTE):
        with pytest.raises(InputError, match=r"max_time is 60.0, and the number of steps is given as well"):
            train(datasets if other is IN_A_MINUTE else datasets[0][0], tmp_path / "model", BERT_CONFIG, other)
    assert not (tmp_path / "model").exists()


def test_real_steps_are_measured(datasets, monkeypatch):
    monkeypatch.setattr(speed_module, "_LEAST_SECONDS", 0.2)
    plan = Plan.load([PhaseRequest(datasets[0][0], None)], BERT_CONFIG, IN_A_MINUTE)
    phase = plan.phases[0]
    speed = measure_speed(phase, BERT_CONFIG, replace(IN_A_MINUTE, max_time=3.0), ONE_DEVICE)
    assert 0 < speed.step < 0.5
    assert speed.compilation > speed.step
    assert steps_that_fit(phase, BERT_CONFIG, replace(IN_A_MINUTE, max_time=1.0), ONE_DEVICE) == 1  # it takes longer


def test_a_training_of_days_names_smaller_models_and_the_time_that_they_take(datasets):
    info = DatasetInfo.load(datasets[0][0])
    base, mini = (BertConfig.preset(name, info.vocab_size) for name in ("base", "mini"))
    said = describe_time(progress(28 * 86_400.0), base, info)
    assert said.startswith("The 1,000 steps left take about 28 d on this machine. Smaller models: medium ")
    assert said.endswith("--max-time 8h trains as many steps as fit in 8 hours.")
    assert describe_time(progress(3600.0), mini, info) == "The 1,000 steps left take about 1 h on this machine."
    times = time_of_presets(100.0, base, info)
    assert list(times) == ["medium", "small", "mini", "tiny"] == list(PRESETS)[3::-1]
    assert 100 > times["medium"] > 1.9 * times["small"] > 4 * times["mini"]

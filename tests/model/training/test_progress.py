"""Of a training with a clock that stands still."""

import math
from pathlib import Path

import pytest

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.heads import SUMS, known_metrics
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.phases import Phase, Plan, sequence_flops
from maskmill.model.training import meter as progress
from maskmill.model.training.meter import Meter, NotFiniteError
from maskmill.model.training.metrics_log import MetricsLog, read_metrics
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo

BERT = BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
CONFIG = TrainConfig(train_batch_size=4)
PEAK = 1e6  # operations a second


def phase_of(max_seq_length, first_step, last_step):
    config = {"max_seq_length": max_seq_length, "max_predictions_per_seq": 2}
    info = DatasetInfo(config=config, vocab_size=50, vocab_sha256="", counts={}, shards=(), maskmill_version="0")
    return Phase(Dataset("data", info), first_step, last_step)


PLAN = Plan((phase_of(16, 0, 10), phase_of(64, 10, 15)))


def losses_of(loss, pairs=4.0):
    sums = dict.fromkeys(SUMS, 0.0) | {"masked_lm_loss_sum": loss * 8, "masked_lm_weight": 8.0}
    return {"loss": loss, **sums, "next_sentence_loss_sum": pairs, "next_sentence_weight": pairs}


class Clock:
    """Stands still but for the seconds that it is told."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def meter(tmp_path, clock):
    """A meter at the beginning of the first phase; what it reports is in `reports`."""
    reports = []
    meter = Meter(
        PLAN.schedule(CONFIG),
        0,
        dict.fromkeys(SUMS, 0.0),
        known_metrics,
        MetricsLog(tmp_path, 0),
        reports.append,
        3,
        PEAK,
    )
    meter.reports = reports
    meter.begin(PLAN.pace(PLAN.phases[0], BERT, CONFIG))
    yield meter
    meter.log.close()


def test_the_first_step_compiles_and_tells_no_speed(meter, clock):
    clock.now += 60
    meter.add(losses_of(3.0))
    assert meter.reports[-1].sequences_per_second == meter.reports[-1].mfu == 0
    for _ in range(4):
        clock.now += 2
        meter.add(losses_of(3.0))
    assert meter.reports[-1].sequences_per_second == 4 / 2
    assert meter.reports[-1].tokens_per_second == 4 * 16 / 2
    flops = 4 * sequence_flops(PLAN.phases[0], BERT)
    assert meter.reports[-1].mfu == pytest.approx(flops / 2 / PEAK)


def test_the_time_left_counts_the_steps_of_each_phase_by_what_they_compute(meter, clock):
    for _ in range(6):
        clock.now += 2
        meter.add(losses_of(3.0))
    short, long = (sequence_flops(phase, BERT) for phase in PLAN.phases)
    assert long > 4 * short
    assert meter.reports[-1].seconds_left == pytest.approx(2 * (4 + 5 * long / short))
    for _ in range(4):
        clock.now += 2
        meter.add(losses_of(3.0))
    meter.begin(PLAN.pace(PLAN.phases[1], BERT, CONFIG))
    for _ in range(3):
        clock.now += 9
        meter.add(losses_of(3.0))
    assert meter.reports[-1].seconds_left == pytest.approx(2 * 9)
    assert meter.reports[-1].tokens_per_second == pytest.approx(4 * 64 / 9)


def test_the_operations_left_are_those_of_the_steps_left():
    short, long = (4 * sequence_flops(phase, BERT) for phase in PLAN.phases)
    assert PLAN.flops_after(0, BERT, CONFIG) == 10 * short + 5 * long
    assert PLAN.flops_after(7, BERT, CONFIG) == 3 * short + 5 * long
    assert PLAN.flops_after(10, BERT, CONFIG) == 5 * long
    assert PLAN.flops_after(15, BERT, CONFIG) == 0


def test_time_for_other_things_is_left_out(meter, clock):
    for _ in range(3):
        clock.now += 2
        meter.add(losses_of(3.0))
        clock.now += 50
        meter.leave_out(50)
    clock.now += 2
    meter.add(losses_of(3.0))
    meter.read()
    assert meter.progress().sequences_per_second == pytest.approx(4 / 2)


def test_steps_are_read_about_once_a_second_and_none_is_left_out(meter, clock, tmp_path: Path):
    for loss in range(1, 7):
        clock.now += 0.1
        meter.add(losses_of(float(loss)))
    assert [report.step for report in meter.reports] == [1, 3, 6]
    rows = read_metrics(tmp_path)
    assert [row["step"] for row in rows] == [3, 6]
    assert [row["masked_lm_loss"] for row in rows] == pytest.approx([2, 5], rel=1e-4)


def test_what_there_is_not_is_not_logged(tmp_path, clock, meter):
    meter.add(losses_of(3.0, pairs=0.0))
    (report,) = meter.reports
    assert report.line().keys() == {"loss", "masked_lm_loss", "masked_lm_accuracy", "learning_rate"}
    assert report.loss == report.metrics["masked_lm_loss"]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_told_with_its_step(meter, clock, loss):
    clock.now += 2
    for good in (3.0, 2.5):
        meter.add(losses_of(good))
    said = f"the loss of step 3 is {loss}; it was 2.5 the step before"
    with pytest.raises(NotFiniteError, match=said) as error:
        meter.add(losses_of(loss))
    assert error.value.step == 3

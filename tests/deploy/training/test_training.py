"""What a training says beforehand and while it runs."""

import io
from dataclasses import replace

import pytest
from rich.console import Console, Group

from maskmill.deploy.terminal.progress import Bar
from maskmill.deploy.training import training
from maskmill.deploy.training.training import describe_progress, describe_steps, describe_want_of_memory
from maskmill.model.bert.config import BertConfig
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.training.meter import TrainProgress
from maskmill.pipeline.dataset.schema import DatasetInfo

pytest.importorskip("tensorflow", reason="needs the [train] extra")

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

"""Trains a BERT on a dataset. The same call again goes on where the last one stopped, to the very same weights."""

import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from model.bert import BertPretrainer
from model.checkpoint import list_checkpoints, restore_newest, save_checkpoint, state_of
from model.config import BertConfig, TrainConfig
from model.dataset import require_examples, train_batches
from model.init_checkpoint import initialize, read_init_checkpoint, tokens_of
from model.metrics_log import MetricsLog, draw_training
from model.model_dir import check_fits, describe_training, open_model_dir
from model.optimization import AdamWeightDecay, Schedule
from model.progress import Meter, TrainProgress
from model.step import train_step
from pipeline.schema import VOCAB, DatasetInfo
from pipeline.storage import is_remote, read_bytes

logger = logging.getLogger(__name__)


def train(
    dataset_dir: str | os.PathLike[str],
    model_dir: str | os.PathLike[str],
    bert_config: BertConfig,
    train_config: TrainConfig,
    report: Callable[[TrainProgress], None] = lambda progress: None,
    saved: Callable[[], None] = lambda: None,
    init_checkpoint: str | None = None,
    resize_embeddings: bool = False,
) -> int:
    """Trains into `model_dir`, from its newest checkpoint if it has one -> the number of steps the model has now.

    The first step begins with the weights at `init_checkpoint` (`read_init_checkpoint` says what that may be;
    `initialize`, what `resize_embeddings` does), else with new ones.
    Writes checkpoints, `metrics.jsonl`, TensorBoard events and at the end `training.png`; calls `report` about once a
    second, and `saved` after each checkpoint. Raises InputError when dataset, configuration and folder do not fit or a
    loss is not finite, and KeyboardInterrupt on Ctrl-C, after a checkpoint.
    """
    info = DatasetInfo.load(dataset_dir)
    check_fits(info, dataset_dir, bert_config)
    require_examples(info, dataset_dir, "train")
    info.check_files(dataset_dir)
    schedule = schedule_for(train_config, info)
    config = replace(train_config, num_train_steps=schedule.num_train_steps, num_warmup_steps=schedule.num_warmup_steps)
    folder = Path(model_dir)
    vocab_text = read_bytes(os.path.join(dataset_dir, VOCAB)).decode()
    training = describe_training(info, dataset_dir, bert_config, config)
    training["init_checkpoint"] = _absolute(init_checkpoint) if init_checkpoint else None

    model = BertPretrainer(bert_config, config.random_seed)
    if init_checkpoint and not list_checkpoints(folder):  # before the folder is made: it may be refused
        found = read_init_checkpoint(init_checkpoint)
        for note in initialize(model, found, tokens_of(vocab_text), resize_embeddings):
            logger.warning(note)
    open_model_dir(folder, training, vocab_text)
    optimizer = AdamWeightDecay(model.named_weights, schedule, config.weight_decay_rate)
    state = state_of(model, optimizer)
    step = restore_newest(folder, state) or 0
    run_step = train_step(model, optimizer)
    batches = train_batches(info, dataset_dir, config.train_batch_size, config.random_seed, step)

    with _ctrl_c_deferred() as interrupted, closing(MetricsLog(folder, step)) as log:
        meter = Meter(config, schedule, step, log, report)
        while step < schedule.num_train_steps:
            meter.add(run_step(next(batches)))
            step += 1
            if interrupted.is_set() or step % config.save_checkpoints_steps == 0 or step == schedule.num_train_steps:
                meter.read()  # stops at a loss that is not finite, before what it did to the weights is kept
                run_step.sync()
                save_checkpoint(folder, step, state, config.keep_checkpoints)
                saved()
            if interrupted.is_set():
                raise KeyboardInterrupt
    draw_training(folder)
    return step


def schedule_for(config: TrainConfig, info: DatasetInfo) -> Schedule:
    """The schedule on a dataset: unless given, the steps of one pass over all train shards, and a tenth to warm up."""
    steps = config.num_train_steps or math.ceil(info.examples_of("train") / config.train_batch_size)
    warmup = steps // 10 if config.num_warmup_steps is None else config.num_warmup_steps
    return Schedule(config.learning_rate, steps, warmup)


def _absolute(path: str) -> str:
    return path if is_remote(path) else os.path.abspath(path)


@contextmanager
def _ctrl_c_deferred() -> Iterator[threading.Event]:
    """Within it, the first Ctrl-C sets the event only: in the middle of a step, half of the state would be new."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # where Ctrl-C never arrives
        yield interrupted
        return

    def on_interrupt(*_):
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)

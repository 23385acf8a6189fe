"""From the folder of a pre-trained BERT to that of a smaller one, with figures of both."""

import hashlib
import logging
import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras

from maskmill.model.bert.config import BertConfig, ComputeDtype
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.formats.model_dir import WhichCheckpoint, open_model_dir
from maskmill.model.pretraining.batches import eval_batches, require_examples, train_batches
from maskmill.model.pretraining.config import PhaseRequest, TrainConfig
from maskmill.model.pretraining.description import describe_training
from maskmill.model.pretraining.evaluate import EVAL_BATCH_SIZE, evaluate_split
from maskmill.model.pretraining.phases import Plan, check_fits
from maskmill.model.pruning.config import PruneConfig
from maskmill.model.pruning.smaller import prune_to_folder
from maskmill.model.tasks.trained import TrainedBert, open_trained, without_spare_rows
from maskmill.model.training.checkpoint import save_checkpoint
from maskmill.model.training.optimization import AdamWeightDecay
from maskmill.model.training.step import Batch, Losses
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import MANIFEST, Split
from maskmill.pipeline.storage.storage import AnyPath, absolute, read_bytes
from maskmill.tokenizer.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruneSource:
    """A pre-trained model, and the dataset that it is measured on."""

    dataset_dir: AnyPath
    model_dir: AnyPath  # whatever `open_trained` takes
    checkpoint: WhichCheckpoint = "newest"
    split: Split = "eval"  # that losses are of
    cased: bool | None = None  # as `open_trained` has it


def prune(
    source: PruneSource, output_dir: AnyPath, config: PruneConfig, train_config: TrainConfig | None = None
) -> dict[str, Any]:
    """Writes what is left of a model as a model folder -> the content of its `pruning.json`: choice and figures.

    The model itself is not changed. taylor measures on the train split; beside the loss of the choice stand those of
    choosing by the other measures.

    `train_config` says how it will be trained further; with its num_train_steps, the folder is that of a training
    before its first step, and `train(dataset_dir, output_dir, its config, train_config, start=Start(model_dir))` takes
    the steps. Without, only its precision matters.

    Writes the folder whole or not at all. Raises InputError when it is not empty, when dataset, model and configuration
    do not fit, or when nothing would be removed.
    """
    train_config = train_config or TrainConfig()
    dataset = Dataset.open(source.dataset_dir, sealed=True)
    for needed in sorted({"train", source.split}):
        require_examples(dataset, needed)
    trained = open_trained(source.model_dir, source.checkpoint, train_config.precision, source.cased)
    for note in trained.notes:
        logger.warning(note)
    _require_fit(trained, dataset)
    trained = without_spare_rows(trained, train_config.precision)
    plan = None
    if train_config.num_train_steps:
        plan = Plan.load(
            [PhaseRequest(source.dataset_dir, train_config.num_train_steps)], trained.model.config, train_config
        )
    else:
        dataset.check_files()
    request = describe_request(source, config, train_config.num_train_steps)
    pretrained = _Pretrained(trained, dataset, source, plan, train_config)
    return prune_to_folder(pretrained, Path(output_dir), config, request)


def describe_request(source: PruneSource, config: PruneConfig, recovery_steps: int | None) -> dict[str, Any]:
    """What was asked for: the part of `pruning.json` by which the same request is known again."""
    return {
        "model_dir": absolute(source.model_dir),
        "checkpoint": source.checkpoint,
        "dataset_sha256": hashlib.sha256(read_bytes(os.path.join(source.dataset_dir, MANIFEST))).hexdigest(),
        "split": source.split,
        "recovery_steps": recovery_steps,
        **asdict(config),
    }


def _require_fit(trained: TrainedBert, dataset: Dataset) -> None:
    """Raises InputError when the model cannot be measured on the dataset."""
    info = dataset.info
    if trained.vocab.sha256 != info.vocab_sha256:
        raise InputError(
            f"was made with another vocabulary than {trained.path} has",
            way_out="generate it with --vocab-file and the vocab.txt of the model",
            path=dataset.directory,
        )
    if difference := trained.rules.difference_from(info.config["cased"]):
        raise InputError(
            f"has other tokens than {trained.path} was trained on ({difference})",
            way_out="generate the dataset as the model's was",
            path=dataset.directory,
        )
    check_fits(dataset, trained.model.config)
    trained.require_head("masked_lm")
    if info.objective != "mlm":
        trained.require_head("bert/pooler")
        trained.require_head("next_sentence")


@dataclass
class _Pretrained:
    """A pre-trained model, measured on a dataset: a `Prunable`."""

    trained: TrainedBert
    dataset: Dataset
    source: PruneSource
    plan: Plan | None  # of the recovery
    train_config: TrainConfig

    def __post_init__(self) -> None:
        self.model: BertPretrainer = self.trained.model
        self.precision: ComputeDtype = self.train_config.precision
        self.num_examples = self.dataset.info.examples_of("train")

    def train_batches(self, batch_size: int, random_seed: int) -> Generator[Batch, None, None]:
        return train_batches(self.dataset, batch_size, random_seed)

    def batch(self) -> Batch:
        with closing(eval_batches(self.dataset, EVAL_BATCH_SIZE, self.source.split)) as batches:
            return next(batches)

    def evaluate(self, run_step: Callable[[Batch], Losses]) -> dict[str, float]:
        return evaluate_split(run_step, self.dataset, self.source.split, EVAL_BATCH_SIZE)

    def write(self, folder: Path, pruned: BertPretrainer, metrics: dict[str, float]) -> None:
        training = _describe(self.plan, pruned.config, self.train_config, self.trained, absolute(self.source.model_dir))
        with open_model_dir(folder, training, self.dataset.read_vocab().decode()):
            save_checkpoint(folder, 0, _state(pruned, self.plan, self.train_config), keep=1)


def _describe(
    plan: Plan | None, config: BertConfig, train_config: TrainConfig, trained: TrainedBert, source: str
) -> dict[str, Any]:
    """The content of `training.json`; without a plan, of a training that cannot go on."""
    if plan:
        return describe_training(plan, config, _with_schedule(train_config, plan), source)
    return {
        "backend": keras.backend.backend(),
        "bert_config": config.to_dict(),
        "train_config": asdict(train_config),
        "phases": [],
        "vocab_sha256": trained.vocab.sha256,
        "cased": trained.rules.cased,
        "init_checkpoint": source,
    }


def _state(model: BertPretrainer, plan: Plan | None, train_config: TrainConfig) -> dict[str, keras.Variable]:
    """What the checkpoint holds: the weights, and for a training the state of its optimizer before the first step."""
    if plan is None:
        return model.named_weights
    return AdamWeightDecay(model.named_weights, plan.schedule(train_config)).state


def _with_schedule(train_config: TrainConfig, plan: Plan) -> TrainConfig:
    schedule = plan.schedule(train_config)
    return replace(train_config, num_train_steps=schedule.num_train_steps, num_warmup_steps=schedule.num_warmup_steps)

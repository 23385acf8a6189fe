"""What `prune` takes: a pre-trained model with a dataset, or a fine-tuned one with a table."""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from maskmill.deploy.tasks.finetune import Tables
from maskmill.deploy.tasks.finetuning import run_finetuning, warn_of_rejected
from maskmill.deploy.tasks.prediction import choose_fields
from maskmill.deploy.terminal.command import pick
from maskmill.deploy.terminal.messages import warn
from maskmill.deploy.training.prune import PruneRequest
from maskmill.deploy.training.train import TrainRequest
from maskmill.deploy.training.training import train_model
from maskmill.model.bert.config import BERT_CONFIG
from maskmill.model.pretraining.config import PhaseRequest, TrainConfig
from maskmill.model.pretraining.recipes import OF_FILE
from maskmill.model.pruning.config import PruneConfig
from maskmill.model.tasks.finetune_config import FinetuneConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import Split
from maskmill.pipeline.storage.mirror import mirror
from maskmill.pipeline.tables.labelled import LabelledTexts
from maskmill.tokenizer.errors import InputError

if TYPE_CHECKING:
    from maskmill.model.formats.model_dir import WhichCheckpoint
    from maskmill.model.pruning.pretrained import PruneSource
    from maskmill.model.tasks.finetuned import FinetunedBert


class PruneJob(Protocol):
    """A trained model, what it is measured on, and how it is trained on."""

    way_on: str  # the option of another training that takes the pruned model

    @property
    def recovery_steps(self) -> int | None:
        """The steps to train on."""

    @property
    def split(self) -> Split:
        """What it is evaluated on."""

    @property
    def measured_on(self) -> str:
        """That, in words."""

    def describe_request(self, config: PruneConfig) -> dict[str, Any]:
        """By what the same request is known again."""

    def prune(self, folder: Path, config: PruneConfig) -> dict[str, Any]:
        """Writes the smaller model into a folder -> the content of its `pruning.json`."""

    def recover(self, output: str, pruning: dict[str, Any]) -> dict[str, float] | None:
        """Trains on in `output` -> the metrics then, None where a signal came first, which is said."""


@dataclass(frozen=True)
class Pretrained:
    """A pre-trained model, on a dataset."""

    dataset: str
    model_dir: str
    checkpoint: "WhichCheckpoint"
    split: Split
    train_config: TrainConfig  # of the recovery
    cased: bool | None = None  # as `open_trained` has it

    way_on = "train with --init-checkpoint"

    @property
    def recovery_steps(self) -> int | None:
        """The steps to train on."""
        return self.train_config.num_train_steps

    @property
    def measured_on(self) -> str:
        return self.split

    @property
    def _source(self) -> "PruneSource":
        from maskmill.model.pruning.pretrained import PruneSource

        return PruneSource(self.dataset, self.model_dir, self.checkpoint, self.split, self.cased)

    def describe_request(self, config: PruneConfig) -> dict[str, Any]:
        from maskmill.model.pruning.pretrained import describe_request

        return describe_request(self._source, config, self.recovery_steps)

    def prune(self, folder: Path, config: PruneConfig) -> dict[str, Any]:
        from maskmill.model.pruning.pretrained import prune

        return prune(self._source, folder, config, self.train_config)

    def recover(self, output: str, pruning: dict[str, Any]) -> dict[str, float] | None:
        from maskmill.model.pretraining.evaluate import measure

        assert self.recovery_steps
        request = TrainRequest(
            [PhaseRequest(self.dataset, self.recovery_steps)],
            output,
            os.path.join(output, BERT_CONFIG),
            OF_FILE,
            vars(self.train_config),
            pruning["model_dir"],
        )
        train_model(request)
        with mirror(output, sends=False) as folder:
            metrics = measure(Dataset.open(self.dataset, sealed=True), folder.local, self.split).metrics
        return metrics if metrics["global_step"] == self.recovery_steps else None


@dataclass(frozen=True)
class Finetuned:
    """A fine-tuned model, on labelled rows."""

    found: "FinetunedBert"
    train: LabelledTexts
    held_out: LabelledTexts
    checkpoint: "WhichCheckpoint"
    config: FinetuneConfig  # of the recovery

    split: Split = "eval"
    measured_on = "held-out rows"
    way_on = "finetune with --model-dir"

    @property
    def recovery_steps(self) -> int | None:
        """The steps to train on."""
        return self.config.num_train_steps

    def describe_request(self, config: PruneConfig) -> dict[str, Any]:
        from maskmill.model.pruning.classifier import describe_request

        return describe_request(self.found, self.train, self.held_out, config, self.recovery_steps, self.checkpoint)

    def prune(self, folder: Path, config: PruneConfig) -> dict[str, Any]:
        from maskmill.model.pruning.classifier import prune_classifier

        return prune_classifier(self.found, self.train, self.held_out, folder, config, self.config, self.checkpoint)

    def recover(self, output: str, pruning: dict[str, Any]) -> dict[str, float] | None:
        from maskmill.model.tasks.finetuning import go_on

        take = partial(go_on, train=self.train, held_out=self.held_out, config=self.config)
        outcome = run_finetuning(output, take)
        if outcome.best_step == 0:
            warn("No epoch of the recovery is better than what was left, so that is kept as the best.")
        return outcome.metrics if outcome.is_done else None


def open_pretrained_subject(request: PruneRequest) -> Pretrained:
    """A model that was pre-trained, which is opened later."""
    return Pretrained(
        request.data,
        request.model_dir,
        request.checkpoint or "newest",
        request.split or "eval",
        request.recovery(),
        request.cased,
    )


def open_finetuned_subject(request: PruneRequest) -> Finetuned:
    """Opens a classifier, and reads the rows: columns and held-out rows are those of its training unless given.

    Raises InputError when the rows that were held out are in a file of their own that is not given.
    """
    from maskmill.model.formats.checkpoint_formats import on_this_machine
    from maskmill.model.tasks.finetuned import open_finetuned
    from maskmill.model.tasks.finetuning import require_labels

    table, model_dir, learning, of_table = request.data, request.model_dir, request.learning, request.of_table
    checkpoint, eval_file = request.checkpoint or "best", of_table.get("eval_file")
    with on_this_machine(model_dir) as path:
        found = replace(open_finetuned(path, checkpoint, learning["precision"]), path=model_dir)
    fields = replace(
        choose_fields(of_table.get("text_field"), of_table.get("text_pair_field"), found.fields),
        label_field=of_table.get("label_field") or found.fields["label_field"],
    )
    of_training = found.held_out
    if not eval_file and of_training.eval_file:  # never opened because the folder of a model names it
        raise InputError(
            f"was trained with the rows of {of_training.eval_file} held out",
            way_out="give them with --eval-file",
            path=model_dir,
        )
    fraction = None if eval_file else of_training.eval_fraction or 0.0
    tables = Tables(table, fields, eval_fraction=fraction, **pick(Tables, of_table))
    train, held_out, rejected = tables.read(of_training.random_seed or 0, bool(of_training.stratified))
    warn_of_rejected(rejected)
    require_labels(found, train, held_out)
    # Unless the split was stratified, the hash of a row alone decides whether it was held out.
    if not eval_file and of_training.stratified and held_out.sha256 != found.eval_sha256:
        raise InputError(
            f"{table} does not hold the rows that were held out when {model_dir} was trained",
            way_out="give rows that it did not learn from with --eval-file",
        )
    config = replace(found.config, num_train_steps=request.recovery_steps, **learning)
    return Finetuned(found, train, held_out, checkpoint, config)

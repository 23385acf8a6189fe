"""The folder of a fine-tuned model: what it was made of, and the model, ready to be used."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from maskmill.model.bert.config import BERT_CONFIG, BertConfig, ComputeDtype
from maskmill.model.formats.classifier_dir import WAY_OUT, read_classifier
from maskmill.model.formats.model_dir import (
    WhichCheckpoint,
    open_folder,
    read_vocab_of,
    require_same_model,
    rules_of,
)
from maskmill.model.formats.names import FINETUNING
from maskmill.model.tasks.classifier import BertClassifier
from maskmill.model.tasks.finetune_config import FinetuneConfig, as_today
from maskmill.model.training.checkpoint import BEST, digest_of, require_weights, restore_best, restore_newest
from maskmill.pipeline.dataset.schema import VOCAB
from maskmill.pipeline.storage.storage import write_text
from maskmill.pipeline.tables.labelled import HeldOut
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import make
from maskmill.tokenizer.rules import TextRules
from maskmill.tokenizer.vocab import Vocab


@dataclass(frozen=True)
class FinetunedBert:
    """A classifier in memory, ready to be used."""

    path: str  # where it was read, as given
    model: BertClassifier
    labels: list[str]  # in the order of the scores
    fields: dict[str, str | None]  # that it was trained on: text_field, text_pair_field, label_field
    vocab: Vocab
    rules: TextRules  # of the tokenizer
    config: FinetuneConfig  # that it was trained with
    held_out: HeldOut
    eval_sha256: str  # of the rows that were held out
    step: int  # that its weights are of

    @property
    def max_seq_length(self) -> int:
        """The most tokens of a text."""
        return self.config.max_seq_length

    @cached_property
    def sha256(self) -> str:
        """The checksum of all that its predictions depend on."""
        weights = digest_of({name: np.asarray(weight) for name, weight in self.model.named_weights.items()})
        rest = [self.labels, self.vocab.sha256, repr(self.rules), self.max_seq_length, self.config.precision]
        return hashlib.sha256(json.dumps([weights, *rest]).encode()).hexdigest()


def open_finetuned(
    model_dir: str | os.PathLike[str],
    checkpoint: WhichCheckpoint = "best",
    compute_dtype: ComputeDtype | None = None,
) -> FinetunedBert:
    """The classifier in a folder that 'maskmill finetune' wrote: of its best epoch, or its newest weights.

    Unless a `compute_dtype` is given, it computes as it was trained. Raises InputError when the folder is none, or
    damaged.
    """
    folder = Path(model_dir)
    finetuning = read_finetuning(folder)
    config, held_out = FinetuneConfig(**finetuning["config"]), HeldOut(**finetuning["held_out"])
    bert_config = BertConfig.from_dict(finetuning["bert_config"])
    require_weights(folder, bert_config.num_weights)
    model = BertClassifier(
        bert_config,
        len(finetuning["labels"]),
        compute_dtype=compute_dtype or config.precision,
        classifier_dropout_prob=config.classifier_dropout_prob,
    )
    step, vocab = restore_finetuned(folder, model.named_weights, checkpoint), read_finetuned_vocab(folder)
    require_same_model(folder, finetuning, read_finetuning)
    return FinetunedBert(
        os.fspath(model_dir),
        model,
        finetuning["labels"],
        finetuning["fields"],
        vocab,
        rules_of(finetuning),
        config,
        held_out,
        finetuning["eval_sha256"],
        step,
    )


@contextmanager
def open_finetuned_dir(folder: Path, finetuning: dict[str, Any], vocab: Vocab) -> Iterator[None]:
    """As `open_folder`, for a fine-tuning into `folder`."""
    with open_folder(folder, FINETUNING, finetuning, read_finetuning):
        write_text(folder / BERT_CONFIG, BertConfig.from_dict(finetuning["bert_config"]).to_json())
        write_text(folder / VOCAB, vocab.to_text())
        yield


def restore_finetuned(folder: Path, weights: dict[str, Any], checkpoint: WhichCheckpoint) -> int:
    """Assigns a checkpoint of a fine-tuned model to weights by name -> its step. Raises InputError without one."""
    if checkpoint == "best":
        if not (folder / BEST).exists():
            raise InputError(
                f"has no {BEST}", way_out="run 'maskmill finetune' until its first epoch is done", path=folder
            )
        return restore_best(folder, weights)
    step = restore_newest(folder, weights)
    if step is None:
        raise InputError(
            "has no checkpoint yet", way_out="run 'maskmill finetune' until it has written one", path=folder
        )
    return step


def read_finetuning(folder: Path) -> dict[str, Any]:
    """The content of `finetuning.json`. Raises InputError when the folder holds none, or it is damaged."""
    finetuning = read_classifier(folder)
    finetuning["config"] = as_today(finetuning["config"])
    make(FinetuneConfig, finetuning["config"], folder / FINETUNING, WAY_OUT)
    return finetuning


def read_finetuned_vocab(folder: Path) -> Vocab:
    """The vocabulary of a fine-tuned model. Raises InputError when it is not there, or is another one."""
    expected = read_finetuning(folder)["vocab_sha256"]
    return read_vocab_of(folder, expected, FINETUNING, "of the model there that the fine-tuning began with")

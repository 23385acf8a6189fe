"""What `training.json` says of a pre-training."""

import os
from dataclasses import asdict
from typing import Any

import keras

from maskmill.model.bert.config import BertConfig
from maskmill.model.formats.model_dir import parse_training
from maskmill.model.formats.names import TRAINING
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.phases import Plan
from maskmill.model.pretraining.recipes import Recipe
from maskmill.model.training.checkpoint import step_of
from maskmill.pipeline.storage.storage import AnyPath, exists, list_names, read_at_most
from maskmill.tokenizer.json_file import MAX_BYTES


def describe_training(
    plan: Plan, bert_config: BertConfig, train_config: TrainConfig, init_checkpoint: str | None
) -> dict[str, Any]:
    """All that decides what a training comes to: the content of `training.json`."""
    info = plan.phases[0].info
    return {
        "backend": keras.backend.backend(),
        # With None where no layer was pruned, so that a pruned model is another one.
        "bert_config": {**dict.fromkeys(vars(bert_config)), **bert_config.to_dict()},
        "train_config": asdict(train_config),
        "phases": [
            {
                "dataset_sha256": phase.dataset.identity,
                "num_train_steps": phase.last_step - phase.first_step,
                "max_seq_length": phase.info.max_seq_length,
                "max_predictions_per_seq": phase.info.max_predictions_per_seq,
                "first_batch": phase.first_batch,
            }
            for phase in plan.phases
        ],
        "vocab_sha256": info.vocab_sha256,
        "cased": info.config["cased"],
        "init_checkpoint": init_checkpoint,
    }


def recorded_recipe(model_dir: AnyPath) -> Recipe | None:
    """The recipe of the training that a folder holds, where that can go on: it goes on as it began."""
    path = os.path.join(model_dir, TRAINING)
    if not any(step_of(name) is not None for name in list_names(model_dir)) or not exists(path):
        return None
    training = parse_training(read_at_most(path, MAX_BYTES), path)
    bert_config = BertConfig.from_dict(training["bert_config"])
    values = {
        **training["train_config"],
        "dropout": bert_config.hidden_dropout_prob,
        "initializer_range": bert_config.initializer_range,
    }
    return Recipe(**{name: values[name] for name in Recipe.__dataclass_fields__ if name in values})

"""The options of a training that depend on the size of the model. Standard library only, for the command line."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from maskmill.model.bert.config import PRESETS, BertConfig
from maskmill.model.pretraining.config import FirstWeights, TrainConfig

RecipeName = Literal["preset", "google"]


@dataclass(frozen=True)
class Recipe:
    """What a training uses where an option is not given. The defaults are Google's."""

    learning_rate: float = TrainConfig.learning_rate
    train_batch_size: int = TrainConfig.train_batch_size
    first_weights: FirstWeights = "bert"
    adam_beta2: float = TrainConfig.adam_beta2
    clip_norm: float = TrainConfig.clip_norm
    dropout: float | None = 0.1  # of hidden states and of attention; None: as the bert_config says
    initializer_range: float | None = 0.02

    def describe(self, given: Mapping[str, Any]) -> str:
        """The settings that were not given, in one line.

        >>> Recipe().describe({"dropout": 0, "adam_beta2": 0.98, "clip_norm": 1, "initializer_range": 0.02})
        'learning_rate 0.0001, train_batch_size 32, first_weights bert'
        """
        return ", ".join(
            f"{name} {value}" for name, value in asdict(self).items() if name not in given and value is not None
        )


GOOGLE = Recipe()
OF_FILE = replace(GOOGLE, dropout=None, initializer_range=None)
# What learns on a small corpus in minutes to hours; benchmarks/README.md has the measurements.
RECIPES = {
    "tiny": Recipe(learning_rate=1e-3, first_weights="neighbours", dropout=0.0, initializer_range=0.08),
    "mini": Recipe(learning_rate=5e-4, first_weights="neighbours", dropout=0.0, initializer_range=0.04),
    "small": Recipe(learning_rate=1e-4, first_weights="neighbours", dropout=0.0, initializer_range=0.03),
    "medium": Recipe(learning_rate=1e-4, first_weights="neighbours", dropout=0.0, initializer_range=0.03),
}


def choose_recipe(bert_config: str | None, recipe: RecipeName, has_init_checkpoint: bool) -> Recipe:
    """What a training of a preset, or of a file, uses where an option is not given.

    Presets below base have a recipe of their own, unless Google's is asked for or the weights come from a checkpoint.
    """
    if bert_config not in PRESETS and (bert_config or has_init_checkpoint):
        return OF_FILE
    if recipe == "google" or has_init_checkpoint:
        return GOOGLE
    return RECIPES.get(bert_config or "base", GOOGLE)


def settle(given: Mapping[str, Any], recipe: Recipe) -> tuple[TrainConfig, dict[str, Any]]:
    """Options that are given, and a recipe for the others -> how to train, and what changes in the `BertConfig`.

    Raises InputError where a value makes no sense.
    """
    values = {**asdict(recipe), **given}
    dropout, initializer_range = values.pop("dropout"), values.pop("initializer_range")
    changes: dict[str, Any] = {
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "initializer_range": initializer_range,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    replace(BertConfig(vocab_size=1), **changes)  # checks them
    return TrainConfig(**values), changes

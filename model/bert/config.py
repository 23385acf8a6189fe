"""What shapes the model. Standard library only, so that the command line can read the defaults."""

import json
import os
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from maskmill.pipeline.storage.storage import is_remote, list_names, read_at_most
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import MAX_BYTES, brief, parse_object

ComputeDtype = Literal["float32", "bfloat16"]

# Layers and width of the models Google published; heads = width / 64, intermediate = 4 * width.
PRESETS: dict[str, tuple[int, int]] = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}

# The most that a configuration may ask for, far beyond any BERT: so that a damaged file asks for no terabytes.
LIMITS = {"num_hidden_layers": 256, "hidden_size": 1 << 16, "vocab_size": 10_000_000}
MOST_WEIGHTS = 20_000_000_000

BERT_CONFIG, HUGGING_FACE_CONFIG = "bert_config.json", "config.json"

# What a configuration may also say, and the one value that makes Google's BERT. Hugging Face's form has these.
_ONLY = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "layer_norm_eps": 1e-12,
    "pruned_heads": {},
}
_TANH_GELU = ("gelu_new", "gelu_pytorch_tanh")  # Hugging Face's names of what Google's code calls gelu


@dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT: names and defaults of Google's `bert_config.json` (the defaults are BERT base).

    The last two are not Google's: where `maskmill prune` left the layers of a model unlike each other, they say what
    each has. A head then still has hidden_size / num_attention_heads numbers.

    Raises InputError where a value makes no sense.
    """

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"  # the tanh form, which is what Google's code computes under this name
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    num_attention_heads_per_layer: tuple[int, ...] | None = None
    intermediate_size_per_layer: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in (
            "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
            "intermediate_size", "max_position_embeddings", "type_vocab_size",
        ):  # fmt: skip
            most = LIMITS.get(name, 1 << 20)
            holds = _is_int(getattr(self, name)) and 1 <= getattr(self, name) <= most
            _check(self, name, holds, f"a whole number from 1 to {most:,}")
        _check(
            self,
            "num_attention_heads",
            self.hidden_size % self.num_attention_heads == 0,
            f"a divisor of hidden_size, which is {self.hidden_size}",
        )
        _check(self, "hidden_act", self.hidden_act == "gelu", "'gelu', the activation of every published BERT")
        _check(self, "type_vocab_size", self.type_vocab_size >= 2, "2 or more, one for each segment")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            _check(self, name, _is_within(getattr(self, name), 0, 0.999), "a share from 0 to less than 1 (BERT: 0.1)")
        _check(self, "initializer_range", _is_within(self.initializer_range, 1e-9, 10), "more than 0 (BERT: 0.02)")
        for name in ("num_attention_heads", "intermediate_size"):
            most, counts = getattr(self, name), getattr(self, f"{name}_per_layer")
            _check(
                self,
                f"{name}_per_layer",
                counts is None or _are_counts(counts, self.num_hidden_layers, most),
                f"a whole number from 1 to {name}, which is {most}, for each of {self.num_hidden_layers} layers",
            )
        if self.num_weights > MOST_WEIGHTS:
            raise InputError(
                f"a model of this shape has {self.num_weights:,} weights",
                expected=f"{MOST_WEIGHTS:,} at the most, so give fewer layers or a smaller hidden_size",
            )

    @classmethod
    def preset(cls, name: str, vocab_size: int) -> "BertConfig":
        """One of Google's published sizes, with the vocabulary size of the data.

        >>> BertConfig.preset("tiny", vocab_size=30522).intermediate_size
        512
        """
        layers, width = PRESETS[name]
        return cls(
            vocab_size=vocab_size,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            intermediate_size=4 * width,
        )

    @classmethod
    def load(cls, name_or_path: str | os.PathLike[str], vocab_size: int) -> "BertConfig":
        """The preset of that name, or the configuration in a file: Google's `bert_config.json`, or Hugging Face's
        `config.json`; or in a folder that holds one of them.

        `vocab_size` holds where the file does not say one. Raises InputError for an unknown name, a bad file, or a
        model that is not Google's BERT.
        """
        if name_or_path in PRESETS:
            return cls.preset(str(name_or_path), vocab_size)
        values = read_config(name_or_path)
        try:
            return cls.from_dict({"vocab_size": vocab_size, **values})
        except InputError as error:
            raise InputError(f"bert_config {name_or_path}: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BertConfig":
        """From the values of a configuration file; keys that shape nothing (these files carry some) are left aside."""
        for name, expected in _ONLY.items():
            if values.get(name, expected) != expected:
                raise InputError(
                    f"{name} is {brief(values[name])}", expected=f"{expected!r}, give the configuration of a BERT"
                )
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        if known.get("hidden_act") in _TANH_GELU:
            known["hidden_act"] = "gelu"
        if "vocab_size" not in known:
            raise InputError("it has no vocab_size", way_out="give the configuration of a BERT")
        for name in known:
            if isinstance(known[name], list):
                known[name] = tuple(known[name])
        return cls(**known)

    def with_layers(self, heads: tuple[int, ...], units: tuple[int, ...]) -> "BertConfig":
        """The shape with so many heads and feed-forward units in its layers; in Google's form as far as that can be.

        >>> BertConfig(100, num_hidden_layers=2).with_layers((12, 12), (40, 40)).to_dict()["intermediate_size"]
        40
        """
        alike = set(heads) == {self.num_attention_heads}
        config = replace(self, num_attention_heads_per_layer=None if alike else heads)
        if len(set(units)) == 1:
            return replace(config, intermediate_size=units[0], intermediate_size_per_layer=None)
        return replace(config, intermediate_size_per_layer=units)

    @property
    def head_size(self) -> int:
        """The width of a head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def heads(self) -> tuple[int, ...]:
        """The attention heads of each layer."""
        return self.num_attention_heads_per_layer or (self.num_attention_heads,) * self.num_hidden_layers

    @property
    def units(self) -> tuple[int, ...]:
        """The feed-forward units of each layer."""
        return self.intermediate_size_per_layer or (self.intermediate_size,) * self.num_hidden_layers

    @property
    def num_weights(self) -> int:
        """How many numbers the model has, both heads included.

        >>> BertConfig(vocab_size=30522).num_weights
        110106428
        """
        hidden, width, units = self.hidden_size, self.head_size * sum(self.heads), sum(self.units)
        norm = 2 * hidden
        embeddings = (self.vocab_size + self.max_position_embeddings + self.type_vocab_size) * hidden + norm
        layers = 4 * hidden * width + 3 * width + 2 * hidden * units + units
        layers += self.num_hidden_layers * 2 * (hidden + norm)
        pooler = hidden * hidden + hidden
        heads = hidden * hidden + hidden + norm + self.vocab_size + 2 * hidden + 2
        return embeddings + layers + pooler + heads

    def to_dict(self) -> dict[str, Any]:
        """The values of a `bert_config.json`: Google's, and what says how layers differ where they do."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if value is not None
        }

    def to_json(self) -> str:
        """The text of a `bert_config.json`; unless layers differ, Google's code reads it too."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values in a configuration file, or in the one that a folder holds. Raises InputError when there is none."""
    in_folder = list_names(path)
    for name in (BERT_CONFIG, HUGGING_FACE_CONFIG):
        if name in in_folder:
            return read_config(os.path.join(path, name))
    if not is_remote(path) and not os.path.isfile(path):
        raise InputError(
            f"bert_config {path} is neither one of {', '.join(PRESETS)} nor a file",
            way_out=f"name one of them or give a {BERT_CONFIG}",
        )
    content = read_at_most(path, MAX_BYTES)
    return parse_object(content, f"bert_config {path}", f"give a file like Google's {BERT_CONFIG}")


def _check(config: BertConfig, name: str, holds: bool, expected: str) -> None:
    if not holds:
        raise InputError(f"{name} is {brief(getattr(config, name))}", expected=f"{expected}")


def _is_within(value: object, lowest: float, highest: float) -> bool:
    return isinstance(value, int | float) and lowest <= value <= highest


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_counts(values: object, layers: int, most: int) -> bool:
    return isinstance(values, tuple) and len(values) == layers and all(_is_int(n) and 1 <= n <= most for n in values)

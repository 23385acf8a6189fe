"""What shapes an embedding. Standard library only, so that the command line can read the defaults."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from maskmill.tokenizer.errors import InputError

Pooling = Literal["mean", "cls", "max", "tokens"]
VectorDtype = Literal["float32", "float16"]

LAST, LAST_4 = "last", "last4"


@dataclass(frozen=True)
class EmbedConfig:
    """How a text becomes a vector. Raises InputError where a value makes no sense."""

    layers: str = LAST  # or last4, or numbers such as "0,6,12", 0 being the embeddings; several are concatenated
    pooling: Pooling = "mean"  # over all tokens, [CLS] and [SEP] too; cls: that of [CLS]; tokens: a vector for each
    max_seq_length: int | None = None  # tokens of a text; None: as many as the model takes
    stride: int | None = None  # tokens from one window of a long text to the next; None: it is cut
    dtype: VectorDtype = "float32"
    batch_tokens: int | None = None  # padding included; None: 2,048 on a CPU, 32,768 elsewhere

    def __post_init__(self) -> None:
        if self.layers not in (LAST, LAST_4) and not re.fullmatch("[0-9]{1,4}(,[0-9]{1,4}){0,999}", self.layers):
            raise InputError(f"layers is {self.layers}", expected="last, last4, or numbers such as 0,6,12")
        for name, kinds in (("pooling", Pooling), ("dtype", VectorDtype)):
            if getattr(self, name) not in get_args(kinds):
                raise InputError(f"{name} is {getattr(self, name)}", expected=f"{', '.join(get_args(kinds))}")
        for name, least in (("max_seq_length", 3), ("stride", 1), ("batch_tokens", 1)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}", expected=f"{least} or more")
        if self.stride is not None and self.pooling == "tokens":
            raise InputError(
                "stride is given with pooling tokens", expected="mean, cls or max, whose windows can be averaged"
            )

    def layer_numbers(self, num_hidden_layers: int) -> tuple[int, ...]:
        """The layers of a model that are taken. Raises InputError when it has not that many.

        >>> EmbedConfig("last4").layer_numbers(12)
        (9, 10, 11, 12)
        """
        if self.layers == LAST:
            return (num_hidden_layers,)
        if self.layers == LAST_4:
            numbers = tuple(range(num_hidden_layers - 3, num_hidden_layers + 1))
        else:
            numbers = tuple(map(int, self.layers.split(",")))
        if min(numbers) < 0 or max(numbers) > num_hidden_layers:
            raise InputError(
                f"layers is {self.layers}, the model has {num_hidden_layers}",
                expected=f"numbers from 0 (the embeddings) to {num_hidden_layers}",
            )
        return numbers

    def window_length(self, max_position_embeddings: int, model_max_length: int | None = None) -> int:
        """The most tokens of a text that the model sees at once. Raises InputError when it cannot take so many.

        Unless a `max_seq_length` is given, as many as the model has positions, or its tokenizer says with
        `model_max_length`.
        """
        longest = min(max_position_embeddings, model_max_length or max_position_embeddings)
        length = longest if self.max_seq_length is None else self.max_seq_length
        if length > max_position_embeddings:
            raise InputError(
                f"max_seq_length is {length}",
                expected=f"{max_position_embeddings} or fewer, the positions of the model",
            )
        if self.stride is not None and self.stride > length - 2:
            raise InputError(
                f"stride is {self.stride}",
                expected=f"{length - 2} or fewer, the tokens of a window, or some are left out",
            )
        return length

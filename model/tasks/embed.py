"""Texts -> vectors: hidden states of a trained BERT, pooled."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter

import numpy as np
from keras import ops
from numpy.typing import NDArray

from maskmill.model.bert.randomness import Tensor
from maskmill.model.tasks.batches import BatchFunction, TextFeatures, bin_lengths, cut_batches
from maskmill.model.tasks.embed_config import EmbedConfig, Pooling
from maskmill.model.tasks.texts import Ids, TextEncoder, cut_windows
from maskmill.model.tasks.trained import TrainedBert
from maskmill.model.training.flops import is_on_cpu
from maskmill.model.training.memory import want_of_memory
from maskmill.tokenizer.vocab import UNK

BATCH_TOKENS_ON_CPU, BATCH_TOKENS_ELSEWHERE = 2048, 32768
MOST_WINDOWS = 8192  # whose vectors are in memory at once

Vector = NDArray[np.floating]


@dataclass(frozen=True)
class Embedding:
    """The vector of a text, and how much of the text is in it."""

    vector: Vector  # [width]; with pooling tokens [tokens, width]
    token_ids: Ids  # of the first window, with [CLS] and [SEP]
    num_tokens: int  # of the text, without them
    num_unknown: int  # of these are [UNK]
    num_windows: int
    is_cut: bool  # whether some of its tokens were left out


class Embedder:
    """A trained BERT as a function of texts."""

    def __init__(self, trained: TrainedBert, config: EmbedConfig | None = None):
        """Raises InputError when the model has not the layers or positions that are asked for."""
        self.config = config or EmbedConfig()
        bert = trained.model.config
        numbers = self.config.layer_numbers(bert.num_hidden_layers)
        self.window_length = self.config.window_length(bert.max_position_embeddings, trained.model_max_length)
        self.width = len(numbers) * bert.hidden_size
        self._encoder = TextEncoder(trained.vocab, trained.rules)
        self._unknown = trained.vocab.ids[UNK]
        self._bins = bin_lengths(self.window_length)
        default = BATCH_TOKENS_ON_CPU if is_on_cpu() else BATCH_TOKENS_ELSEWHERE
        self._batch_tokens = default if self.config.batch_tokens is None else self.config.batch_tokens

        def vectors_of(features: TextFeatures) -> Tensor:
            states = trained.model.encoder.hidden_states(**features, num_layers=max(numbers))
            pooled = [pool(states[number], features["input_mask"], self.config.pooling) for number in numbers]
            return ops.concatenate(pooled, axis=-1)

        self._vectors_of = BatchFunction(trained.model, vectors_of)

    def embed(self, texts: Sequence[str]) -> Iterator[Embedding]:
        """The embeddings of texts, in their order. Each is the same whatever the others are, but for rounding.

        All ids are in memory at once; of the vectors, those of `MOST_WINDOWS` windows. Raises InputError when a batch
        does not fit into memory.
        """
        encoded = self._encoder.encode(texts)
        windows = (
            (number, self._encoder.frame(window))
            for number, ids in enumerate(encoded)
            for window in cut_windows(ids, self.window_length - 2, self.config.stride)
        )
        for number, of_text in groupby(self._embed_windows(windows), itemgetter(0)):
            for window, (_, ids, found) in enumerate(of_text):
                if window == 0:
                    token_ids, vector = ids, found
                else:
                    vector = np.maximum(vector, found) if self.config.pooling == "max" else vector + found
            num_windows = window + 1
            if self.config.pooling != "max":
                vector = vector / num_windows
            num_tokens = len(encoded[number])
            yield Embedding(
                vector.astype(self.config.dtype),
                token_ids,
                num_tokens,
                num_unknown=int(np.count_nonzero(encoded[number] == self._unknown)),
                num_windows=num_windows,
                is_cut=num_windows == 1 and num_tokens > self.window_length - 2,
            )

    def _embed_windows(self, windows: Iterable[tuple[int, Ids]]) -> Iterator[tuple[int, Ids, Vector]]:
        """Numbered windows -> the same, with the float32 vector of each."""
        windows = iter(windows)
        while some := list(islice(windows, MOST_WINDOWS)):
            vectors = self._run([ids for _, ids in some])
            yield from ((number, ids, vector) for (number, ids), vector in zip(some, vectors))

    def _run(self, rows: list[Ids]) -> list[Vector]:
        vectors: list[Vector] = [np.empty(0, np.float32)] * len(rows)
        for batch in cut_batches(list(map(len, rows)), self._bins, self._batch_tokens):
            with want_of_memory(f"a batch of {batch.num_rows * batch.length:,} tokens", "a smaller --batch-tokens"):
                found = ops.convert_to_numpy(self._vectors_of(batch.fill(rows)))
            for number, vector in zip(batch.numbers, found):
                vectors[number] = vector[: len(rows[number])] if self.config.pooling == "tokens" else vector
        return vectors


def embed(trained: TrainedBert, texts: Sequence[str], config: EmbedConfig | None = None) -> Vector:
    """Texts -> their vectors, [texts, width]. With pooling tokens, use an `Embedder`: the texts differ in length."""
    embedder = Embedder(trained, config)
    vectors = [embedding.vector for embedding in embedder.embed(texts)]
    return np.stack(vectors) if vectors else np.empty((0, embedder.width), embedder.config.dtype)


def pool(x: Tensor, input_mask: Tensor, pooling: Pooling) -> Tensor:
    """Hidden states [batch, seq, hidden] -> float32 [batch, hidden]; with pooling tokens they stay as they are."""
    x = ops.cast(x, "float32")
    if pooling == "tokens":
        return x
    if pooling == "cls":
        return x[:, 0]
    is_token = ops.cast(input_mask, "bool")[:, :, None]
    if pooling == "max":
        return ops.max(ops.where(is_token, x, -np.inf), axis=1)
    count = ops.sum(ops.cast(is_token, "float32"), axis=1)
    return ops.sum(ops.where(is_token, x, 0.0), axis=1) / ops.maximum(count, 1.0)  # a row that fills up has none

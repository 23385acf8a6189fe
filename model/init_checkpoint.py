"""Begins a training with the weights of another model, whose vocabulary may be another one."""

from dataclasses import asdict

import numpy as np

from model.bert import BertPretrainer
from model.checkpoint_formats import BIAS, HEADS, POSITIONS, WORDS, InitCheckpoint, shape_of
from model.config import BertConfig
from model.distribution import assign
from tokenizer.errors import InputError


def initialize(
    model: BertPretrainer, checkpoint: InitCheckpoint, tokens: list[str] | None, resize_embeddings: bool = False
) -> list[str]:
    """Assigns the weights to a new model, whose vocabulary is `tokens` -> what the user should know, in sentences.

    What the checkpoint has not, keeps its initial values. With `resize_embeddings` vocabularies and
    `max_position_embeddings` may differ: the rows of a token that both vocabularies have are kept, or where one
    vocabulary is unknown the first rows; and the first positions. Raises InputError when the checkpoint does not fit.
    """
    weights = dict(checkpoint.weights)
    _check_shape(checkpoint, model.config)
    notes = list(checkpoint.notes)
    variables = model.named_weights
    if _differs(checkpoint.tokens, len(weights[WORDS]), tokens, model.config.vocab_size):
        if not resize_embeddings:
            raise InputError(_other_vocabulary(checkpoint, tokens, model.config.vocab_size))
        kept = _shared_rows(checkpoint.tokens, len(weights[WORDS]), tokens, model.config.vocab_size)
        for name in {WORDS, BIAS} & weights.keys():
            weights[name] = _with_rows(np.asarray(variables[name]), weights[name], kept)
        how = "by token" if checkpoint.tokens and tokens else "by place, as one of the vocabularies is not known"
        notes.append(
            f"of {model.config.vocab_size:,} tokens {len(kept[0]):,} begin as in {checkpoint.path} ({how}), "
            "the others are newly initialized"
        )
    before, after = len(weights[POSITIONS]), model.config.max_position_embeddings
    if before != after:
        if not resize_embeddings:
            raise InputError(
                f"{checkpoint.path} has max_position_embeddings {before}, bert_config has {after}; "
                f"set it to {before}, or keep the first {min(before, after)} with --resize-embeddings"
            )
        places = np.arange(min(before, after))
        weights[POSITIONS] = _with_rows(np.asarray(variables[POSITIONS]), weights[POSITIONS], (places, places))
        rest = "the others are newly initialized" if after > before else "its others are left out"
        notes.append(f"the first {len(places):,} positions begin as in {checkpoint.path}, {rest}")
    for name, variable in variables.items():
        if name in weights:
            if weights[name].shape != tuple(variable.shape):
                raise InputError(
                    f"{checkpoint.path} has {name} of shape {weights[name].shape}, expected {tuple(variable.shape)}; "
                    "it is damaged or no BERT, give another one"
                )
            assign(variable, weights[name])
    missing = [head for head in HEADS if any(name.startswith(head) for name in variables.keys() - weights.keys())]
    if missing:
        notes.append(f"{checkpoint.path} has no {' and no '.join(missing)}, which are newly initialized")
    return notes


def _check_shape(checkpoint: InitCheckpoint, config: BertConfig) -> None:
    """Raises InputError naming the first value in which two models differ, but for the sizes that can be changed."""
    for name in (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "type_vocab_size",
        "num_attention_heads_per_layer", "intermediate_size_per_layer",
    ):  # fmt: skip
        known = shape_of(checkpoint.weights) | (asdict(checkpoint.config) if checkpoint.config else {})
        if known.get(name, getattr(config, name)) != getattr(config, name):
            raise InputError(
                f"{checkpoint.path} has {name} {known[name]}, bert_config has {getattr(config, name)}; set it to "
                f"{known[name]}, or leave out --bert-config where the checkpoint has its configuration beside it"
            )


def _differs(before: list[str] | None, rows: int, after: list[str] | None, vocab_size: int) -> bool:
    return rows != vocab_size or (before is not None and after is not None and before != after)


def _other_vocabulary(checkpoint: InitCheckpoint, tokens: list[str] | None, vocab_size: int) -> str:
    """The sentence about two vocabularies that differ."""
    rows = len(checkpoint.weights[WORDS])
    way_out = (
        f"generate the dataset with the vocab.txt of that checkpoint{'' if checkpoint.tokens else ' (not beside it)'}, "
        "or keep what both have with --resize-embeddings"
    )
    if rows != vocab_size:
        return f"{checkpoint.path} has vocab_size {rows}, the dataset has {vocab_size}; {way_out}"
    id, before, after = next(
        (id, before, after)
        for id, (before, after) in enumerate(zip(checkpoint.tokens or [], tokens or []))
        if before != after
    )
    return (
        f"{checkpoint.path} has another vocabulary than the dataset, though as large a one: token {id} is {before!r} "
        f"there and {after!r} here; {way_out}"
    )


def _shared_rows(
    before: list[str] | None, rows: int, after: list[str] | None, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a new table that come from an old one, and which of the old they are: int64 [n] each."""
    if before is None or after is None:
        places = np.arange(min(rows, vocab_size))
        return places, places
    old_ids = {token: id for id, token in enumerate(before[:rows])}
    pairs = [(id, old_ids[token]) for id, token in enumerate(after) if token in old_ids]
    new, old = np.array(pairs, np.int64).reshape(-1, 2).T
    return new, old


def _with_rows(fresh: np.ndarray, old: np.ndarray, kept: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A fresh table, [rows] or [rows, hidden], with the rows that are kept of an old one."""
    table = fresh.copy()
    table[kept[0]] = old[kept[1]]
    return table

"""Begins a training with the weights of another model, whose vocabulary may be another one."""

from dataclasses import asdict, replace
from itertools import zip_longest

import numpy as np

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.layers import assign
from maskmill.model.formats.checkpoint_formats import (
    BIAS,
    HEADS,
    MOST_NAMES,
    POSITIONS,
    WORDS,
    InitCheckpoint,
    shape_of,
)
from maskmill.tokenizer.casing import cased_by_name
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.rules import TextRules
from maskmill.tokenizer.settings import TokenizerSettings
from maskmill.tokenizer.vocab import look_cased


def initialize(
    model: BertPretrainer,
    checkpoint: InitCheckpoint,
    tokens: list[str] | None,
    resize_embeddings: bool = False,
    cased: bool | None = None,
) -> list[str]:
    """Assigns the weights to a new model, whose vocabulary is `tokens` -> what the user should know, in sentences.

    What the checkpoint has not, keeps its initial values. With `resize_embeddings` vocabularies, case and
    `max_position_embeddings` may differ: the rows of a token that both vocabularies have are kept, or where one
    vocabulary is unknown the first rows; and the first positions. `cased` says what the model will be trained on.
    Embeddings behind those of the last token are left out. Raises InputError when the checkpoint does not fit.
    """
    weights = dict(checkpoint.weights)
    _check_shape(checkpoint, model.config)
    notes = list(checkpoint.notes)
    variables = model.named_weights
    if cased is not None:
        notes += _compare_tokenizers(checkpoint, cased, resize_embeddings)
    rows, known = len(weights[WORDS]), _known_tokens(checkpoint)
    if known and tokens and len(checkpoint.tokens or []) <= len(tokens) <= rows and tokens == known[: len(tokens)]:
        for name in {WORDS, BIAS} & weights.keys():
            weights[name] = weights[name][: len(tokens)]
        if len(tokens) < rows:
            notes.append(describe_left_out(checkpoint.path, rows - len(tokens), known[len(tokens) :]))
        known = tokens
    checkpoint = replace(checkpoint, weights=weights, tokens=known)
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
                f"has max_position_embeddings {before}, bert_config has {after}",
                way_out=f"set it to {before}, or keep the first {min(before, after)} with --resize-embeddings",
                path=checkpoint.path,
            )
        places = np.arange(min(before, after))
        weights[POSITIONS] = _with_rows(np.asarray(variables[POSITIONS]), weights[POSITIONS], (places, places))
        rest = "the others are newly initialized" if after > before else "its others are left out"
        notes.append(f"the first {len(places):,} positions begin as in {checkpoint.path}, {rest}")
    for name, variable in variables.items():
        if name in weights:
            if weights[name].shape != tuple(variable.shape):
                raise InputError(
                    f"has {name} of shape {weights[name].shape}, expected {tuple(variable.shape)}",
                    way_out="it is damaged or no BERT, give another one",
                    path=checkpoint.path,
                )
            assign(variable, weights[name])
    missing = [head for head in HEADS if any(name.startswith(head) for name in variables.keys() - weights.keys())]
    if missing:
        notes.append(f"{checkpoint.path} has no {' and no '.join(missing)}, which are newly initialized")
    return notes


def _compare_tokenizers(checkpoint: InitCheckpoint, cased: bool, resize_embeddings: bool) -> list[str]:
    """What to say where a model was trained on text in another form than the dataset has, which is cased or not.

    Raises InputError where a file of the model, or the name of its folder, says that one is cased and one is not.
    """
    if checkpoint.refusal:
        return [f"whether the dataset has the tokens that the model was trained on is not known: {checkpoint.refusal}"]
    settings = checkpoint.settings or TokenizerSettings(TextRules(), None)
    is_cased = cased_by_name(checkpoint.path) if settings.cased is None else settings.cased
    if is_cased is None and checkpoint.tokens is None:
        return []
    if is_cased is None:
        if look_cased(checkpoint.tokens or []) == cased:
            return []
        return [
            f"by its vocabulary {checkpoint.path} is {_case(not cased)} model, and the dataset is {_case(cased)} one: "
            f"if that is so, generate the dataset {'without' if cased else 'with'} --cased"
        ]
    difference = replace(settings.rules, cased=is_cased).difference_from(cased)
    if difference is None:
        return []
    if is_cased != cased and not resize_embeddings:
        raise InputError(
            f"does not fit the dataset: {difference}",
            way_out=(
                f"generate the dataset {('with' if is_cased else 'without')} --cased, or give {_case(cased)} model"
            ),
            path=checkpoint.path,
        )
    return [f"the dataset has other tokens than {checkpoint.path} was trained on: {difference}"]


def _case(cased: bool) -> str:
    return "a cased" if cased else "an uncased"


def _known_tokens(checkpoint: InitCheckpoint) -> list[str] | None:
    """The tokens of a checkpoint in the order of its embeddings: those of its vocabulary, then the added ones."""
    if checkpoint.tokens is None or checkpoint.settings is None:
        return checkpoint.tokens
    added = [token.content for token in checkpoint.settings.added]
    return [*checkpoint.tokens, *(token for token in added if token not in checkpoint.tokens)]


def describe_left_out(path: str, rows: int, added: list[str]) -> str:
    """A sentence about embeddings that are left out, those of added tokens among them.

    >>> describe_left_out("bert", 3, ["remdesivir"])
    "bert has 3 embeddings behind those of the dataset's tokens, which are left out: of the added token 'remdesivir'"
    """
    which = ""
    if added:
        shown = ", ".join(map(repr, added[:MOST_NAMES])) + (", ..." if len(added) > MOST_NAMES else "")
        which = f": of the added token{'s' if len(added) > 1 else ''} {shown}"
    return f"{path} has {rows:,} embeddings behind those of the dataset's tokens, which are left out{which}"


def _check_shape(checkpoint: InitCheckpoint, config: BertConfig) -> None:
    """Raises InputError naming the first value in which two models differ, but for the sizes that can be changed."""
    for name in (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "type_vocab_size",
        "num_attention_heads_per_layer", "intermediate_size_per_layer",
    ):  # fmt: skip
        known = shape_of(checkpoint.weights) | (asdict(checkpoint.config) if checkpoint.config else {})
        if known.get(name, getattr(config, name)) != getattr(config, name):
            raise InputError(
                f"has {name} {known[name]}, bert_config has {getattr(config, name)}",
                way_out=(
                    f"set it to {known[name]}, or leave out --bert-config where the checkpoint has its "
                    "configuration beside it"
                ),
                path=checkpoint.path,
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
    pairs = enumerate(zip_longest(checkpoint.tokens or [], tokens or []))
    id, (before, after) = next(pair for pair in pairs if len(set(pair[1])) > 1)
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

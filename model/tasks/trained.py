"""A trained BERT to be used, whoever trained it: its weights, its vocabulary, and how its text is tokenized."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from maskmill.model.bert.config import BertConfig, ComputeDtype
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.layers import assign
from maskmill.model.formats.checkpoint_formats import HEADS, InitCheckpoint, on_this_machine, read_init_checkpoint
from maskmill.model.formats.model_dir import (
    WhichCheckpoint,
    load_model,
    read_training,
    read_vocab,
    require_same_model,
    rules_of,
)
from maskmill.model.formats.names import FINETUNING, TRAINING
from maskmill.model.tasks.finetuned import read_finetuned_vocab, read_finetuning, restore_finetuned
from maskmill.model.training.checkpoint import require_weights
from maskmill.tokenizer.casing import guess_cased
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.rules import UNCASED, TextRules
from maskmill.tokenizer.settings import TokenizerSettings
from maskmill.tokenizer.vocab import Vocab

MOST_SPARE_ROWS = 1024  # of a table of embeddings, padded to a round number


@dataclass(frozen=True)
class TrainedBert:
    """A model in memory, ready to be used."""

    path: str  # where it was read, as given
    model: BertPretrainer
    vocab: Vocab
    rules: TextRules = UNCASED  # of its tokenizer
    step: int | None = None  # that it was trained to; None where others trained it
    missing_heads: tuple[str, ...] = ()  # of `HEADS`; they have new weights
    notes: tuple[str, ...] = ()  # what the user should know
    model_max_length: int | None = None  # the most tokens that its tokenizer would give it

    @property
    def token_names(self) -> list[str]:
        """The tokens by id: those of the vocabulary, and those that were added to it."""
        added = {token.id: token.content for token in self.rules.added_tokens}
        return [*self.vocab.tokens, *(added[id] for id in sorted(added) if id >= len(self.vocab))]

    def require_head(self, head: str) -> None:
        """Raises InputError when the checkpoint came without a head, one of `HEADS`."""
        if head in self.missing_heads:
            raise InputError(
                f"has no weights of {head}, as models of other tasks leave it out",
                way_out="give a model that was pre-trained with it",
                path=self.path,
            )


def open_trained(
    model_dir: str | os.PathLike[str],
    checkpoint: WhichCheckpoint = "newest",
    compute_dtype: ComputeDtype = "float32",
    cased: bool | None = None,
) -> TrainedBert:
    """The model in a folder of ours or of Hugging Face's, or a checkpoint of Google's, here or in Cloud Storage.

    Ours are those that 'maskmill train' and 'maskmill finetune' wrote; of the latter the encoder.

    `checkpoint` chooses among those of ours. The vocabulary must lie beside the weights, and so must the configuration.
    Whether text keeps its case, the files there say; where they do not, `cased`, or else the name of the folder or the
    vocabulary, and a note. Raises InputError where something of it is missing, damaged, or does not fit together, or
    its tokenizer has settings that are not followed.
    """
    name = os.fspath(model_dir)
    with on_this_machine(name) as path:
        if (path / TRAINING).is_file():
            training = read_training(path)
            rules = rules_of(training)
            _require_case(name, rules, cased)
            vocab = read_vocab(path)
            model, step = load_model(path, checkpoint, compute_dtype)
            require_same_model(path, training, read_training)
            return TrainedBert(name, model, vocab, rules, step)
        if (path / FINETUNING).is_file():
            _require_case(name, rules_of(read_finetuning(path)), cased)
            return _open_finetuned(name, path, checkpoint, compute_dtype)
        if checkpoint != "newest":
            raise InputError(
                f"checkpoint is {checkpoint}, but {name} was not written by 'maskmill train'", expected="newest"
            )
        found = read_init_checkpoint(path)
        if found.refusal:
            raise found.refusal
        vocab = _vocab_of(found)
        rules, notes = choose_rules(found, vocab, name, cased)
        model = _fill(found, compute_dtype)
        missing = tuple(head for head in HEADS if not any(weight.startswith(head) for weight in found.weights))
        longest = found.settings.model_max_length if found.settings else None
        trained = TrainedBert(name, model, vocab, rules, None, missing, (*found.notes, *notes), longest)
        return _checked(trained)


def without_spare_rows(trained: TrainedBert, compute_dtype: ComputeDtype = "float32") -> TrainedBert:
    """The same with an embedding for each token of its vocabulary, and none for added tokens or padding."""
    if trained.model.config.vocab_size == len(trained.vocab):
        return trained
    model = BertPretrainer(replace(trained.model.config, vocab_size=len(trained.vocab)), compute_dtype=compute_dtype)
    for name, variable in model.named_weights.items():
        assign(variable, np.asarray(trained.model.named_weights[name])[: variable.shape[0]])
    return replace(trained, model=model)


def choose_rules(
    found: InitCheckpoint, vocab: Vocab, name: str, cased: bool | None = None
) -> tuple[TextRules, tuple[str, ...]]:
    """How the tokenizer of a model treats text, and a note where it had to be guessed whether it is cased.

    `name` is the path of the model as the user gave it, `cased` what the user says. Raises InputError when files of
    the tokenizer disagree about the case, and the user does not say it.
    """
    settings = found.settings or TokenizerSettings(UNCASED, None)
    notes: tuple[str, ...] = ()
    if cased is None:
        if settings.disagreement:
            raise InputError(settings.disagreement)
        cased = settings.cased
    if cased is None:
        cased, note = guess_cased(name, vocab)
        notes = (note,)
    return settings.rules_for(cased, vocab.tokens, name), notes


def _require_case(name: str, rules: TextRules, cased: bool | None) -> None:
    if cased not in (None, rules.cased):
        raise InputError(
            f"{name} was trained on text that {('keeps its case' if rules.cased else 'is lower-cased')}",
            way_out=f"leave out --{('cased' if cased else 'uncased')}",
        )


def _checked(trained: TrainedBert) -> TrainedBert:
    """The same with a note on embeddings that no token has. Raises InputError when there are too many or too few."""
    tokens, rows = len(trained.token_names), trained.model.config.vocab_size
    if tokens > rows or rows - tokens > max(MOST_SPARE_ROWS, rows // 10):
        raise InputError(
            f"the vocabulary beside {trained.path} has {tokens:,} tokens, its weights have {rows:,}",
            way_out="copy the vocab.txt that belongs to them there",
        )
    if tokens == rows:
        return trained
    note = f"{trained.path} has {rows:,} embeddings for {tokens:,} tokens; those behind the last token are not used"
    return replace(trained, notes=(*trained.notes, note))


def _open_finetuned(name: str, path: Path, checkpoint: WhichCheckpoint, compute_dtype: ComputeDtype) -> TrainedBert:
    """The encoder of a fine-tuned model of ours, which keeps no head of pre-training."""
    finetuning = read_finetuning(path)
    config = BertConfig.from_dict(finetuning["bert_config"])
    require_weights(path, config.num_weights)
    model = BertPretrainer(config, compute_dtype=compute_dtype)
    encoder = {weight: variable for weight, variable in model.named_weights.items() if weight.startswith("bert/")}
    step = restore_finetuned(path, encoder, checkpoint)
    missing = tuple(head for head in HEADS if not head.startswith("bert/"))
    vocab = read_finetuned_vocab(path)
    require_same_model(path, finetuning, read_finetuning)
    return TrainedBert(name, model, vocab, rules_of(finetuning), step, missing)


def _fill(found: InitCheckpoint, compute_dtype: ComputeDtype) -> BertPretrainer:
    if found.config is None:
        raise InputError(
            "has no bert_config.json beside it",
            way_out="copy it there from where the weights are from",
            path=found.path,
        )
    model = BertPretrainer(found.config, compute_dtype=compute_dtype)
    for name, variable in model.named_weights.items():
        if name in found.weights:
            if found.weights[name].shape != tuple(variable.shape):
                raise InputError(
                    f"has {name} of shape {found.weights[name].shape}, its configuration asks for "
                    f"{tuple(variable.shape)}",
                    way_out="copy both from where they belong together",
                    path=found.path,
                )
            assign(variable, found.weights[name])
    return model


def _vocab_of(found: InitCheckpoint) -> Vocab:
    if found.tokens is None:
        raise InputError("has no vocab.txt beside it", way_out="copy that of the weights there", path=found.path)
    return Vocab(found.tokens, f"the vocabulary beside {found.path}")

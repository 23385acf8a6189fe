"""A trained BERT to be used, whoever trained it: its weights, its vocabulary, and how its text is tokenized."""

import os
from dataclasses import dataclass
from pathlib import Path

from model.bert import BertPretrainer
from model.checkpoint import require_weights
from model.checkpoint_formats import HEADS, InitCheckpoint, on_this_machine, read_init_checkpoint
from model.config import BertConfig, ComputeDtype
from model.distribution import assign
from model.model_dir import TRAINING, WhichCheckpoint, load_model, read_training, read_vocab
from model.tasks.finetune_config import FINETUNING
from model.tasks.finetuned import read_finetuned_vocab, read_finetuning, restore_finetuned
from pipeline.storage import read_json
from tokenizer.errors import InputError
from tokenizer.vocab import Vocab


@dataclass(frozen=True)
class TrainedBert:
    """A model in memory, ready to be used."""

    path: str  # where it was read, as given
    model: BertPretrainer
    vocab: Vocab
    cased: bool
    step: int | None = None  # that it was trained to; None where others trained it
    missing_heads: tuple[str, ...] = ()  # of `HEADS`; they have new weights
    notes: tuple[str, ...] = ()  # what the user should know

    def require_head(self, head: str) -> None:
        """Raises InputError when the checkpoint came without a head, one of `HEADS`."""
        if head in self.missing_heads:
            raise InputError(
                f"{self.path} has no weights of {head}, as models of other tasks leave it out; "
                "give a model that was pre-trained with it"
            )


def open_trained(
    model_dir: str | os.PathLike[str], checkpoint: WhichCheckpoint = "newest", compute_dtype: ComputeDtype = "float32"
) -> TrainedBert:
    """The model in a folder of ours or of Hugging Face's, or a checkpoint of Google's, here or in Cloud Storage.

    Ours are those that 'maskmill train' and 'maskmill finetune' wrote; of the latter the encoder.

    `checkpoint` chooses among those of ours. The vocabulary must lie beside the weights, and so must the configuration.
    Whether it is cased, says the folder; of Google's, which does not, the vocabulary. Raises InputError where something
    of it is missing, damaged, or does not fit together.
    """
    name = os.fspath(model_dir)
    with on_this_machine(name) as path:
        if (path / TRAINING).is_file():
            vocab, cased = read_vocab(path), read_training(path)["cased"]
            model, step = load_model(path, checkpoint, compute_dtype)
            return TrainedBert(name, model, vocab, cased, step)
        if (path / FINETUNING).is_file():
            return _open_finetuned(name, path, checkpoint, compute_dtype)
        if checkpoint != "newest":
            raise InputError(
                f"checkpoint is {checkpoint}, but {name} was not written by 'maskmill train'; expected newest"
            )
        found = read_init_checkpoint(path)
        model = _fill(found, compute_dtype)
        vocab = _vocab_of(found)
        missing = tuple(head for head in HEADS if not any(weight.startswith(head) for weight in found.weights))
        folder = path if path.is_dir() else path.parent
        return TrainedBert(name, model, vocab, _is_cased(folder, vocab), None, missing, found.notes)


def _open_finetuned(name: str, path: Path, checkpoint: WhichCheckpoint, compute_dtype: ComputeDtype) -> TrainedBert:
    """The encoder of a fine-tuned model of ours, which keeps no head of pre-training."""
    finetuning = read_finetuning(path)
    config = BertConfig.from_dict(finetuning["bert_config"])
    require_weights(path, config.num_weights)
    model = BertPretrainer(config, compute_dtype=compute_dtype)
    encoder = {weight: variable for weight, variable in model.named_weights.items() if weight.startswith("bert/")}
    step = restore_finetuned(path, encoder, checkpoint)
    missing = tuple(head for head in HEADS if not head.startswith("bert/"))
    return TrainedBert(name, model, read_finetuned_vocab(path), finetuning["cased"], step, missing)


def _fill(found: InitCheckpoint, compute_dtype: ComputeDtype) -> BertPretrainer:
    if found.config is None:
        raise InputError(
            f"{found.path} has no bert_config.json beside it; copy it there from where the weights are from"
        )
    model = BertPretrainer(found.config, compute_dtype=compute_dtype)
    for name, variable in model.named_weights.items():
        if name in found.weights:
            if found.weights[name].shape != tuple(variable.shape):
                raise InputError(
                    f"{found.path} has {name} of shape {found.weights[name].shape}, its configuration asks for "
                    f"{tuple(variable.shape)}; copy both from where they belong together"
                )
            assign(variable, found.weights[name])
    return model


def _vocab_of(found: InitCheckpoint) -> Vocab:
    if found.tokens is None:
        raise InputError(f"{found.path} has no vocab.txt beside it; copy that of the weights there")
    assert found.config is not None
    if len(found.tokens) != found.config.vocab_size:
        raise InputError(
            f"the vocabulary beside {found.path} has {len(found.tokens):,} tokens, its weights have "
            f"{found.config.vocab_size:,}; copy the vocab.txt that belongs to them there"
        )
    return Vocab(found.tokens, f"the vocabulary beside {found.path}")


def _is_cased(folder: Path, vocab: Vocab) -> bool:
    """What Hugging Face's tokenizer_config.json says; without one a vocabulary with capitals is cased."""
    path = folder / "tokenizer_config.json"
    if not path.exists():
        return vocab.has_upper_case
    return not read_json(path, "copy it again").get("do_lower_case", not vocab.has_upper_case)

"""The folder of a fine-tuned model: what it was made of."""

from pathlib import Path
from typing import Any

from maskmill.model.formats.model_dir import require_config, rules_of
from maskmill.model.formats.names import FINETUNING
from maskmill.pipeline.storage.storage import read_at_most
from maskmill.pipeline.tables.fields import Fields
from maskmill.pipeline.tables.labelled import HeldOut
from maskmill.tokenizer.errors import InputError, first_line
from maskmill.tokenizer.json_file import MAX_BYTES, brief, make, parse_sealed, require_types

WAY_OUT = "restore it, or fine-tune into a new folder"

# What `finetuning.describe` writes.
_KINDS: dict[str, Any] = {
    "backend": str, "bert_config": dict[str, Any], "config": dict[str, Any], "labels": list[str],
    "fields": dict[str, Any], "vocab_sha256": str, "cased": bool, "train_sha256": str, "eval_sha256": str,
    "held_out": dict[str, Any], "init_model": str, "init_sha256": str,
}  # fmt: skip


def read_classifier(folder: Path) -> dict[str, Any]:
    """The content of `finetuning.json`; its `config` is not checked.

    Raises InputError when the folder holds none, or it is damaged.
    """
    path = folder / FINETUNING
    if not path.is_file():
        raise InputError(
            f"holds no fine-tuned model (it has no {FINETUNING})",
            way_out="give a folder that 'maskmill finetune' wrote",
            path=folder,
        )
    finetuning = parse_sealed(read_at_most(path, MAX_BYTES), path, WAY_OUT)
    require_types(finetuning, _KINDS, path, WAY_OUT)
    require_config(finetuning, path, WAY_OUT)
    make(HeldOut, finetuning["held_out"], path, WAY_OUT)
    make(Fields, finetuning["fields"], path, WAY_OUT)
    try:
        rules_of(finetuning)
    except TypeError as error:
        raise InputError(f"is damaged (tokenizer: {first_line(error)})", way_out=WAY_OUT, path=path) from error
    if not 2 <= len(set(finetuning["labels"])) == len(finetuning["labels"]):
        raise InputError(f"is damaged (labels is {brief(finetuning['labels'])})", way_out=WAY_OUT, path=path)
    return finetuning

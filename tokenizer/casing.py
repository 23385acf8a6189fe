"""Whether a model is cased, where no file beside it says so."""

import os
import re

from maskmill.tokenizer.vocab import Vocab

# As google-research/bert names its models, `validate_case_matches_checkpoint` in its tokenization.py; many do alike.
_UNCASED = re.compile(r"(^|[^a-z])uncased([^a-z]|$)|^(chinese|multilingual)_")
_CASED = re.compile(r"(^|[^a-z])cased([^a-z]|$)")


def cased_by_name(path: str) -> bool | None:
    """What the folder of a model is called; None where its name says nothing.

    >>> cased_by_name("uncased_L-12_H-768_A-12/bert_model.ckpt"), cased_by_name("/models/multi_cased_L-12_H-768_A-12")
    (False, True)
    """
    folder, name = os.path.split(path.rstrip("/"))
    if re.search(r"\.(ckpt|safetensors)", name):
        name = os.path.basename(folder)
    if _UNCASED.search(name.lower()):
        return False
    return True if _CASED.search(name.lower()) else None


def guess_cased(path: str, vocab: Vocab) -> tuple[bool, str]:
    """Whether a model is cased, by the name of its folder or else by its vocabulary, and a sentence that says so."""
    by_name = cased_by_name(path)
    cased = vocab.looks_cased if by_name is None else by_name
    if by_name is not None:
        reason = "by the name of its folder"
    else:
        reason = f"as its vocabulary has {'many' if cased else 'few or no'} tokens with capitals"
    treatment = "keeps its case and accents" if cased else "is lower-cased"
    return cased, (
        f"no file beside {path} says whether the model is cased: text {treatment}, {reason}; if that is wrong, give "
        f"--{'uncased' if cased else 'cased'}"
    )

"""What the files of a Hugging Face tokenizer say: its vocabulary and its settings, or why they cannot be followed.

Source of the rules: `AutoTokenizer` of transformers 4.57 and 5.24. Its BertTokenizer takes the vocabulary and the added
tokens out of tokenizer.json, and the settings of the normalizer out of tokenizer_config.json, with defaults of its own;
its TokenizersBackend, formerly PreTrainedTokenizerFast, takes tokenizer.json as it is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from maskmill.tokenizer.errors import InputError, first_line
from maskmill.tokenizer.json_file import parse_object
from maskmill.tokenizer.rules import AddedToken, TextRules
from maskmill.tokenizer.vocab import CLS, SEP, SPECIAL_TOKENS, UNK

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
ADDED_TOKENS, SPECIAL_TOKENS_MAP = "added_tokens.json", "special_tokens_map.json"
FILES = (TOKENIZER, TOKENIZER_CONFIG, ADDED_TOKENS, SPECIAL_TOKENS_MAP)
MAX_BYTES = 64 << 20  # of a file, three times the largest of a published model
MAX_INPUT_CHARS_PER_WORD = 100  # of Hugging Face's BertTokenizer; that of google-research/bert has 200

_BERTS = (None, "BertTokenizer", "BertTokenizerFast")
_AS_THE_FILE_SAYS = ("PreTrainedTokenizerFast", "TokenizersBackend")
# In tokenizer_config.json, the normalizer of tokenizer.json, and by default.
_NORMALIZER = {
    "do_lower_case": ("lowercase", True),
    "strip_accents": ("strip_accents", None),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
}
_WAY_OUT = (
    "maskmill cannot tokenize as this model does; give a model with BERT's own tokenizer, or change the setting if "
    "the model was trained without it"
)


@dataclass(frozen=True)
class TokenizerSettings:
    """What the files say of a tokenizer."""

    rules: TextRules  # as if cased, or not, where `cased` is None; without the added tokens
    cased: bool | None  # None: the files do not say it, or disagree
    disagreement: str | None = None  # about `cased`: a sentence for the user
    tokens: tuple[str, ...] | None = None  # the vocabulary in tokenizer.json; None where there is no such file
    added: tuple["AddedToken | _Added", ...] = ()
    model_max_length: int | None = None  # tokens of a text that the model is meant for

    def rules_for(self, cased: bool, tokens: Sequence[str], where: str) -> TextRules:
        """The rules with the added tokens, which get their ids behind those of the vocabulary `tokens`.

        Raises InputError when an added token is said to have another id.
        """
        ids = {token: id for id, token in enumerate(tokens)}
        added: list[AddedToken] = []
        next_id = len(tokens)
        for token in self.added:
            id = ids.get(token.content, next_id)
            next_id += id == next_id
            if token.id not in (None, id):
                raise InputError(
                    f"the added token {token.content!r} beside {where} has id {token.id}, expected {id} after a "
                    f"vocabulary of {len(tokens):,} tokens",
                    way_out="copy all files of the tokenizer again",
                )
            if token.content not in SPECIAL_TOKENS:
                added.append(AddedToken(token.content, id, token.normalized, token.single_word))
        return replace(self.rules, cased=cased, added_tokens=tuple(added))


class _Added(NamedTuple):
    """An added token as a file names it."""

    content: str
    id: int | None
    normalized: bool
    single_word: bool


def read_settings(folder: Path) -> TokenizerSettings | None:
    """What the files in a folder say of its tokenizer; None where it has none of them.

    Raises InputError when a file is damaged, or names a setting that is neither followed nor without effect.
    """
    config_file, file = folder / TOKENIZER_CONFIG, folder / TOKENIZER
    if not any((folder / name).exists() for name in FILES):
        return None
    config = _read_object(config_file) if config_file.exists() else {}
    content = _read_object(file) if file.exists() else None
    special = _read_object(folder / SPECIAL_TOKENS_MAP) if (folder / SPECIAL_TOKENS_MAP).exists() else {}
    kind = config.get("tokenizer_class")
    if kind not in _BERTS + _AS_THE_FILE_SAYS:
        raise _refusal(config_file, "tokenizer_class", kind, "BertTokenizer or PreTrainedTokenizerFast")
    as_the_file_says = kind in _AS_THE_FILE_SAYS and content is not None
    _require(config, config_file, "never_split", (None, [], list(SPECIAL_TOKENS)), "null")
    _require(config, config_file, "do_basic_tokenize", (None, True), "true")
    for path, values in ((config_file, config), (folder / SPECIAL_TOKENS_MAP, special)):
        for token in SPECIAL_TOKENS:
            name = f"{token[1:-1].lower()}_token"
            _require(values, path, name, (None, token), token, _content_of(values.get(name)))
    normalizer, max_word_length = ({}, MAX_INPUT_CHARS_PER_WORD) if content is None else _read_tokenizer(content, file)
    values, disagreement = _choose(config, normalizer, config_file, as_the_file_says)
    lower = values["do_lower_case"]
    rules = TextRules(lower is False, values["strip_accents"], values["tokenize_chinese_chars"], max_word_length)
    return TokenizerSettings(
        rules,
        None if lower is None else not lower,
        disagreement,
        None if content is None else _tokens_of(content, file),
        tuple(_added_tokens(folder, config, content or {}, special)),
        _positive_int(config.get("model_max_length")),
    )


def _choose(
    config: Mapping[str, Any], normalizer: Mapping[str, Any], path: Path, as_the_file_says: bool
) -> tuple[dict[str, Any], str | None]:
    """The settings of the normalizer by their names in tokenizer_config.json, and a disagreement about lower case."""
    chosen: dict[str, Any] = {}
    disagreement = None
    for name, (its_name, default) in _NORMALIZER.items():
        says, value = name in config, config.get(name)
        in_file = normalizer.get(its_name, default)
        chosen[name] = in_file if as_the_file_says else value if says else default
        allowed = (True, False, None) if default is None else (True, False)
        if chosen[name] not in allowed or type(chosen[name]) is int:
            where = path.with_name(TOKENIZER) if as_the_file_says else path
            raise InputError(f"{where} has {name} {chosen[name]!r}, expected true or false", way_out="copy it again")
        if as_the_file_says or says:
            continue
        if normalizer and in_file != default:
            sentence = (
                f"{path.with_name(TOKENIZER)} has {its_name} {json.dumps(in_file)}, and {TOKENIZER_CONFIG} beside it "
                f"does not say {name}, for which transformers takes {json.dumps(default)}; write {name} into "
                f"{TOKENIZER_CONFIG}"
            )
            if name != "do_lower_case":
                raise InputError(sentence)
            disagreement = f"{sentence}, or give --cased or --uncased"
        if name == "do_lower_case" and (disagreement or not normalizer):
            chosen[name] = None
    return chosen, disagreement


def _read_tokenizer(content: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], int]:
    """The BertNormalizer of a tokenizer.json, and how long a word may be. Raises InputError where it is not BERT's."""
    model = content.get("model")
    if not isinstance(model, dict):
        raise InputError("is damaged (it has no model with a vocab)", way_out="copy it again", path=path)
    _require(model, path, "type", (None, "WordPiece"), "WordPiece")
    _require(model, path, "unk_token", (None, UNK), UNK)
    _require(model, path, "continuing_subword_prefix", (None, "##"), "##")
    normalizer = _only(content.get("normalizer"), "normalizers")
    if normalizer.get("type") != "BertNormalizer":
        raise _refusal(path, "normalizer", _types_of(content.get("normalizer"), "normalizers"), "BertNormalizer")
    _require(normalizer, path, "clean_text", (None, True), "true")
    pre_tokenizer = content.get("pre_tokenizer")
    if _only(pre_tokenizer, "pretokenizers").get("type") != "BertPreTokenizer":
        raise _refusal(path, "pre_tokenizer", _types_of(pre_tokenizer, "pretokenizers"), "BertPreTokenizer")
    longest = model.get("max_input_chars_per_word", MAX_INPUT_CHARS_PER_WORD)
    if _positive_int(longest) is None:
        raise _refusal(path, "max_input_chars_per_word", longest, "a number of characters")
    frame = _frame_of(content.get("post_processor"))
    if frame not in (None, [CLS, "A", SEP]):
        raise _refusal(path, "post_processor", frame, f"{CLS} A {SEP}")
    return normalizer, longest


def _only(part: Any, members: str) -> dict[str, Any]:
    """A part of a tokenizer.json, or of a Sequence of one part that part; else nothing."""
    if isinstance(part, dict) and part.get("type") == "Sequence":
        parts = part.get(members)
        part = parts[0] if isinstance(parts, list) and len(parts) == 1 else None
    return part if isinstance(part, dict) else {}


def _types_of(part: Any, members: str) -> Any:
    """The type of such a part, or the types of its members, for a message."""
    if not isinstance(part, dict):
        return part
    parts = part.get(members)
    return [_types_of(one, members) for one in parts] if isinstance(parts, list) else part.get("type")


def _frame_of(post_processor: Any) -> list[Any] | None:
    """What a single text is framed with; None where the file leaves that to the class of the tokenizer.

    >>> _frame_of({"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]})
    ['[CLS]', 'A', '[SEP]']
    """
    if post_processor is None:
        return None
    try:
        if post_processor["type"] == "BertProcessing":
            return [post_processor["cls"][0], "A", post_processor["sep"][0]]
        if post_processor["type"] == "TemplateProcessing":
            return [next(iter(piece.values()))["id"] for piece in post_processor["single"]]
        return [post_processor["type"]]
    except (KeyError, TypeError, IndexError, AttributeError, StopIteration):
        return ["unreadable"]


def _tokens_of(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The tokens of the vocabulary in the order of their ids."""
    ids = content["model"].get("vocab")
    if not isinstance(ids, dict) or not all(type(id) is int for id in ids.values()):
        raise InputError("is damaged (it has no model with a vocab)", way_out="copy it again", path=path)
    tokens = sorted(ids, key=ids.__getitem__)
    if not tokens or [ids[token] for token in tokens] != list(range(len(tokens))):
        raise InputError(
            "has no WordPiece vocabulary with the ids 0, 1, 2 and so on", way_out="put a vocab.txt beside it", path=path
        )
    return tuple(tokens)


def _added_tokens(
    folder: Path, config: Mapping[str, Any], content: Mapping[str, Any], special: Mapping[str, Any]
) -> list[_Added]:
    """The tokens that any of the files adds, in the order of their ids."""
    found: dict[str, _Added] = {}
    try:
        if (folder / ADDED_TOKENS).exists():
            for token, id in _read_object(folder / ADDED_TOKENS).items():
                found[token] = _Added(token, int(id), normalized=True, single_word=False)
        for entry in content.get("added_tokens") or ():
            found[entry["content"]] = _added_of(entry, entry["id"])
        for id, entry in (config.get("added_tokens_decoder") or {}).items():
            found[entry["content"]] = _added_of(entry, int(id))
        for values in (config, special):
            for name in ("additional_special_tokens", "extra_special_tokens"):
                more = values.get(name) or ()
                for entry in more.values() if isinstance(more, dict) else more:
                    given = entry if isinstance(entry, dict) else {"content": entry}
                    found.setdefault(given["content"], _added_of(given, None))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"has an added token without a content or an id ({first_line(error)})",
            way_out="copy its files again",
            path=folder,
        ) from error
    for token in found:
        if not isinstance(token, str) or not token.strip() or "\n" in token:
            raise InputError(
                f"has an added token {token!r}, expected a word", way_out="use a tokenizer without it", path=folder
            )
    return sorted(found.values(), key=lambda token: (token.id is None, token.id))


def _added_of(entry: Mapping[str, Any], id: int | None) -> _Added:
    normalized = bool(entry.get("normalized", not entry.get("special", True)))
    return _Added(entry["content"], id, normalized, bool(entry.get("single_word")))


def _content_of(token: Any) -> Any:
    """A token, which may be written as an object with its flags."""
    return token.get("content") if isinstance(token, dict) else token


def _positive_int(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None


_NOT_GIVEN = object()


def _require(
    values: Mapping[str, Any], path: Path, name: str, allowed: tuple[Any, ...], expected: str, value: Any = _NOT_GIVEN
) -> None:
    """Raises InputError where a setting has another value than those allowed."""
    value = values.get(name) if value is _NOT_GIVEN else value
    if value not in allowed:
        raise _refusal(path, name, value, expected)


def _refusal(path: Path, name: str, value: Any, expected: str) -> InputError:
    shown = json.dumps(value, ensure_ascii=False)
    return InputError(f"has {name} {shown[:80]}, expected {expected}: {_WAY_OUT}", path=path)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", way_out="change its permissions, or copy it again", path=path
        ) from error
    return parse_object(content, path, "copy it again", MAX_BYTES)

"""Reads the weights of a BERT: from a checkpoint of Google's, a folder of Hugging Face's, or a model of ours."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskmill.model.bert.config import BERT_CONFIG, HUGGING_FACE_CONFIG, BertConfig, read_config
from maskmill.model.formats.classifier_dir import read_classifier
from maskmill.model.formats.export import google_name, hugging_face_name, weight_names
from maskmill.model.formats.model_dir import read_training, rules_of
from maskmill.model.formats.names import FINETUNING, TRAINING
from maskmill.model.training.checkpoint import (
    DamagedWeightsError,
    NamedArrays,
    list_checkpoints,
    open_weights,
    read_checkpoint,
)
from maskmill.pipeline.dataset.schema import VOCAB
from maskmill.pipeline.storage.storage import is_remote, list_names, open_file, read_bytes, read_json
from maskmill.tokenizer.errors import InputError, first_line
from maskmill.tokenizer.json_file import brief, require_types
from maskmill.tokenizer.rules import TextRules
from maskmill.tokenizer.settings import FILES, MAX_INPUT_CHARS_PER_WORD, TokenizerSettings, read_settings
from maskmill.tokenizer.vocab import parse_tokens

WORDS, POSITIONS = "bert/embeddings/word_embeddings", "bert/embeddings/position_embeddings"
BIAS = "masked_lm/output_bias"
HEADS = ("bert/pooler", "masked_lm", "next_sentence")  # what the models of other tasks leave out
KINDS = (
    "a checkpoint of Google's (.../bert_model.ckpt), a folder of Hugging Face's (config.json and model.safetensors), "
    "or a folder that 'maskmill train' wrote"
)
INDEX = "model.safetensors.index.json"
MOST_NAMES = 3  # of weights in a sentence

_OURS = {TRAINING, FINETUNING}
_SHARD = re.compile(r"[\w.-]+\.safetensors")  # a name without a folder
# Of a folder in Cloud Storage, what is fetched.
_WANTED = re.compile(
    rf"(bert_)?config\.json|(training|finetuning)\.json|{'|'.join(map(re.escape, FILES))}|vocab\.txt"
    r"|.*\.safetensors(\.index\.json)?|.*\.ckpt.*"
)
# What a checkpoint also holds: state of the training, buffers, and a decoder that is tied to the word embeddings.
_NOT_WEIGHTS = re.compile(
    r"global_step|.*/adam_[mv]|beta[12]_power|(current_)?loss_scale|(good|bad)_steps|save_counter|learning_rate"
    r"|sums/.*|eval_loss|seed_generator_.*|bert\.embeddings\.(position|token_type)_ids"
    r"|cls\.predictions\.decoder\.(weight|bias)"
)


@dataclass(frozen=True)
class InitCheckpoint:
    """The weights of a BERT, and what is known of them."""

    path: str
    weights: NamedArrays  # float32, by our names and in our layout; those of the heads may be missing
    config: BertConfig | None  # None where no configuration lies beside them
    tokens: list[str] | None  # of the vocab.txt beside them, or of the tokenizer.json
    notes: tuple[str, ...] = ()  # what the user should know
    settings: TokenizerSettings | None = None  # of the tokenizer; None where no file says them
    refusal: InputError | None = None  # why its tokenizer cannot be used; the weights can


def read_init_checkpoint(path: str | os.PathLike[str]) -> InitCheckpoint:
    """Reads a checkpoint of Google's (its prefix, or the folder that holds it), a Hugging Face folder, or one of ours.

    Of a model folder of ours it takes the newest undamaged checkpoint; a file `checkpoint-<step>.safetensors` may be
    given, too. Any of them may lie in Cloud Storage. Raises InputError where nothing of the kind is there, a file is
    damaged, or the weights are not those of a BERT. Google's checkpoints need TensorFlow.
    """
    with on_this_machine(path) as local:
        return replace(_read(local), path=os.fspath(path))


@contextmanager
def on_this_machine(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A checkpoint, or the folder of one, as a path of this machine; one in Cloud Storage is fetched for the while.

    What is said of it in errors and in notes names where it really is.
    """
    path = os.fspath(path)
    if not is_remote(path):
        yield Path(path)
        return
    folder, name = (path, "") if list_names(path) else os.path.split(path)
    with tempfile.TemporaryDirectory(prefix="maskmill-") as local:
        for file in filter(_WANTED.fullmatch, list_names(folder)):
            with open_file(os.path.join(folder, file)) as source, open(os.path.join(local, file), "wb") as target:
                shutil.copyfileobj(source, target)
        try:
            yield Path(local, name)
        except InputError as error:
            raise error.renamed(local, folder) from error


def config_beside(path: str | os.PathLike[str], vocab_size: int) -> BertConfig:
    """The configuration that lies beside a checkpoint, or in its folder; `vocab_size` where it does not say one.

    Raises InputError when there is none.
    """
    folder = path if list_names(path) else os.path.dirname(path)
    if not {BERT_CONFIG, HUGGING_FACE_CONFIG} & set(list_names(folder)):
        raise InputError(
            f"init_checkpoint {path} has neither {BERT_CONFIG} nor {HUGGING_FACE_CONFIG} beside it, or is not there",
            way_out=f"give {KINDS}, and --bert-config where no configuration is beside it",
        )
    return BertConfig.load(folder, vocab_size)


def shape_of(weights: NamedArrays) -> dict[str, Any]:
    """What the shapes of weights say of a configuration: all but the number of heads."""
    vocab_size, hidden_size = weights[WORDS].shape
    layers = sum(name.endswith("/query/kernel") for name in weights)
    units = tuple(weights[f"bert/layer_{i}/intermediate/kernel"].shape[1] for i in range(layers))
    return {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "num_hidden_layers": layers,
        **({"intermediate_size": units[0]} if len(set(units)) == 1 else {"intermediate_size_per_layer": units}),
        "max_position_embeddings": len(weights[POSITIONS]),
        "type_vocab_size": len(weights["bert/embeddings/token_type_embeddings"]),
    }


def _read(path: Path) -> InitCheckpoint:
    """What lies at a path on this machine."""
    names = list_names(path if path.is_dir() else path.parent)
    if path.is_dir():
        if _OURS & set(names):
            return _read_ours(path, [checkpoint for _, checkpoint in list_checkpoints(path)])
        if INDEX in names or "model.safetensors" in names:
            return _read_hugging_face(path)
        prefixes = [name.removesuffix(".index") for name in names if name.endswith(".index")]
        if len(prefixes) == 1:
            return _read_google(path / prefixes[0])
        if prefixes:
            raise InputError(
                f"holds {len(prefixes)} checkpoints",
                way_out=f"give one of them, such as {path / prefixes[-1]}",
                path=path,
            )
        if "pytorch_model.bin" in names:
            raise InputError(
                "holds pytorch_model.bin, which is not read",
                way_out="write it as model.safetensors, which the save_pretrained of transformers does",
                path=path,
            )
        raise InputError("holds no checkpoint", way_out=f"give {KINDS}", path=path)
    if path.name in names and path.suffix == ".safetensors":
        return _read_ours(path.parent, [path]) if _OURS & set(names) else _read_hugging_face(path.parent)
    prefix = path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))
    if f"{prefix.name}.index" in names:
        return _read_google(prefix)
    raise InputError("is no checkpoint, or is not there", way_out=f"give {KINDS}", path=path)


def _read_ours(folder: Path, checkpoints: list[Path]) -> InitCheckpoint:
    training = read_classifier(folder) if (folder / FINETUNING).exists() else read_training(folder)
    if not checkpoints:
        raise InputError("has no checkpoint yet", way_out="run 'maskmill train' until it has written one", path=folder)
    damage: list[str] = []
    for path in checkpoints:
        try:
            arrays = read_checkpoint(path)
        except DamagedWeightsError:
            damage.append(f"{path.name} is damaged; the one before it is taken")
            continue
        weights, left = _by_our_names(arrays, r"bert/layer_(\d+)/", lambda name: name)
        config = BertConfig.from_dict(training["bert_config"])
        rules = rules_of(training)
        settings = TokenizerSettings(rules, rules.cased, added=rules.added_tokens)
        return InitCheckpoint(str(folder), weights, config, _tokens(folder), (*damage, *left), settings)
    raise InputError(f"every checkpoint in {folder} is damaged", way_out="give another one")


def _read_google(prefix: Path) -> InitCheckpoint:
    import tensorflow as tf

    if prefix.is_dir():  # in which TensorFlow would follow the path that a file `checkpoint` names
        raise InputError(f"{prefix} is a folder, and the name of a checkpoint beside it", way_out="rename the folder")
    for name in _files_of(prefix):
        with open_file(prefix.with_name(name)) as file:
            file.read(1)  # TensorFlow calls a file that it may not read a damaged one
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = without_slots(reader.get_variable_to_shape_map())
        arrays = {name: reader.get_tensor(name) for name in names}
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError from error
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:  # whichever TensorFlow makes of it
        raise InputError(f"{prefix} is damaged ({first_line(error)})", way_out="copy its files again") from error
    weights, left = _by_our_names(arrays, r"bert/encoder/layer_(\d+)/", google_name)
    if "next_sentence/kernel" in weights:
        weights["next_sentence/kernel"] = np.ascontiguousarray(weights["next_sentence/kernel"].T)
    config_file = prefix.with_name(BERT_CONFIG)
    config = _config_that_fits(config_file, weights) if config_file.exists() else None
    tokens, settings, refusal = _tokenizer_beside(prefix.parent)
    return InitCheckpoint(str(prefix), weights, config, tokens, tuple(left), settings, refusal)


def _files_of(prefix: Path) -> list[str]:
    """The names of the files of a TensorFlow checkpoint. Raises InputError where one is missing."""
    names = {name for name in list_names(prefix.parent) if name.startswith(f"{prefix.name}.")}
    parts = max((int(match[1]) for name in names if (match := re.search(r"\.data-\d{5}-of-(\d{5})$", name))), default=1)
    needed = [f"{prefix.name}.index", *(f"{prefix.name}.data-{part:05d}-of-{parts:05d}" for part in range(parts))]
    for name in needed:
        if name not in names:
            raise InputError(f"{prefix} lacks its file {name}", way_out="copy it there")
    return needed


def without_slots(names: Iterable[str]) -> list[str]:
    """The names of a TensorFlow checkpoint but for what its optimizer keeps.

    That is named after the weight that it belongs to, with more before or behind the name, whichever optimizer it was.

    >>> without_slots(["bert/pooler/dense/bias", "bert/pooler/dense/bias/LAMB_1", "AdamW/bert/pooler/dense/bias/m"])
    ['bert/pooler/dense/bias']
    """
    every = set(names)
    return sorted(name for name in every if not _NOT_WEIGHTS.fullmatch(name) and not _names_within(name) & every)


def _names_within(name: str) -> set[str]:
    """The shorter names that are a part of a name, of two levels or more, or all but its last level."""
    levels = name.split("/")
    bounds = ((start, end) for end in range(len(levels) + 1) for start in range(end - 1))
    within = {"/".join(levels[start:end]) for start, end in bounds} | {"/".join(levels[:-1])}
    return within - {name}


def _read_hugging_face(folder: Path) -> InitCheckpoint:
    if not (folder / HUGGING_FACE_CONFIG).exists():
        raise InputError(f"has no {HUGGING_FACE_CONFIG} beside its weights", way_out="copy it there, too", path=folder)
    values = read_config(folder / HUGGING_FACE_CONFIG)
    arrays: NamedArrays = {}
    for path in _shards(folder):
        try:
            with open_weights(path) as file:
                arrays |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except DamagedWeightsError as error:
            raise InputError(f"{error}", way_out="copy it again") from error
    prefix = _prefix_of(arrays, folder)
    arrays = {_hugging_face_form(name.removeprefix(prefix)): array for name, array in arrays.items()}
    if "cls.predictions.decoder.bias" in arrays:
        arrays.setdefault("cls.predictions.bias", arrays["cls.predictions.decoder.bias"])
    weights, notes = _by_our_names(arrays, r"bert\.encoder\.layer\.(\d+)\.", hugging_face_name)
    weights = {
        name: np.ascontiguousarray(array.T) if name.endswith("/kernel") else array for name, array in weights.items()
    }
    if values.get("hidden_act", "gelu") == "gelu":
        notes.append(
            "the weights were trained with the erf form of gelu; here they go on with the tanh form of Google's code, "
            "whose values differ from that by 0.0005 at the most"
        )
    config = _config_that_fits(folder / HUGGING_FACE_CONFIG, weights)
    tokens, settings, refusal = _tokenizer_beside(folder)
    if settings is None and refusal is None:  # transformers has a default for what no file says
        settings = TokenizerSettings(TextRules(max_input_chars_per_word=MAX_INPUT_CHARS_PER_WORD), None)
    return InitCheckpoint(str(folder), weights, config, tokens, tuple(notes), settings, refusal)


def _prefix_of(names: Iterable[str], folder: Path) -> str:
    """What a model around the BERT puts before all names, such as `module.` of torch's DataParallel, or nothing."""
    anchor = re.compile(r"(.*?)(bert\.)?embeddings\.word_embeddings\.weight")
    found = {match[1] for match in map(anchor.fullmatch, names) if match}
    if len(found) > 1:
        raise InputError(
            f"holds {len(found)} models with word embeddings, named {_few(sorted(found))}",
            expected="one BERT, save the one to be used alone",
            path=folder,
        )
    return found.pop() if found else ""


def _shards(folder: Path) -> Iterable[Path]:
    """The files of weights in a Hugging Face folder."""
    if not (folder / INDEX).exists():
        return [folder / "model.safetensors"]
    index = read_json(folder / INDEX, "copy it again")
    require_types(index, {"weight_map": dict[str, str]}, folder / INDEX, "copy it again")
    shards = sorted(set(index["weight_map"].values()))
    for name in shards:
        if not _SHARD.fullmatch(name):
            raise InputError(
                f"{folder / INDEX} names {brief(name)}",
                expected="the name of a .safetensors file in its folder",
                way_out="copy it again",
            )
        if not (folder / name).is_file():
            raise InputError(f"has no {name}, which {INDEX} names", way_out="copy it there", path=folder)
    return [folder / name for name in shards]


def _hugging_face_form(name: str) -> str:
    """A name as in today's `BertForPreTraining`, of one in an older file or in a `BertModel`.

    >>> _hugging_face_form("embeddings.LayerNorm.gamma")
    'bert.embeddings.LayerNorm.weight'
    """
    name = re.sub(r"^(?=(embeddings|encoder|pooler)\.)", "bert.", name)
    return re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name))


def _by_our_names(arrays: NamedArrays, layer: str, name_of: Callable[[str], str]) -> tuple[NamedArrays, list[str]]:
    """NamedArrays under other names -> those that a BERT has, float32 by our names; and a sentence about the others.

    `layer` matches the names in a layer, up to its number; `name_of` gives the other name of ours. Raises InputError
    when a weight of the encoder is missing.
    """
    layers = [int(match[1][:9]) for match in map(re.compile(layer).match, arrays) if match]
    if max(layers, default=0) > len(arrays):  # else a name could ask for a billion of them
        raise InputError(
            f"the checkpoint has {len(arrays):,} arrays, and one of layer {max(layers)}", way_out=f"give {KINDS}"
        )
    names = {name: name_of(name) for name in weight_names(max(layers, default=0) + 1)}
    for name, other in names.items():
        if other not in arrays and not name.startswith(HEADS):
            raise InputError(f"the checkpoint has no {other}, so it is not Google's BERT", way_out=f"give {KINDS}")
    weights = {name: np.asarray(arrays[other], np.float32) for name, other in names.items() if other in arrays}
    for name, array in weights.items():
        if array.ndim != (2 if name.endswith(("kernel", "_embeddings")) else 1):
            raise InputError(
                f"{names[name]} in the checkpoint has the shape {array.shape}, so it is not Google's BERT",
                way_out=f"give {KINDS}",
            )
    if (scores := len(weights.get(BIAS, weights[WORDS]))) != len(weights[WORDS]):
        raise InputError(
            f"{names[BIAS]} in the checkpoint has {scores} rows, {names[WORDS]} has {len(weights[WORDS])}",
            expected="one for each token, copy the checkpoint again",
        )
    left = sorted(name for name in arrays.keys() - set(names.values()) if not _NOT_WEIGHTS.fullmatch(name))
    return weights, [f"left aside: {_few(left)}"] if left else []


def _few(names: list[str]) -> str:
    """Names in a sentence: the first ones, and how many others there are.

    >>> _few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 others'
    """
    others = len(names) - MOST_NAMES
    if others <= 1:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMES])} and {others:,} others"


def _config_that_fits(path: Path, weights: NamedArrays) -> BertConfig:
    """The configuration in a file. Raises InputError when the weights beside it have other shapes."""
    shape = shape_of(weights)
    config = BertConfig.load(path, shape["vocab_size"])
    for name, value in shape.items():
        if getattr(config, name) != value:
            raise InputError(
                f"has {name} {getattr(config, name)}, the weights beside it have {value}",
                way_out="put them beside their own configuration",
                path=path,
            )
    return config


def _tokenizer_beside(folder: Path) -> tuple[list[str] | None, TokenizerSettings | None, InputError | None]:
    """The vocabulary beside the weights of others and the settings of its tokenizer, or why these cannot be used."""
    tokens = _tokens(folder)
    try:
        settings = read_settings(folder)
        if settings is None or settings.tokens is None:
            return tokens, settings, None
        if tokens is not None:
            _require_same(tokens, settings.tokens, folder)
        return list(settings.tokens), settings, None
    except InputError as error:
        return tokens, None, error


def _require_same(tokens: list[str], others: tuple[str, ...], folder: Path) -> None:
    """Raises InputError where the two files of a vocabulary differ: transformers would take that of tokenizer.json."""
    pairs = zip(tokens, others)
    other = next((id for id, (token, other) in enumerate(pairs) if token.strip() != other.strip()), None)
    if other is not None:
        difference = f"token {other} is {tokens[other]!r} in the one and {others[other]!r} in the other"
    elif len(tokens) != len(others):
        difference = f"they have {len(tokens):,} and {len(others):,} tokens"
    else:
        return
    raise InputError(
        f"{VOCAB} and tokenizer.json in {folder} are different vocabularies ({difference})",
        way_out="remove the one that the model was not trained with",
    )


def _tokens(folder: Path) -> list[str] | None:
    """The tokens of the vocab.txt in a folder; None where there is none."""
    path = folder / VOCAB
    if not path.exists():
        return None
    try:
        return parse_tokens(read_bytes(path).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(
            "is not UTF-8 text", way_out=f"give a {VOCAB} with one token a line, or remove it", path=path
        ) from error

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
from safetensors.numpy import load_file

from model.checkpoint import NOT_READ, Arrays, list_checkpoints, read_checkpoint
from model.config import BERT_CONFIG, HUGGING_FACE_CONFIG, BertConfig, read_config
from model.interop import google_name, hugging_face_name, weight_names
from model.model_dir import TRAINING, read_training
from model.tasks.finetune_config import FINETUNING
from model.tasks.finetuned import read_finetuning
from pipeline.schema import VOCAB
from pipeline.storage import is_remote, list_names, open_file, read_json
from tokenizer.errors import InputError, first_line
from tokenizer.json_file import brief, check_of, require_types

WORDS, POSITIONS = "bert/embeddings/word_embeddings", "bert/embeddings/position_embeddings"
BIAS = "masked_lm/output_bias"
HEADS = ("bert/pooler", "masked_lm", "next_sentence")  # what the models of other tasks leave out
KINDS = (
    "a checkpoint of Google's (.../bert_model.ckpt), a folder of Hugging Face's (config.json and model.safetensors), "
    "or a folder that 'maskmill train' wrote"
)
INDEX = "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
MAX_TOKENIZER = 64 << 20  # bytes, three times the largest of a published model

_OURS = {TRAINING, FINETUNING}
_SHARD = re.compile(r"[\w.-]+\.safetensors")  # a name without a folder
# Of a folder in Cloud Storage, what is fetched.
_WANTED = re.compile(
    r"(bert_|tokenizer_)?config\.json|(training|finetuning|tokenizer)\.json|vocab\.txt|.*\.safetensors(\.index\.json)?|.*\.ckpt.*"
)
# What a checkpoint also holds: state of the training, buffers, and a decoder that is tied to the word embeddings.
_NOT_WEIGHTS = re.compile(
    r"global_step|.*/adam_[mv]|sums/.*|eval_loss|seed_generator_.*|bert\.embeddings\.(position|token_type)_ids"
    r"|cls\.predictions\.decoder\.(weight|bias)"
)


@dataclass(frozen=True)
class InitCheckpoint:
    """The weights of a BERT, and what is known of them."""

    path: str
    weights: Arrays  # float32, by our names and in our layout; those of the heads may be missing
    config: BertConfig | None  # None where no configuration lies beside them
    tokens: list[str] | None  # of the vocab.txt beside them, or of the tokenizer.json
    notes: tuple[str, ...] = ()  # what the user should know


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
            raise InputError(str(error).replace(local, folder)) from error


def config_beside(path: str | os.PathLike[str], vocab_size: int) -> BertConfig:
    """The configuration that lies beside a checkpoint, or in its folder; `vocab_size` where it does not say one.

    Raises InputError when there is none.
    """
    folder = path if list_names(path) else os.path.dirname(path)
    if not {BERT_CONFIG, HUGGING_FACE_CONFIG} & set(list_names(folder)):
        raise InputError(
            f"init_checkpoint {path} has neither {BERT_CONFIG} nor {HUGGING_FACE_CONFIG} beside it, or is not there; "
            f"give {KINDS}, and --bert-config where no configuration is beside it"
        )
    return BertConfig.load(folder, vocab_size)


def shape_of(weights: Arrays) -> dict[str, Any]:
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
                f"{path} holds {len(prefixes)} checkpoints; give one of them, such as {path / prefixes[-1]}"
            )
        if "pytorch_model.bin" in names:
            raise InputError(
                f"{path} holds pytorch_model.bin, which is not read; write it as model.safetensors, which the "
                "save_pretrained of transformers does"
            )
        raise InputError(f"{path} holds no checkpoint; give {KINDS}")
    if path.name in names and path.suffix == ".safetensors":
        return _read_ours(path.parent, [path]) if _OURS & set(names) else _read_hugging_face(path.parent)
    prefix = path.with_name(re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.name))
    if f"{prefix.name}.index" in names:
        return _read_google(prefix)
    raise InputError(f"{path} is no checkpoint, or is not there; give {KINDS}")


def _read_ours(folder: Path, checkpoints: list[Path]) -> InitCheckpoint:
    training = read_finetuning(folder) if (folder / FINETUNING).exists() else read_training(folder)
    if not checkpoints:
        raise InputError(f"{folder} has no checkpoint yet; run 'maskmill train' until it has written one")
    damage: list[str] = []
    for path in checkpoints:
        try:
            arrays = read_checkpoint(path)
        except ValueError:
            damage.append(f"{path.name} is damaged; the one before it is taken")
            continue
        weights, left = _by_our_names(arrays, r"bert/layer_(\d+)/", lambda name: name)
        config = BertConfig.from_dict(training["bert_config"])
        return InitCheckpoint(str(folder), weights, config, _tokens(folder), (*damage, *left))
    raise InputError(f"every checkpoint in {folder} is damaged; give another one")


def _read_google(prefix: Path) -> InitCheckpoint:
    import tensorflow as tf

    if prefix.is_dir():  # in which TensorFlow would follow the path that a file `checkpoint` names
        raise InputError(f"{prefix} is a folder, and the name of a checkpoint beside it; rename the folder")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = [name for name in reader.get_variable_to_shape_map() if not _NOT_WEIGHTS.fullmatch(name)]
        arrays = {name: reader.get_tensor(name) for name in names}
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:  # whichever TensorFlow makes of it
        raise InputError(f"{prefix} is damaged ({first_line(error)}); copy its files again") from error
    weights, left = _by_our_names(arrays, r"bert/encoder/layer_(\d+)/", google_name)
    if "next_sentence/kernel" in weights:
        weights["next_sentence/kernel"] = np.ascontiguousarray(weights["next_sentence/kernel"].T)
    config_file = prefix.with_name(BERT_CONFIG)
    config = _config_that_fits(config_file, weights) if config_file.exists() else None
    return InitCheckpoint(str(prefix), weights, config, _tokens(prefix.parent), tuple(left))


def _read_hugging_face(folder: Path) -> InitCheckpoint:
    if not (folder / HUGGING_FACE_CONFIG).exists():
        raise InputError(f"{folder} has no {HUGGING_FACE_CONFIG} beside its weights; copy it there, too")
    values = read_config(folder / HUGGING_FACE_CONFIG)
    arrays: Arrays = {}
    for path in _shards(folder):
        try:
            arrays |= load_file(path)
        except NOT_READ as error:
            raise InputError(f"{path} is damaged ({first_line(error)}); copy it again") from error
    arrays = {_hugging_face_form(name): array for name, array in arrays.items()}
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
    return InitCheckpoint(str(folder), weights, config, _tokens(folder), tuple(notes))


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
                f"{folder / INDEX} names {brief(name)}; expected the name of a .safetensors file in its folder; copy "
                "it again"
            )
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}, which {INDEX} names; copy it there")
    return [folder / name for name in shards]


def _hugging_face_form(name: str) -> str:
    """A name as in today's `BertForPreTraining`, of one in an older file or in a `BertModel`.

    >>> _hugging_face_form("embeddings.LayerNorm.gamma")
    'bert.embeddings.LayerNorm.weight'
    """
    name = re.sub(r"^(?=(embeddings|encoder|pooler)\.)", "bert.", name)
    return re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", name))


def _by_our_names(arrays: Arrays, layer: str, name_of: Callable[[str], str]) -> tuple[Arrays, list[str]]:
    """Arrays under other names -> those that a BERT has, float32 by our names; and a sentence about the others.

    `layer` matches the names in a layer, up to its number; `name_of` gives the other name of ours. Raises InputError
    when a weight of the encoder is missing.
    """
    layers = [int(match[1][:9]) for match in map(re.compile(layer).match, arrays) if match]
    if max(layers, default=0) > len(arrays):  # else a name could ask for a billion of them
        raise InputError(f"the checkpoint has {len(arrays):,} arrays, and one of layer {max(layers)}; give {KINDS}")
    names = {name: name_of(name) for name in weight_names(max(layers, default=0) + 1)}
    for name, other in names.items():
        if other not in arrays and not name.startswith(HEADS):
            raise InputError(f"the checkpoint has no {other}, so it is not Google's BERT; give {KINDS}")
    weights = {name: np.asarray(arrays[other], np.float32) for name, other in names.items() if other in arrays}
    for name, array in weights.items():
        if array.ndim != (2 if name.endswith(("kernel", "_embeddings")) else 1):
            raise InputError(
                f"{names[name]} in the checkpoint has the shape {array.shape}, so it is not Google's BERT; give {KINDS}"
            )
    if (scores := len(weights.get(BIAS, weights[WORDS]))) != len(weights[WORDS]):
        raise InputError(
            f"{names[BIAS]} in the checkpoint has {scores} rows, {names[WORDS]} has {len(weights[WORDS])}; "
            "expected one for each token, copy the checkpoint again"
        )
    left = sorted(name for name in arrays.keys() - set(names.values()) if not _NOT_WEIGHTS.fullmatch(name))
    return weights, [f"left aside: {', '.join(left)}"] if left else []


def _config_that_fits(path: Path, weights: Arrays) -> BertConfig:
    """The configuration in a file. Raises InputError when the weights beside it have other shapes."""
    shape = shape_of(weights)
    config = BertConfig.load(path, shape["vocab_size"])
    for name, value in shape.items():
        if getattr(config, name) != value:
            raise InputError(
                f"{path} has {name} {getattr(config, name)}, the weights beside it have {value}; "
                "put them beside their own configuration"
            )
    return config


def _tokens(folder: Path) -> list[str] | None:
    """The tokens of the vocab.txt in a folder, or where there is none of its tokenizer.json; None without both."""
    path = folder / VOCAB
    if not path.exists():
        return _tokens_of_tokenizer(folder / TOKENIZER)
    try:
        return tokens_of(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text; give a {VOCAB} with one token a line, or remove it") from error


def _tokens_of_tokenizer(path: Path) -> list[str] | None:
    """The tokens of a WordPiece tokenizer.json in the order of their ids, which is all that newer folders hold."""
    if not path.exists():
        return None
    values = read_json(path, "copy it again", MAX_TOKENIZER)
    require_types(values, {"model": dict[str, Any]}, path, "copy it again")
    model = values["model"]
    ids: dict[str, int] = model.get("vocab", {}) if model.get("type") == "WordPiece" else {}
    if not check_of(dict[str, int])(ids):
        raise InputError(f"{path} is damaged (its vocab is not tokens with their ids); copy it again")
    tokens = sorted(ids, key=ids.__getitem__)
    if not tokens or [ids[token] for token in tokens] != list(range(len(tokens))):
        raise InputError(f"{path} holds no WordPiece vocabulary whose ids are 0 to its end; put a {VOCAB} beside it")
    return tokens


def tokens_of(vocab_text: str) -> list[str]:
    """The tokens in the text of a vocabulary file, in the order of their ids."""
    return [line.strip() for line in vocab_text.removesuffix("\n").split("\n")]

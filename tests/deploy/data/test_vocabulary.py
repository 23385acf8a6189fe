"""`maskmill vocab`: the same files for the same words, and a true account of them."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from tokenizers import Tokenizer

from maskmill.deploy.data import vocabulary
from maskmill.deploy.data.vocab import VocabRequest
from maskmill.deploy.data.vocabulary import train_vocab_file
from maskmill.pipeline.jobs import transforms
from maskmill.tokenizer.config import VocabConfig
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer

CONFIG = VocabConfig(vocab_size=90)


@pytest.fixture
def printed(monkeypatch) -> Console:
    console = Console(record=True, width=200)
    monkeypatch.setattr(vocabulary, "new_talk", lambda: console)
    return console


def train(inputs: list[Path], output: Path, config: VocabConfig = CONFIG, num_workers: int = 1) -> bytes:
    train_vocab_file(VocabRequest([str(path) for path in inputs], str(output), config, num_workers=num_workers))
    return output.read_bytes()


def write_text(path: Path, *documents: list[str]) -> Path:
    path.write_text("\n\n".join("\n".join(lines) for lines in documents))
    return path


def test_files_order_format_and_workers_change_nothing(tmp_path, corpus_file, corpus_lines):
    expected = train([corpus_file], tmp_path / "vocab.txt")
    half = write_text(tmp_path / "b.txt", *reversed(corpus_lines[:20]))
    lines = "".join(json.dumps({"text": " ".join(lines)}) + "\n" for lines in corpus_lines[20:])
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for workers in (1, 2):
        assert train([half, tmp_path / "a.jsonl.gz"], tmp_path / f"{workers}.txt", num_workers=workers) == expected


def test_more_words_than_can_be_held_are_pruned_the_same_way_however_they_are_shared(
    tmp_path, corpus_lines, monkeypatch, capsys
):
    monkeypatch.setattr(transforms, "MAX_WORDS", 10)
    monkeypatch.setattr(vocabulary, "MAX_FREQUENT_WORDS", 12)
    whole = write_text(tmp_path / "whole.txt", *corpus_lines)
    parts = [write_text(tmp_path / f"{n}.txt", *corpus_lines[n::3]) for n in range(3)]
    assert train([whole], tmp_path / "v1") == train(parts, tmp_path / "v2")
    occurrences = Counter(word for lines in corpus_lines for line in lines for word in line.split())
    floor = sorted(occurrences.values())[-13] + 1
    left_out = sum(count for count in occurrences.values() if count < floor) / occurrences.total()
    assert f"that occur fewer than {floor} times are left out, {left_out:.1%} of the text" in capsys.readouterr().err


def test_tokenizer_json_beside_it_gives_the_ids(tmp_path, corpus_file):
    train([corpus_file], tmp_path / "vocab.txt")
    vocab = Vocab.load(tmp_path / "vocab.txt")
    exported = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "The cats sat, and ran."
    assert exported.encode(text, add_special_tokens=False).ids == FullTokenizer(vocab).encode(text)
    train([corpus_file], tmp_path / "small.txt")
    assert (tmp_path / "small.tokenizer.json").exists()


def test_an_existing_tokenizer_json_is_kept(tmp_path, corpus_file):
    (tmp_path / "tokenizer.json").write_text("mine")
    with pytest.raises(InputError, match=r"tokenizer\.json exists; give another name, or --overwrite"):
        train([corpus_file], tmp_path / "vocab.txt")
    assert (tmp_path / "tokenizer.json").read_text() == "mine"
    assert not (tmp_path / "vocab.txt").exists()


def test_what_is_lost_is_counted_and_what_is_lost_often_is_warned_of(tmp_path, printed, capsys):
    text = write_text(tmp_path / "t.txt", ["aa ab ba bb cab " * 100], ["ξa " * 3 + "d" * 601])
    train([text], tmp_path / "vocab.txt", VocabConfig(vocab_size=30, limit_alphabet=3))
    lines = printed.export_text().splitlines()
    words, characters = 5 * 100 + 4, 11 * 100 + 6 + 601
    assert [line.split()[-2] for line in lines if line.startswith("alphabet")] == ["3"]
    assert f"{604 / characters:.4%} of the characters: d U+0064 (601), ξ U+03BE (3)" in "".join(lines)
    assert f"{4 / words:.4%} of the words: ξa (3), {'d' * 40}... (1)" in "".join(lines)
    of_characters, of_words = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Frequent")]
    assert of_characters.startswith("Frequent characters are left out: d U+0064, ξ U+03BE.")
    assert "give a larger --limit-alphabet than 3" in of_characters
    assert of_words.startswith("Frequent words are [UNK]: ξa")


def test_a_vocabulary_that_loses_nothing_says_so(tmp_path, printed, capsys, corpus_file):
    train([corpus_file], tmp_path / "vocab.txt")
    text = printed.export_text()
    assert Counter(line.split()[-1] for line in text.splitlines())["nothing"] == 2
    assert "Frequent" not in capsys.readouterr().err

"""The recipes of docs/recipes.md: their commands, taken from the page itself, and the sizes at which they are tried."""

import gzip
import json
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from documentation import blocks, join_lines, read_page
from places import GOLDEN

from maskmill.tokenizer.vocab import SPECIAL_TOKENS

CORPUS = Path("/work/shared/corpus")  # of those who work on maskmill; elsewhere the slow tests are skipped
PAGE = read_page("recipes.md")


@dataclass(frozen=True)
class Size:
    """What takes the place of a recipe's sizes. The page has this as a table."""

    replaced: dict[str, dict[str, str]]  # option -> value in the page -> value here; "" is any value
    added: dict[str, dict[str, str]]  # command -> options that it is given where it has none
    phase_steps: dict[str, str]
    renamed: dict[str, str]  # folders that are named by a length

    def apply(self, command: list[str]) -> list[str]:
        """The words of a command, without `maskmill`, with its sizes replaced."""
        added = self.added.get(command[0], {})
        words = [*command, *(word for option in added if option not in command for word in (option, added[option]))]
        for place, option in enumerate(words[:-1]):
            value = words[place + 1]
            if option == "--phase":
                directory, _, steps = value.rpartition(":")
                words[place + 1] = f"{directory}:{self.phase_steps[steps]}"
            elif values := self.replaced.get(option):
                words[place + 1] = values.get(value, values.get("", value))
        for folder, name in self.renamed.items():
            words = [word.replace(folder, name) for word in words]
        return words


TOY = Size(
    {
        "--bert-config": {"": "toy.json"},
        "--max-seq-length": {"128": "32", "512": "64"},
        "--dupe-factor": {"5": "2"},
        "--eval-fraction": {"": "0.2"},
        "--min-document-tokens": {"": "4"},
        "--vocab-size": {"": "500"},
        "--train-batch-size": {"": "8"},
        "--gradient-accumulation-steps": {"": "2"},
        "--num-train-steps": {"": "4"},
        "--num-warmup-steps": {"": "1"},
        "--eval-every": {"": "2"},
    },
    {"vocab": {"--vocab-size": "500"}, "generate": {"--max-seq-length": "32"}},
    {"900000": "3", "100000": "2"},
    {"shards/seq128": "shards/seq32", "shards/seq512": "shards/seq64"},
)
SMALL = Size(
    {
        "--bert-config": {"": "tiny"},
        "--eval-fraction": {"": "0.02"},
        "--train-batch-size": {"": "32"},
        "--gradient-accumulation-steps": {"": "2"},
        "--num-train-steps": {"": "100"},
        "--num-warmup-steps": {"": "10"},
        "--eval-every": {"": "50"},
    },
    {},
    {"900000": "60", "100000": "20"},
    {},
)
# Google's checkpoint of tests/golden has 500 tokens and 64 positions.
SMALL_GOOGLE = replace(SMALL, replaced={**SMALL.replaced, "--max-seq-length": {"128": "64"}})
TOY_CONFIG = {
    **dict.fromkeys(("hidden_size", "intermediate_size", "max_position_embeddings"), 64),
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def recipes() -> dict[str, list[list[str]]]:
    """Title of a recipe -> its commands in order, each as its words."""
    sections = re.split(r"^## (?=\d)", PAGE, flags=re.MULTILINE)[1:]
    return {section.splitlines()[0]: list(commands(section)) for section in sections}


def commands(section: str) -> Iterator[list[str]]:
    """The words of each `$ maskmill` command of a section, without `maskmill`."""
    for block in blocks(section, "console"):
        for line in join_lines(block):
            if line.startswith("$ maskmill "):
                yield shlex.split(line)[2:]


def lay_out(folder: Path, books: Iterable[dict[str, str]], poems: Iterable[dict[str, str]]) -> None:
    """Puts what the recipes begin with into a folder: `corpus`, `wiki`, `poems`, `more`, and Google's checkpoint."""
    books = list(books)
    for name in ("corpus", "more", "wiki/AA", "poems"):
        (folder / name).mkdir(parents=True)
    write_lines(folder / "corpus/books.jsonl.gz", books)
    write_lines(folder / "more/books.jsonl.gz", books[len(books) // 2 :])
    write_lines(folder / "poems/poems.jsonl.gz", poems)
    documents = (
        f'<doc id="{number}" url="" title="{book["title"]}">\n{book["title"]}\n\n{book["text"]}\n</doc>\n'
        for number, book in enumerate(books)
    )
    (folder / "wiki/AA/wiki_00").write_text("".join(documents))
    (folder / "toy.json").write_text(json.dumps(TOY_CONFIG))
    lay_out_google(folder / "uncased_L-12_H-768_A-12", (word for book in books for word in book["text"].split()))


def lay_out_google(folder: Path, words: Iterable[str]) -> None:
    """A checkpoint of Google's making, with a vocabulary of its 500 tokens."""
    shutil.copytree(GOLDEN / "google_tiny_checkpoint", folder)
    letters = [f"{prefix}{chr(code)}" for prefix in ("", "##") for code in range(ord("a"), ord("z") + 1)]
    seen = dict.fromkeys(filter(str.isascii, filter(str.isalpha, map(str.lower, words))))
    tokens = list(dict.fromkeys([*SPECIAL_TOKENS, *letters, *",.;'", *seen, *(f"[unused{n}]" for n in range(500))]))
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens[:500]))


def write_lines(path: Path, documents: Iterable[dict[str, str]]) -> None:
    """JSON lines, compressed."""
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)


def corpus_documents(name: str, most: int | None = None) -> list[dict[str, str]]:
    """The documents of a file of `CORPUS`."""
    with gzip.open(CORPUS / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, most)]

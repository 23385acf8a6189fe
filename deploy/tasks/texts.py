"""The texts that a model is to be used on: INPUT -> documents with names, a few at a time."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from maskmill.deploy.terminal.inputs import list_documents, show_reading
from maskmill.deploy.terminal.messages import warn
from maskmill.deploy.terminal.numbers import count
from maskmill.pipeline.jobs.corpus import REJECTED, REPAIRED, check_reading, name_inputs
from maskmill.pipeline.reading.documents import ReadOptions, Rejected
from maskmill.pipeline.reading.files import list_parts
from maskmill.pipeline.reading.parts import read_documents

MOST_TEXTS = 8192  # in memory at once
MOST_CHARACTERS = 1 << 20  # and theirs, but for the last text's


class NamedText(NamedTuple):
    """A text and its id: that of its --id-field, else `file:place`."""

    id: str
    text: str


class TextReader:
    """Reads texts, and counts those that were repaired or cannot be used."""

    def __init__(self, inputs: Sequence[str], options: ReadOptions):
        """Raises InputError when an input names no file, or one that is no documents by its name."""
        self.inputs, self.options = inputs, options
        list_documents(inputs, options)
        self.parts = list(list_parts(inputs, sys.maxsize))  # whole files: one process reads them
        self.counts: Counter[str] = Counter()
        self.first_rejected: str | None = None
        self.without_id = 0  # though they were to have one

    @property
    def files(self) -> list[str]:
        """The file of each part of the inputs."""
        return [part.path for part in self.parts]

    def read(self) -> Iterator[NamedText]:
        """All texts that can be used. Raises InputError when there are none, or a file cannot be read."""
        for part in self.parts:
            for document in read_documents(part, self.options):
                place = f"{part.path}:{document.place}"
                self.counts["documents/read"] += 1
                if isinstance(document, Rejected):
                    self.counts[REJECTED + document.reason] += 1
                    self.first_rejected = self.first_rejected or place
                else:
                    self.counts.update(REPAIRED + repair for repair in document.repairs)
                    self.without_id += bool(self.options.id_field) and document.id is None
                    yield NamedText(place if document.id is None else document.id, document.text)
        check_reading(name_inputs(self.inputs), self.counts, max_rejected=1)

    def read_some(self, most_characters: int = MOST_CHARACTERS) -> Iterator[list[NamedText]]:
        """As `read`, so many texts at a time as are to be in memory."""
        some: list[NamedText] = []
        characters = 0
        for text in self.read():
            some.append(text)
            characters += len(text.text)
            if len(some) == MOST_TEXTS or characters >= most_characters:
                yield some
                some, characters = [], 0
        if some:
            yield some

    def show_dirt(self) -> None:
        """Says how many texts were rejected or repaired, and why; and where the first is that was rejected."""
        show_reading(self.counts)
        if self.without_id:
            some = count(self.without_id, "text")
            warn(f"{some} without {self.options.id_field}, the --id-field: named by file and line instead")
        if self.first_rejected:
            warn(f"The first that was rejected: {self.first_rejected}")

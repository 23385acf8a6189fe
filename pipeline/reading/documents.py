"""Documents: what readers give, and the rules by which a text is taken, repaired, or rejected."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from maskmill.pipeline.reading.languages import LANGUAGES, SHOWN_LANGUAGES
from maskmill.tokenizer.errors import InputError, NoRoomError

InputFormat = Literal["auto", "text", "lines", "jsonl", "parquet", "wiki"]
PlainText = Literal["text", "lines"]

MAX_DOCUMENT_BYTES = 100_000_000  # of a line, a document or a table's cell: twenty times the Bible
MAX_CHARACTERS = 16_000_000  # of a document, several times the Bible: what is longer is cut
CUT_WINDOW = 100_000  # characters in which a place to cut is looked for
EXCERPT_CHARACTERS = 200
MAX_REJECTED = 0.01  # share of the documents that may be rejected before a run fails
DIGEST_BYTES = 16

BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class ReadOptions:
    """How files are read. The documents matter to the output, how they were stored does not.

    Raises InputError where a value is none of those that it may have.
    """

    input_format: InputFormat = "auto"
    text_field: str = "text"  # of a JSON line or Parquet row; a.b is b in a
    id_field: str | None = None  # the same; None: documents have no ids
    split_sentences: str = "auto"  # "none", "auto" or a language code such as "en"
    language: str = "en"  # what "auto" takes for raw text; "auto" itself: by the script of each document
    plain_text: PlainText = "text"  # what input_format "auto" takes for a file of no other format
    max_document_bytes: int = MAX_DOCUMENT_BYTES  # of a line, a document or a cell; longer ones are rejected
    document_room: int | None = None  # bytes of a document that there is memory for: a longer one ends the run

    def __post_init__(self) -> None:
        if self.input_format not in get_args(InputFormat):
            raise InputError(f"input_format is {self.input_format}", expected=f"{', '.join(get_args(InputFormat))}")
        for name, field in (("text_field", self.text_field), ("id_field", self.id_field)):
            if field == "":
                raise InputError(f"{name} is empty", expected="the name of a field or column")
        if self.max_document_bytes < 1:
            raise InputError(f"max_document_bytes is {self.max_document_bytes}", expected="1 or more, such as 100MB")
        for name, value, words in (
            ("split_sentences", self.split_sentences, ("auto", "none")),
            ("language", self.language, ("auto",)),
        ):
            if value not in words and value not in LANGUAGES:
                raise InputError(
                    f"{name} is {value}, for which there are no rules to split sentences",
                    expected=(
                        f"{', '.join(words)} or a language code: {', '.join(SHOWN_LANGUAGES)}, or one that "
                        "shares their rules"
                    ),
                    way_out="give the one whose punctuation is most like it, such as en",
                )

    @property
    def longest(self) -> int:
        """The bytes of the longest document that is taken."""
        return min(self.max_document_bytes, self.document_room or self.max_document_bytes)


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was read. In BERT's text format each of its lines is a sentence already."""

    text: str
    lines_are_sentences: bool
    place: int = 1  # the number of its line in the file, or of its row in a table, the first being 1
    id: str | None = None
    repairs: tuple[str, ...] = ()  # what was done to the text


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that was rejected, and why."""

    place: int  # as a document's
    reason: str
    excerpt: str = ""


def make_documents(
    text: str, place: int, lines_are_sentences: bool, id: str | None = None, is_clean: bool = False
) -> Iterator[Document | Rejected]:
    """A text as it was found -> the document that it is, repaired, or cut into several, or why it is none.

    Args:
        text: of one document.
        place: where it was found.
        lines_are_sentences: as in BERT's text format.
        id: of the document.
        is_clean: whether it is known to have no lone surrogates.
    """
    if not is_clean and not _is_clean(text):
        yield Rejected(place, "invalid UTF-8", clip(text))
        return
    repairs = []
    if text.startswith(BYTE_ORDER_MARK):
        text = text.removeprefix(BYTE_ORDER_MARK)
        repairs.append("byte order mark removed")
    if "\0" in text:
        text = text.replace("\0", "")
        repairs.append("NUL characters removed")
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        if "\r" in text:
            text = text.replace("\r", "\n")
            repairs.append("carriage returns read as line ends")
    if not text or text.isspace():
        yield Rejected(place, "empty text")
        return
    if len(text) <= MAX_CHARACTERS:
        yield Document(text, lines_are_sentences, place, id, tuple(repairs))
        return
    repairs.append(f"cut after {MAX_CHARACTERS:,} characters")
    for piece in cut_text(text, MAX_CHARACTERS, CUT_WINDOW):
        yield Document(piece, lines_are_sentences, place, None, tuple(repairs))  # else one would be kept of an id


def is_longer(text: str, longest: int) -> bool:
    """Whether a text has more than so many bytes in UTF-8."""
    if 4 * len(text) <= longest or text.isascii():
        return len(text) > longest
    return len(text.encode(errors="surrogatepass")) > longest


def reject_long(place: int, excerpt: str, options: ReadOptions) -> Rejected:
    """A document that is longer than the options allow. Raises NoRoomError where it is the memory that does not."""
    if options.longest < options.max_document_bytes:
        raise NoRoomError(
            f"a document is longer than {options.longest:,} bytes, for which --memory-limit leaves no room",
            way_out=(
                "give a larger one, fewer --num-workers, or --max-document-bytes "
                f"{options.longest} to reject such documents"
            ),
        )
    return Rejected(place, f"longer than {options.max_document_bytes:,} bytes", excerpt)


def cut_text(text: str, longest: int, window: int) -> Iterator[str]:
    """Pieces of at most `longest` characters, none blank, cut at the last line end, stop or blank in the `window`.

    >>> list(cut_text("one two, three four", 12, 8))
    ['one two,', 'three four']
    """
    start = 0
    while len(text) - start > longest:
        latest = start + longest
        for marks in ("\n", ".!?。！？؟।", ";:；：", ",，、،", " \u3000\t"):
            end = max(text.rfind(mark, latest - window, latest) for mark in marks) + 1
            if end:
                break
        else:
            end = latest
        if piece := text[start:end].strip():
            yield piece
        start = end
    if piece := text[start:].strip():
        yield piece


def content_of(text: str) -> bytes:
    r"""What a document is known by: its text in UTF-8, without ASCII blanks and blank ends, which formats add and drop.

    How it is split into sentences, and the vocabulary, change nothing of it.

    >>> content_of("one\n\ntwo")
    b'onetwo'
    """
    return text.strip().encode().translate(None, b" \t\n\r")


def digest_of(content: bytes) -> bytes:
    """The digest of a document's content, 16 bytes."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def clip(text: str) -> str:
    """The beginning of a text, in characters that can be written."""
    return text[:EXCERPT_CHARACTERS].encode(errors="replace").decode()


def clip_value(value: Any) -> str:
    """The beginning of a value that is no text; nothing where lists lie in lists too deep to be written."""
    try:
        return clip(str(value))
    except (RecursionError, ValueError):  # the latter for a number of thousands of digits
        return ""


def _is_clean(text: str) -> bool:
    """Whether it can be written as UTF-8: has no lone surrogates, as in JSON, or in place of bytes that were not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""Text to sentences."""

from collections import Counter
from collections.abc import Iterator

import sentencex

from maskmill.pipeline.reading.documents import Document, ReadOptions, cut_text
from maskmill.pipeline.reading.languages import BREAKS, find_language

MAX_CHARACTERS = 1_000  # of a sentence of raw text, about 200 words: text without stops is cut
MAX_LINE_CHARACTERS = 100_000  # of one in a line of its own, which is as long as its writer wants it
CUT_WINDOW = 500

# Of a paragraph: from here on its quotes are counted; the share of quotes, and the quotes without end times the
# characters, above which it is cut before it is split.
COSTLY_CHARACTERS, COSTLY_SHARE, COSTLY_STEPS = 20_000, 0.1, 1e10
ENDS = {"“": "”„", "„": "“", "‘": "’", "«": "»", "»": "«", "‹": "›", "「": "」", "《": "》"}  # of a quote
QUOTES = {*"".join([*ENDS, *ENDS.values()]), '"', "'", "`", "‚", "‛", "‟"}


def split_sentences(document: Document, options: ReadOptions) -> list[str]:
    r"""A document to its sentences, none of them blank.

    Lines of BERT's text format are sentences as they stand. Raw text is split by sentencex, which never joins
    two paragraphs; lines wrapped inside a sentence are joined with spaces, and what goes on without a stop is cut.

    >>> raw = Document("Dr. Hill came at 3.5 p.m. today. He\nleft.\n\nA new paragraph", False)
    >>> split_sentences(raw, ReadOptions())
    ['Dr. Hill came at 3.5 p.m. today.', 'He left.', 'A new paragraph']
    """
    if document.lines_are_sentences:
        lines = [stripped for line in document.text.split("\n") if (stripped := line.strip())]
        if len(document.text) <= MAX_LINE_CHARACTERS:
            return lines
        return [piece for line in lines for piece in cut_text(line, MAX_LINE_CHARACTERS, CUT_WINDOW)]
    language = options.language if options.split_sentences == "auto" else options.split_sentences
    if language == "auto":
        language = find_language(document.text)
    return [
        piece
        for sentence in _segment(document.text, language)
        for piece in cut_text(sentence, MAX_CHARACTERS, CUT_WINDOW)
    ]


def _segment(text: str, language: str) -> Iterator[str]:
    sentences = [one for piece in _cut_costly(text) for one in sentencex.segment(language, piece)]
    if breaks := BREAKS.get(language):
        sentences = [piece for sentence in sentences for piece in breaks.split(sentence)]
    return (" ".join(words) for sentence in sentences if (words := sentence.split()))


def _cut_costly(text: str) -> list[str]:
    """A text, in pieces where it has paragraphs that sentencex would take minutes or days for.

    It looks for the end of every quote up to the end of the paragraph, so that its time is quadratic in quotes that do
    not end, such as a megabyte of them. No paragraph that people write is like that.
    """
    paragraphs = text.split("\n\n") if len(text) > COSTLY_CHARACTERS else []
    if not any(map(_is_costly, paragraphs)):
        return [text]
    return [
        piece
        for paragraph in paragraphs
        for piece in (cut_text(paragraph, 2 * MAX_CHARACTERS, CUT_WINDOW) if _is_costly(paragraph) else [paragraph])
    ]


def _is_costly(paragraph: str) -> bool:
    if len(paragraph) <= COSTLY_CHARACTERS:
        return False
    quotes = Counter({mark: paragraph.count(mark) for mark in QUOTES})
    endless = sum(max(0, quotes[start] - sum(quotes[end] for end in ends)) for start, ends in ENDS.items())
    return quotes.total() > COSTLY_SHARE * len(paragraph) or endless * len(paragraph) > COSTLY_STEPS

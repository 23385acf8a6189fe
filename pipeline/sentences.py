"""Text to sentences."""

import re
from collections.abc import Iterator

import sentencex

from pipeline.documents import RawDocument, ReadOptions, cut_text

MAX_CHARACTERS = 1_000  # of a sentence of raw text, about 200 words: text without stops is cut
MAX_LINE_CHARACTERS = 100_000  # of one in a line of its own, which is as long as its writer wants it
CUT_WINDOW = 500
SAMPLE_CHARACTERS = 10_000  # whose letters tell the script of a document

# The letters of a script, and a language whose rules for stops and quotes fit. Kana goes before Han: Japanese has both.
SCRIPTS = {
    "ja": re.compile("[\u3041-\u3096\u30a1-\u30fa]"),
    "zh": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002fa1f]"),
    "ko": re.compile("[\u1100-\u11ff\uac00-\ud7a3]"),
    "ar": re.compile("[\u0620-\u06ff]"),
    "hi": re.compile("[\u0904-\u0963\u0971-\u097f]"),
    "th": re.compile("[\u0e01-\u0e5b]"),
    "ru": re.compile("[\u0400-\u052f]"),
    "en": re.compile("[A-Za-z\u00c0-\u024f]"),
}
MIN_KANA = 0.05  # of the letters: a Chinese text that quotes a Japanese name has less


def split_sentences(document: RawDocument, options: ReadOptions) -> list[str]:
    r"""A document to its sentences, none of them blank.

    Lines of BERT's text format are sentences as they stand. Raw text is split by sentencex, which never joins
    two paragraphs; lines wrapped inside a sentence are joined with spaces, and what goes on without a stop is cut.

    >>> raw = RawDocument("Dr. Hill came at 3.5 p.m. today. He\nleft.\n\nA new paragraph", False)
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
    return (" ".join(words) for sentence in sentencex.segment(language, text) if (words := sentence.split()))


def find_language(text: str) -> str:
    """A language that is written in the script of a text's beginning; English where it has no letters that we know.

    >>> find_language("Он пришёл."), find_language("東京に行く。"), find_language("我们去公园。"), find_language("42")
    ('ru', 'ja', 'zh', 'en')
    """
    sample = text[:SAMPLE_CHARACTERS]
    letters = {language: len(script.findall(sample)) for language, script in SCRIPTS.items()}
    if letters["ja"] > MIN_KANA * sum(letters.values()):
        return "ja"
    return max(letters, key=lambda language: (letters[language], language == "en"))

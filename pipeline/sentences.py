"""Text to sentences."""

import sentencex

from pipeline.documents import RawDocument, ReadOptions


def split_sentences(document: RawDocument, options: ReadOptions) -> list[str]:
    r"""A document to its sentences, none of them blank.

    Lines of BERT's text format are sentences as they stand. Raw text is split by sentencex, which never joins
    two paragraphs; lines wrapped inside a sentence are joined with spaces.

    >>> raw = RawDocument("Dr. Hill came at 3.5 p.m. today. He\nleft.\n\nA new paragraph", False)
    >>> split_sentences(raw, ReadOptions())
    ['Dr. Hill came at 3.5 p.m. today.', 'He left.', 'A new paragraph']
    """
    if document.lines_are_sentences:
        return [sentence for line in document.text.split("\n") if (sentence := line.strip())]
    language = options.language if options.split_sentences == "auto" else options.split_sentences
    return [" ".join(words) for piece in sentencex.segment(language, document.text) if (words := piece.split())]

"""WordPiece: words to vocabulary pieces. Readable, and the rule that faster code must equal."""

from tokenizer.basic import split_words
from tokenizer.vocab import UNK, Vocab

MAX_WORD_LENGTH = 200  # code points; a longer word becomes [UNK], as in google-research/bert


def split_pieces(word: str, vocab: Vocab) -> list[str]:
    """Splits one word greedily into its longest pieces from the left; `[UNK]` when any part has no piece.

    Every piece but the first begins with `##`. Source: `WordpieceTokenizer.tokenize` of google-research/bert.
    """
    if len(word) > MAX_WORD_LENGTH:
        return [UNK]
    pieces = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(len(word), start, -1):
            piece = prefix + word[start:end]
            if piece in vocab.ids:
                break
        else:
            return [UNK]
        pieces.append(piece)
        start = end
    return pieces


class FullTokenizer:
    """Text to pieces: the basic tokenizer, then WordPiece, as `FullTokenizer` of google-research/bert.

    Special tokens written in the text (`[MASK]`) are ordinary text and are split apart.
    """

    def __init__(self, vocab: Vocab, cased: bool = False):
        self.vocab = vocab
        self.cased = cased

    def tokenize(self, text: str) -> list[str]:
        """Text to pieces, each of them in the vocabulary."""
        return [piece for word in split_words(text, self.cased) for piece in split_pieces(word, self.vocab)]

    def encode(self, text: str) -> list[int]:
        """Text to the ids of its pieces."""
        return [self.vocab.ids[piece] for piece in self.tokenize(text)]

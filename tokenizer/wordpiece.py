"""WordPiece: words to vocabulary pieces. Readable, and the rule that faster code must equal."""

from maskmill.tokenizer.basic import split_off_added, split_words
from maskmill.tokenizer.rules import MAX_WORD_LENGTH, TextRules, as_rules
from maskmill.tokenizer.vocab import UNK, Vocab


def split_pieces(word: str, vocab: Vocab, max_word_length: int = MAX_WORD_LENGTH) -> list[str]:
    """Splits one word greedily into its longest pieces from the left; `[UNK]` when any part has no piece.

    Every piece but the first begins with `##`. Source: `WordpieceTokenizer.tokenize` of google-research/bert.
    """
    if len(word) > max_word_length:
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

    def __init__(self, vocab: Vocab, cased: bool | TextRules = False):
        """With other rules in place of `cased`, as another BERT tokenizer with these settings and added tokens."""
        self.vocab = vocab
        self.rules = as_rules(cased)
        self.cased = self.rules.cased
        self._names = {token.id: token.content for token in self.rules.added_tokens}

    def tokenize(self, text: str) -> list[str]:
        """Text to pieces, each of them in the vocabulary or an added token."""
        pieces: list[str] = []
        for part in split_off_added(text, self.rules):
            pieces += [self._names[part]] if isinstance(part, int) else self._tokenize_plain(part)
        return pieces

    def encode(self, text: str) -> list[int]:
        """Text to the ids of its pieces."""
        ids: list[int] = []
        for part in split_off_added(text, self.rules):
            ids += [part] if isinstance(part, int) else [self.vocab.ids[piece] for piece in self._tokenize_plain(part)]
        return ids

    def _tokenize_plain(self, text: str) -> list[str]:
        longest = self.rules.max_input_chars_per_word
        return [piece for word in split_words(text, self.rules) for piece in split_pieces(word, self.vocab, longest)]

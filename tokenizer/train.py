"""Words and how often they occur -> a WordPiece vocabulary."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokenizer.basic import split_words
from tokenizer.errors import InputError
from tokenizer.vocab import SPECIAL_TOKENS, Vocab
from tokenizer.wordpiece import MAX_WORD_LENGTH

PRIVATE_USE = range(0xF0000, 0xFFFFE)  # stands for the characters inside a word while merges are learned
REPEATS_PER_LINE = 10_000


class WordCounter:
    """Counts the words of many lines, as BERT's basic tokenizer makes them."""

    def __init__(self, cased: bool = False):
        self.cased = cased

    def count(self, lines: Iterable[str]) -> Counter[str]:
        """Lines to their words and how often each occurs.

        >>> WordCounter().count(["To be, or", "not to be"])
        Counter({'to': 2, 'be': 2, ',': 1, 'or': 1, 'not': 1})
        """
        # No rule of the tokenizer looks across a space, so each distinct stretch between spaces is tokenised once.
        stretches = Counter(stretch for line in lines for stretch in line.split(" "))
        words: Counter[str] = Counter()
        for stretch, count in stretches.items():
            for word in split_words(stretch, self.cased):
                words[word] += count
        return words


def train_vocab(
    counts: Mapping[str, int], vocab_size: int = 30_522, min_frequency: int = 2, limit_alphabet: int | None = None
) -> Vocab:
    """Learns a WordPiece vocabulary; the same counts and options always give the same tokens in the same order.

    The merges are those of byte-pair encoding, as in the `WordPieceTrainer` of `tokenizers`, whose own numbering of
    `##` pieces changes from run to run. So each character inside a word is replaced by one of its own before plain
    BPE is trained, and what BPE made is written with `##` afterwards.

    Args:
        counts: word -> how often it occurs.
        vocab_size: tokens wanted, special ones included.
        min_frequency: pairs of pieces that occur less often are not merged.
        limit_alphabet: characters kept, the most frequent ones; words with others become `[UNK]`. None: a quarter
            of the vocabulary, at least 1,000.

    Raises InputError when there are no words, or the vocabulary is too small for the alphabet.
    """
    if not counts:
        raise InputError("INPUT holds no words to train a vocabulary on; give text files")
    alphabet = _frequent_characters(counts, limit_alphabet or max(1_000, vocab_size // 4))
    inner = {char: chr(PRIVATE_USE[index]) for index, char in enumerate(alphabet)}
    outer = {private: char for char, private in inner.items()}
    words = {
        word[0] + "".join(inner[char] for char in word[1:]): count
        for word, count in counts.items()
        if len(word) <= MAX_WORD_LENGTH and all(char in inner for char in word)
    }
    characters = {char for word in words for char in word}
    smallest = len(SPECIAL_TOKENS) + len(characters)
    if vocab_size < smallest:
        raise InputError(
            f"vocab_size is {vocab_size}; expected {smallest} or more: {len(SPECIAL_TOKENS)} special tokens and "
            f"{len(characters)} characters, alone and with ##"
        )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    bpe.train_from_iterator(_repeat(words), trainer)
    by_id = sorted(bpe.get_vocab().items(), key=lambda item: item[1])
    return Vocab([_write_with_hashes(token, outer) for token, _ in by_id], "the trained vocabulary")


def _frequent_characters(counts: Mapping[str, int], limit: int) -> list[str]:
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for char in word:
            characters[char] += count
    # The text's own private-use characters would be taken for ours.
    usable = [char for char in characters if ord(char) < PRIVATE_USE.start]
    return sorted(sorted(usable, key=lambda char: (-characters[char], char))[:limit])


def _repeat(counts: Mapping[str, int]) -> Iterator[str]:
    """Each word as often as it was counted, in sorted order, in lines of bounded length."""
    for word, count in sorted(counts.items()):
        while count:
            repeats = min(count, REPEATS_PER_LINE)
            yield " ".join([word] * repeats)
            count -= repeats


def _write_with_hashes(token: str, outer: Mapping[str, str]) -> str:
    if token in SPECIAL_TOKENS:
        return token
    text = "".join(outer.get(char, char) for char in token)
    return "##" + text if token[0] in outer else text

"""Words and how often they occur -> a WordPiece vocabulary."""

import math
from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from maskmill.tokenizer.config import VocabConfig
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.rules import MAX_WORD_LENGTH
from maskmill.tokenizer.vocab import Vocab

PRIVATE_USE = range(0xF0000, 0xFFFFE)  # stands for the characters inside a word while merges are learned
MAX_OCCURRENCES = 50_000_000  # of words that the trainer is given; it reads each, half a second a million
REPEATS_PER_LINE = 10_000


def train_vocab(counts: Mapping[str, int], config: VocabConfig) -> Vocab:
    """Learns a WordPiece vocabulary; the same counts and options always give the same tokens in the same order.

    The merges are those of byte-pair encoding, as in the `WordPieceTrainer` of `tokenizers`, whose own numbering of
    `##` pieces changes from run to run. So each character inside a word is replaced by one of its own before plain
    BPE is trained, and what BPE made is written with `##` afterwards. Where there is nothing left to merge, as in
    Chinese, whose characters are words, the rest of the vocabulary goes to the characters beyond the alphabet.

    Args:
        counts: word -> how often it occurs.
        config: the vocabulary wanted.

    Raises InputError when there are no words, or the vocabulary is too small for the alphabet.
    """
    if not counts:
        raise InputError("INPUT holds no words to train a vocabulary on", way_out="give text files")
    counts = {word: count for word, count in counts.items() if len(word) <= MAX_WORD_LENGTH}  # longer ones are [UNK]
    alphabet = _frequent_characters(counts, config.max_characters)
    inner = {char: chr(PRIVATE_USE[index]) for index, char in enumerate(alphabet)}
    outer = {private: char for char, private in inner.items()}
    words = {
        word[0] + "".join(inner[char] for char in word[1:]): count
        for word, count in counts.items()
        if all(char in inner for char in word)
    }
    characters = {char for word in words for char in word}
    special_tokens = config.all_special_tokens
    smallest = len(special_tokens) + len(characters)
    if config.vocab_size < smallest:
        raise InputError(
            f"vocab_size is {config.vocab_size}",
            expected=(
                f"{smallest} or more: {len(special_tokens)} special tokens and {len(characters)} characters, "
                "alone and with ##"
            ),
            way_out="or give a smaller --limit-alphabet",
        )
    share = math.ceil(sum(words.values()) / MAX_OCCURRENCES)
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=math.ceil(config.min_frequency / share),
        special_tokens=special_tokens,
        initial_alphabet=sorted(characters),
        show_progress=False,
    )
    bpe.train_from_iterator(_repeat(words, share), trainer)
    by_id = sorted(bpe.get_vocab().items(), key=lambda item: item[1])
    tokens = [_write_with_hashes(token, outer, special_tokens) for token, _ in by_id]
    if config.limit_alphabet is None:
        tokens += _character_tokens(counts, inner)[: config.vocab_size - len(tokens)]
    return Vocab(tokens, "the trained vocabulary")


def _character_tokens(counts: Mapping[str, int], known: Container[str]) -> list[str]:
    """The characters that are not known, alone or with ## as they stand in words, the most frequent first."""
    tokens: Counter[str] = Counter()
    for word, count in counts.items():
        for place, char in enumerate(word):
            if char not in known and ord(char) < PRIVATE_USE.start:
                tokens["##" + char if place else char] += count
    return sorted(tokens, key=lambda token: (-tokens[token], token))


def _frequent_characters(counts: Mapping[str, int], limit: int) -> list[str]:
    # The text's own private-use characters would be taken for ours.
    usable = {char: count for char, count in count_characters(counts).items() if ord(char) < PRIVATE_USE.start}
    return sorted(sorted(usable, key=lambda char: (-usable[char], char))[:limit])


def count_characters(counts: Mapping[str, int]) -> Counter[str]:
    """How often each character occurs in words that were counted."""
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        for char in word:
            characters[char] += count
    return characters


def _repeat(counts: Mapping[str, int], share: int) -> Iterator[str]:
    """Each word as often as it was counted, divided by `share`, in sorted order, in lines of bounded length."""
    for word, count in sorted(counts.items()):
        left = (count + share // 2) // share
        while left:
            repeats = min(left, REPEATS_PER_LINE)
            yield " ".join([word] * repeats)
            left -= repeats


def _write_with_hashes(token: str, outer: Mapping[str, str], special_tokens: Collection[str]) -> str:
    if token in special_tokens:
        return token
    text = "".join(outer.get(char, char) for char in token)
    return "##" + text if token[0] in outer else text

"""The options of a vocabulary that is to be trained."""

import re
from collections import Counter
from dataclasses import dataclass

from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import SPECIAL_TOKENS


@dataclass(frozen=True)
class VocabConfig:
    """The options of `train_vocab`. Raises InputError for a special token that text could have, or a doubled one."""

    vocab_size: int = 30_522  # tokens wanted, special ones included
    cased: bool = False
    min_frequency: int = 2  # pairs of pieces that occur less often are not merged
    # Characters kept, the most frequent; None: a quarter of vocab_size, at least 1,000, and more where there is room.
    limit_alphabet: int | None = None
    reserve: int = 0  # [unused0] ... to be given a meaning later
    special_tokens: tuple[str, ...] = ()  # beside BERT's own

    def __post_init__(self) -> None:
        for token in self.special_tokens:
            if not re.fullmatch(r"\[[^\[\]\s]+\]", token):
                raise InputError(f"special_tokens has {token!r}", expected="a name in brackets such as [ENTITY]")
        fixed = len(SPECIAL_TOKENS) + len(self.special_tokens)
        if not 0 <= self.reserve < self.vocab_size - fixed:
            raise InputError(
                f"reserve is {self.reserve}",
                expected=(
                    f"0 or more, and fewer than {self.vocab_size - fixed}, which is vocab_size less {fixed} "
                    "special tokens"
                ),
            )
        repeated = [token for token, count in Counter(self.all_special_tokens).items() if count > 1]
        if repeated:
            raise InputError(
                f"special_tokens has {repeated[0]}, which the vocabulary has already", way_out="leave it out"
            )

    @property
    def all_special_tokens(self) -> list[str]:
        """The tokens that do not come from text, in the order of their ids."""
        return [*SPECIAL_TOKENS, *self.special_tokens, *(f"[unused{number}]" for number in range(self.reserve))]

    @property
    def max_characters(self) -> int:
        """The size of the alphabet at the most."""
        return max(1_000, self.vocab_size // 4) if self.limit_alphabet is None else self.limit_alphabet

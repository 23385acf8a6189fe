"""What shapes a dataset. Every field is written to the manifest; nothing else changes a byte of the output."""

from dataclasses import dataclass

from tokenizer.errors import InputError


@dataclass(frozen=True)
class InstanceConfig:
    """How documents become instances. Names, meaning and defaults are those of google-research/bert.

    Lengths are in tokens, `[CLS]` and `[SEP]` included. Raises InputError where a value makes no sense.
    """

    max_seq_length: int = 128
    max_predictions_per_seq: int = 20
    masked_lm_prob: float = 0.15
    short_seq_prob: float = 0.1
    dupe_factor: int = 10
    whole_word_mask: bool = False
    cased: bool = False
    eval_fraction: float = 0.0  # share of the documents set aside, by content
    random_seed: int = 12345
    shards_per_copy: int | None = None  # None: chosen from the documents

    def __post_init__(self) -> None:
        def check(name: str, holds: bool, expected: str) -> None:
            if not holds:
                raise InputError(f"{name} is {getattr(self, name)}; expected {expected}")

        check("max_seq_length", 8 <= self.max_seq_length <= 1 << 15, "8 to 32768 tokens (BERT: 128 or 512)")
        check(
            "max_predictions_per_seq",
            1 <= self.max_predictions_per_seq <= self.max_num_tokens,
            f"1 to {self.max_num_tokens}: max_seq_length is {self.max_seq_length}, less [CLS] and two [SEP] "
            f"(BERT: about max_seq_length * masked_lm_prob)",
        )
        check("masked_lm_prob", 0 < self.masked_lm_prob <= 1, "a share above 0, at most 1 (BERT: 0.15)")
        check("short_seq_prob", 0 <= self.short_seq_prob <= 1, "a share from 0 to 1 (BERT: 0.1)")
        check("dupe_factor", self.dupe_factor >= 1, "1 or more copies (BERT: 10)")
        check("eval_fraction", 0 <= self.eval_fraction < 1, "a share from 0 to less than 1, such as 0.05")
        if self.shards_per_copy is not None:
            check("shards_per_copy", 1 <= self.shards_per_copy <= 100_000, "1 to 100000")

    @property
    def max_num_tokens(self) -> int:
        """Tokens of text in an instance: its length without `[CLS]` and two `[SEP]`."""
        return self.max_seq_length - 3

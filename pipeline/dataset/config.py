"""What shapes a dataset. Every field is written to the manifest; nothing else changes a byte of the output."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from maskmill.tokenizer.errors import InputError

Format = Literal[
    "tfrecord", "parquet", "tokens"
]  # instances as tf.train.Example, as columns; or what they are drawn of
Compression = Literal["none", "gzip"]
MAX_SHARDS = 10_000_000  # 10 TB of text, ten copies, make about a million

Objective = Literal["nsp", "sop", "mlm"]  # of BERT, of ALBERT, of RoBERTa


@dataclass(frozen=True)
class InstanceConfig:
    """How documents become instances. Names, meaning and defaults are those of google-research/bert.

    Lengths are in tokens, `[CLS]` and `[SEP]` included. Raises InputError where a value makes no sense.
    """

    objective: Objective = "nsp"
    max_seq_length: int = 128
    max_predictions_per_seq: int = 20
    masked_lm_prob: float = 0.15
    short_seq_prob: float = 0.1
    dupe_factor: int = 10
    whole_word_mask: bool = False
    cased: bool = False
    eval_fraction: float = 0.0  # share of the documents held out, by content
    random_seed: int = 12345
    dedup: bool = False  # exact duplicates of a document are dropped
    min_sentence_tokens: int = 1  # shorter sentences are dropped
    min_document_tokens: int = 1  # shorter documents are dropped
    max_document_tokens: int | None = None  # longer documents are cut into several
    exclude_unk_above: float | None = None  # documents with a larger share of [UNK] are dropped
    shards_per_copy: int | None = None  # None: chosen from the documents
    compression: Compression = "none"
    format: Format = "tfrecord"

    def __post_init__(self) -> None:
        def check(name: str, holds: bool, expected: str) -> None:
            if not holds:
                raise InputError(f"{name} is {getattr(self, name)}", expected=f"{expected}")

        check(
            "objective",
            self.objective in get_args(Objective),
            "nsp (next sentence, BERT), sop (sentence order, ALBERT) or mlm (no pairs, RoBERTa)",
        )
        check("format", self.format in get_args(Format), "tfrecord, parquet or tokens")
        check(
            "compression",
            self.compression == "none" or self.format != "tokens",
            "none: with format tokens, ids are stored as they are used",
        )
        check("max_seq_length", 8 <= self.max_seq_length <= 1 << 15, "8 to 32768 tokens (BERT: 128 or 512)")
        check(
            "max_predictions_per_seq",
            1 <= self.max_predictions_per_seq <= self.max_num_tokens,
            f"1 to {self.max_num_tokens}: max_seq_length is {self.max_seq_length}, less [CLS] and "
            f"{'one [SEP]' if self.objective == 'mlm' else 'two [SEP]'} (BERT: about max_seq_length * masked_lm_prob)",
        )
        check("masked_lm_prob", 0 < self.masked_lm_prob <= 1, "a share above 0, at most 1 (BERT: 0.15)")
        check("short_seq_prob", 0 <= self.short_seq_prob <= 1, "a share from 0 to 1 (BERT: 0.1)")
        check("dupe_factor", 1 <= self.dupe_factor <= 10_000, "1 to 10,000 copies (BERT: 10)")
        check("eval_fraction", 0 <= self.eval_fraction < 1, "a share from 0 to less than 1, such as 0.05")
        check("min_sentence_tokens", self.min_sentence_tokens >= 1, "1 or more tokens")
        check("min_document_tokens", self.min_document_tokens >= 1, "1 or more tokens")
        if self.max_document_tokens is not None:
            smallest = max(self.min_document_tokens, self.max_num_tokens)
            check(
                "max_document_tokens",
                self.max_document_tokens >= smallest,
                f"{smallest} tokens or more: an instance's and min_document_tokens",
            )
        if self.exclude_unk_above is not None:
            check("exclude_unk_above", 0 <= self.exclude_unk_above < 1, "a share from 0 to less than 1, such as 0.1")
        if self.shards_per_copy is not None:
            check("shards_per_copy", 1 <= self.shards_per_copy <= 1_000_000, "1 to 1000000")
            check(
                "shards_per_copy",
                self.shards_per_copy * self.dupe_factor <= MAX_SHARDS,
                f"at most {MAX_SHARDS // self.dupe_factor:,}: with dupe_factor {self.dupe_factor}, more make over "
                f"{MAX_SHARDS:,} files",
            )

    def to_values(self) -> dict[str, Any]:
        """What the manifest holds, for JSON: as before there were formats, where it is the first of them."""
        values = asdict(self)
        if self.format == "tfrecord":
            del values["format"]
        return values

    def with_length(self, max_seq_length: int, max_predictions_per_seq: int | None = None) -> "InstanceConfig":
        """The same for another length, by default with as many predictions as `masked_lm_prob` asks for.

        >>> InstanceConfig().with_length(512).max_predictions_per_seq
        77
        """
        if max_predictions_per_seq is None:
            max_predictions_per_seq = math.ceil(max_seq_length * self.masked_lm_prob)
        return replace(self, max_seq_length=max_seq_length, max_predictions_per_seq=max_predictions_per_seq)

    @property
    def train_copies(self) -> int:
        """Copies that are written of a document to train on; with format tokens they are drawn while training."""
        return 1 if self.format == "tokens" else self.dupe_factor

    @property
    def copies(self) -> float:
        """Copies that are written of a document, on average: of one that is held out for evaluation there is one."""
        return self.train_copies * (1 - self.eval_fraction) + self.eval_fraction

    @property
    def max_num_tokens(self) -> int:
        """Tokens of text in an instance: its length without `[CLS]` and two `[SEP]`, or one for mlm."""
        return self.max_seq_length - (2 if self.objective == "mlm" else 3)

    @property
    def has_filters(self) -> bool:
        """Whether anything is dropped of documents, but for duplicates."""
        return (
            self.min_sentence_tokens > 1
            or self.min_document_tokens > 1
            or self.max_document_tokens is not None
            or self.exclude_unk_above is not None
        )

"""The oracle equals the output of google-research/bert itself."""

import gzip
import json
import random

import google_reference
import pytest
from places import GOLDEN

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.reading.parts import read_documents
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.tokenizer.vocab import Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer


@pytest.mark.parametrize("name", ["sample_128", "sample_128_wwm", "sample_512", "sample_64_short"])
def test_oracle_equals_googles_instances(name):
    with gzip.open(GOLDEN / f"instances_{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        settings, *expected = map(json.loads, lines)
    config = InstanceConfig(
        max_seq_length=settings["max_seq_length"],
        max_predictions_per_seq=settings["max_predictions_per_seq"],
        dupe_factor=settings["dupe_factor"],
        whole_word_mask=settings["do_whole_word_mask"],
        masked_lm_prob=settings["masked_lm_prob"],
        short_seq_prob=settings["short_seq_prob"],
    )
    vocab = Vocab.load(GOLDEN / "bert-base-uncased-vocab.txt")
    tokenizer = FullTokenizer(vocab)
    documents = [
        [tokenizer.tokenize(sentence) for sentence in split_sentences(document, ReadOptions())]
        for document in read_documents(FilePart(str(GOLDEN / "sample_text.txt")), ReadOptions())
    ]

    rng = random.Random(settings["random_seed"])
    instances = google_reference.create_instances(documents, vocab.tokens, config, rng)

    assert len(instances) == settings["num_instances"] == len(expected)
    assert [vars(instance) for instance in instances] == expected

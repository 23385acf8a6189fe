"""A pool of documents becomes shards: one for each copy, its instances in random order."""

import numpy as np

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import features
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pools import Pools, pack_document
from maskmill.pipeline.jobs.shards import ShardBuilder
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.tfrecord import read_records
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab

SPECIALS, SENTENCES, SENTENCE = len(SPECIAL_TOKENS), 400, 30  # tokens of a sentence: one fills an instance


def test_instances_of_a_document_are_shuffled_and_each_copy_in_another_way(tmp_path):
    vocab = Vocab([*SPECIAL_TOKENS, *(f"word{number}" for number in range(SENTENCES * SENTENCE))])
    config = InstanceConfig(
        objective="mlm", max_seq_length=SENTENCE + 2, max_predictions_per_seq=1, short_seq_prob=0, dupe_factor=2
    )
    ids = np.arange(SPECIALS, SPECIALS + SENTENCES * SENTENCE).astype(np.uint16)  # so a token tells its place
    document = pack_document(bytes(16), ids, np.full(SENTENCES, SENTENCE))
    pool = PackedPool.gather([document], np.dtype(np.uint16))
    Unfinished(str(tmp_path)).start({})
    orders = []
    for shard in ShardBuilder(vocab, Target(config, str(tmp_path))).build(0, pool, Pools(train=1, eval=0)):
        records = list(read_records(tmp_path / shard.path))
        arrays = ExampleDecoder(features(config.max_seq_length, 1)).decode(records)
        whole = arrays["input_ids"]
        whole[np.arange(len(whole)), arrays["masked_lm_positions"][:, 0]] = arrays["masked_lm_ids"][:, 0]
        orders.append((whole[:, 1] - SPECIALS) // SENTENCE)
    assert len(orders) == 2
    for order in orders:
        assert sorted(order) == list(range(SENTENCES))
        assert abs(np.corrcoef(order, np.arange(SENTENCES))[0, 1]) < 0.2  # four deviations of chance
    assert abs(np.corrcoef(*orders)[0, 1]) < 0.2

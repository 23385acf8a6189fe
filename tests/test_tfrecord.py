"""TFRecord files are TensorFlow's own, appear whole or not at all, and are checked when read."""

import gzip
import hashlib

import pytest

from pipeline.tfrecord import read_records, write_records
from tokenizer.errors import InputError

RECORDS = [b"", b"one", b"two" * 1000, bytes(range(256))]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "shard.tfrecord"
    write_records(path, [RECORDS[:1], RECORDS[1:]])
    return path


def test_records_come_back_and_the_file_is_described(tmp_path):
    path = tmp_path / "shard.tfrecord"
    written = write_records(path, [RECORDS[:1], RECORDS[1:]])
    assert list(read_records(path)) == RECORDS
    assert written.records == 4
    assert written.bytes == path.stat().st_size
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_tensorflow_reads_our_file_and_we_read_its_own(tmp_path, shard):
    tf = pytest.importorskip("tensorflow", reason="needs the [train] extra")
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(shard))] == RECORDS
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in RECORDS:
            writer.write(record)
    assert (tmp_path / "theirs").read_bytes() == shard.read_bytes()


def test_compressed_files_are_read(tmp_path, shard):
    (tmp_path / "shard.tfrecord.gz").write_bytes(gzip.compress(shard.read_bytes()))
    assert list(read_records(tmp_path / "shard.tfrecord.gz")) == RECORDS


def test_every_flipped_bit_is_noticed(shard):
    good = shard.read_bytes()
    for place in (0, 9, 16, 20, 2000, len(good) - 1):
        shard.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        with pytest.raises(InputError, match=r"shard\.tfrecord, record \d: "):
            list(read_records(shard))


def test_a_cut_file_is_noticed(shard):
    good = shard.read_bytes()
    for length in (5, 14, 40, len(good) - 1):
        shard.write_bytes(good[:length])
        with pytest.raises(InputError, match="cut off"):
            list(read_records(shard))


def test_a_failed_write_leaves_what_was_there(tmp_path, shard):
    def fail():
        yield [b"new"]
        raise RuntimeError("stop")

    before = shard.read_bytes()
    with pytest.raises(RuntimeError, match="stop"):
        write_records(shard, fail())
    assert shard.read_bytes() == before
    assert list(tmp_path.iterdir()) == [shard]

"""TFRecord files are TensorFlow's own, appear whole or not at all, and are checked when read; plain and gzip alike."""

import gzip
import hashlib
import random
import resource

import pytest

from maskmill.pipeline.records.tfrecord import GZIP_BLOCK, read_records, write_records
from maskmill.tokenizer.errors import InputError

RECORDS = [b"", b"one", b"two" * 1000, bytes(range(256))]


@pytest.fixture(params=["none", "gzip"])
def compression(request):
    return request.param


@pytest.fixture
def shard(tmp_path, compression):
    path = tmp_path / "shard.tfrecord"
    write_records(path, [RECORDS[:1], RECORDS[1:]], compression)
    return path


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "plain.tfrecord"
    write_records(path, [RECORDS])
    return path.read_bytes()


def test_records_come_back_and_the_file_is_described(tmp_path, compression):
    path = tmp_path / "shard.tfrecord"
    written = write_records(path, [RECORDS[:1], RECORDS[1:]], compression)
    assert list(read_records(path)) == RECORDS
    assert written.records == 4
    assert written.bytes == path.stat().st_size
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_without_records_has_none(tmp_path, compression):
    path = tmp_path / "shard.tfrecord"
    assert write_records(path, [], compression).records == 0
    assert list(read_records(path)) == []


def test_tensorflow_reads_our_file_and_we_read_its_own(tmp_path, shard, compression, plain):
    tf = pytest.importorskip("tensorflow", reason="needs the [train] extra")
    name = "" if compression == "none" else "GZIP"
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(shard), compression_type=name)] == RECORDS
    theirs = tmp_path / "theirs"
    with tf.io.TFRecordWriter(str(theirs), name) as writer:
        for record in RECORDS:
            writer.write(record)
    assert list(read_records(theirs)) == RECORDS
    assert plain == (gzip.decompress(theirs.read_bytes()) if name else theirs.read_bytes())


def test_gzip_holds_the_bytes_of_the_plain_file(tmp_path, plain):
    path = tmp_path / "shard.tfrecord.gz"
    write_records(path, [RECORDS], "gzip")
    assert gzip.decompress(path.read_bytes()) == plain


def test_gzip_is_known_by_the_content_and_not_by_the_name(tmp_path, plain):
    (tmp_path / "plain.tfrecord.gz").write_bytes(plain)
    assert list(read_records(tmp_path / "plain.tfrecord.gz")) == RECORDS
    (tmp_path / "shard.tfrecord").write_bytes(gzip.compress(plain, 9))
    assert list(read_records(tmp_path / "shard.tfrecord")) == RECORDS


def test_bytes_depend_on_the_records_and_not_on_their_batches_the_name_or_the_time(tmp_path, compression):
    rng = random.Random(0)
    records = [b"".join(rng.choices([b"word", b"piece", b"\0\0\0", b"id"], k=500)) for _ in range(2000)]
    assert sum(map(len, records)) > 2 * GZIP_BLOCK
    batchings = [[records], [records[:7], [], records[7:]], [[record] for record in records]]
    written = {write_records(tmp_path / str(i), batches, compression) for i, batches in enumerate(batchings)}
    assert len(written) == 1
    if compression == "gzip":
        assert (tmp_path / "0").read_bytes()[3:8] == bytes(5)  # flags and time


def test_every_flipped_bit_is_noticed(tmp_path, plain):
    for place in (0, 9, 16, 20, 2000, len(plain) - 1):
        damaged = plain[:place] + bytes([plain[place] ^ 4]) + plain[place + 1 :]
        for name, data in {"shard.tfrecord": damaged, "shard.tfrecord.gz": gzip.compress(damaged)}.items():
            (tmp_path / name).write_bytes(data)
            with pytest.raises(InputError, match=rf"{name}, record \d: .* checksum"):
                list(read_records(tmp_path / name))


def test_a_damaged_gzip_stream_is_noticed(tmp_path):
    path = tmp_path / "shard.tfrecord.gz"
    write_records(path, [RECORDS], "gzip")
    good = path.read_bytes()
    for place in (len(good) // 2, len(good) - 8, len(good) - 1):  # the data, its checksum and its length
        path.write_bytes(good[:place] + bytes([good[place] ^ 255]) + good[place + 1 :])
        with pytest.raises(InputError, match=r"shard\.tfrecord\.gz, record \d: its gzip stream is damaged"):
            list(read_records(path))


def test_a_truncated_file_is_noticed(shard, compression):
    good = shard.read_bytes()
    lengths = (5, 14, 40, len(good) - 1) if compression == "none" else range(1, len(good))
    for length in lengths:
        shard.write_bytes(good[:length])
        with pytest.raises(InputError, match=r"shard\.tfrecord, record \d: truncated"):
            list(read_records(shard))


def test_a_failed_write_leaves_what_was_there(tmp_path, shard, compression):
    def fail():
        yield [b"new"]
        raise RuntimeError("stop")

    before = shard.read_bytes()
    with pytest.raises(RuntimeError, match="stop"):
        write_records(shard, fail(), compression)
    assert shard.read_bytes() == before
    assert list(tmp_path.iterdir()) == [shard]


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path, shard, compression):
    before = shard.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(InputError, match=r"shard\.tfrecord cannot be written \(File too large\); make room"):
            write_records(shard, [[random.Random(0).randbytes(1 << 20)]], compression)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert shard.read_bytes() == before
    assert list(tmp_path.iterdir()) == [shard]

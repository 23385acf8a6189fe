"""Instances in Parquet are those that were written, for maskmill and for others."""

import hashlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_instances import random_instances

from maskmill.pipeline.dataset.schema import features
from maskmill.pipeline.records.parquet_file import ROWS_OF_GROUP, read_parquet, write_parquet
from maskmill.tokenizer.errors import InputError

FEATURES = features(16, 3)


def instances(seed: int, rows: int):
    arrays = random_instances(seed, rows, 16, 3, 30_000)
    for name in ("input_mask", "segment_ids", "next_sentence_labels"):
        arrays[name] = arrays[name] % 2
    arrays["masked_lm_positions"] %= 16
    return {name: values.astype(np.float32 if "weights" in name else np.int32) for name, values in arrays.items()}


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_what_is_written_is_read(tmp_path, compression):
    batches = [instances(seed, rows) for seed, rows in enumerate((ROWS_OF_GROUP - 3, 5, 512))]
    written = write_parquet(tmp_path / "a.parquet", iter(batches), FEATURES, compression)
    data = (tmp_path / "a.parquet").read_bytes()
    assert (written.records, written.bytes) == (ROWS_OF_GROUP + 514, len(data))
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    assert write_parquet(tmp_path / "b.parquet", iter(batches), FEATURES, compression) == written
    read = list(read_parquet(tmp_path / "a.parquet", FEATURES, rows=1000))
    for name in batches[0]:
        expected = np.concatenate([batch[name] for batch in batches])
        found = np.concatenate([batch[name] for batch in read])
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [ROWS_OF_GROUP, 514]
    assert str(file.schema_arrow.field("input_ids").type) == "fixed_size_list<element: int32 not null>[16]"


def test_no_instances_are_a_file_too(tmp_path):
    assert write_parquet(tmp_path / "a.parquet", [], FEATURES).records == 0
    assert list(read_parquet(tmp_path / "a.parquet", FEATURES)) == []


def test_damage_and_other_columns_are_one_sentence(tmp_path):
    write_parquet(tmp_path / "a.parquet", [instances(1, 9)], FEATURES)
    with pytest.raises(InputError, match=r"a.parquet has other columns than the manifest says; expected input_i"):
        list(read_parquet(tmp_path / "a.parquet", features(8, 3)))
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[:-9])
    with pytest.raises(InputError, match=r"a.parquet is damaged \(.*\); restore it"):
        list(read_parquet(tmp_path / "a.parquet", FEATURES))

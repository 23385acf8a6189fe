"""A spill gives each pool its documents, whatever wrote them in whatever order, but those that are not of it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskmill.pipeline.instances.common import deal_copies
from maskmill.pipeline.instances.pools import (
    Place,
    Pools,
    TokenizedDocument,
    combine_copies,
    copies_of,
    pack_document,
    with_copies,
)
from maskmill.pipeline.reading.documents import Document
from maskmill.pipeline.reading.duplicates import MeasuredDocument, find_repeated, hash_content
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.spill import ids
from maskmill.pipeline.spill.folder import SpillFolder
from maskmill.pipeline.spill.ids import IdRow, IdWriter, reject_repeated
from maskmill.pipeline.spill.runs import ALL_GROUPS, Group, RunName, RunWriter
from maskmill.pipeline.spill.spill import Spill
from maskmill.tokenizer.errors import InputError

EDGES = [number / 16 for number in range(16)] + [number / 7 for number in range(7)] + [np.nextafter(1 / 3, 0)]
FRACTIONS = st.sampled_from(EDGES) | st.floats(0, 1, exclude_max=True)
PLACES = st.builds(Place, st.sampled_from(["train", "eval"]), FRACTIONS)


def pack(number: int, copies: int = 1) -> bytes:
    ids = np.full(1 + number % 3, number % 1000, np.uint16)
    return pack_document(number.to_bytes(16), ids, np.array([len(ids)]), copies)


def write(folder, task, documents, buffer_bytes=700):
    writer = RunWriter(str(folder), task, buffer_bytes)
    for document in documents:
        writer.add(document)
    writer.flush()
    (folder / f"{task}.npz").write_bytes(b"")


@settings(max_examples=40)
@given(st.lists(PLACES, max_size=30), st.integers(1, 40), st.integers(1, 3))
def test_each_document_comes_to_its_pool_once(tmp_path_factory, places, train, held_out):
    folder, pools = tmp_path_factory.mktemp("spill"), Pools(train, held_out)
    documents = [TokenizedDocument(place, pack(number)) for number, place in enumerate(places)]
    write(folder, "a", documents[::2])
    write(folder, "b", documents[1::2])
    write(folder, "unfinished", documents)
    spill = Spill(str(folder), ["a", "b"])
    for number in range(len(pools)):
        expected = [one.packed for one in documents if pools.pool_at(one.place) == number]
        assert sorted(spill.read_pool(pools, number)) == sorted(expected)
        assert all(number in Group.of(one.place).pools(pools) for one in documents if one.packed in expected)


def test_equal_documents_of_a_run_are_held_once(tmp_path):
    place = Place("train", 0.3)
    write(tmp_path, "a", [TokenizedDocument(place, pack(5))] * 2000 + [TokenizedDocument(place, pack(5, 3))], 10**6)
    assert list(Spill(str(tmp_path), ["a"]).read_pool(Pools(1, 0), 0)) == [pack(5, 2003)]


def test_a_damaged_run_is_named(tmp_path):
    write(tmp_path, "a", [TokenizedDocument(Place("train", 0.3), pack(5))])
    path = tmp_path / str(RunName("a", 0, Group("train", 4)))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"a-0-train-4.safetensors cannot be read .*; remove it, and run the command"):
        list(Spill(str(tmp_path), ["a"]).read_pool(Pools(1, 0), 0))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=30))
def test_of_the_documents_with_one_id_those_of_one_content_are_kept(rows):
    kept = {id_hash: min(content for other, content in rows if other == id_hash) for id_hash, _ in rows}
    columns = np.array(rows, np.uint64).reshape(-1, 2)
    assert find_repeated(columns[:, 0], columns[:, 1]).tolist() == [content != kept[one] for one, content in rows]


def test_repeated_ids_are_found_over_all_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(ids, "ROWS_AT_A_TIME", 40)  # several intervals of hashes
    rng = np.random.default_rng(0)
    id_hashes = [*rng.choice(rng.integers(0, 1 << 63, 60), 200).tolist(), 0, 0, (1 << 63) - 1, (1 << 63) - 1]
    place = [Place("train", float(at)) for at in rng.random(len(id_hashes))]
    documents = [TokenizedDocument(place[n], pack(n << 90), id_hash) for n, id_hash in enumerate(id_hashes)]
    for task, part in (("a", documents[::2]), ("b", documents[1::2])):
        write(tmp_path, task, part)
        writer = IdWriter(str(tmp_path), task)
        for one in part:
            measured = MeasuredDocument.of(Document("text", True, place=1 + one.packed[4]), FilePart("a.txt"))
            writer.add(IdRow(one.id_hash, hash_content(one.packed), Group.of(one.place), measured))
        writer.flush()
    rejected = list(reject_repeated(str(tmp_path), ["a", "b"]))
    assert len(rejected) == len(id_hashes) - len(set(id_hashes))
    found = [one for number in range(5) for one in Spill(str(tmp_path), ["a", "b"]).read_pool(Pools(5, 0), number)]
    kept = {}
    for one in documents:
        kept[one.id_hash] = min(kept.get(one.id_hash, one.packed), one.packed)
    assert sorted(found) == sorted(kept.values())
    assert list(reject_repeated(str(tmp_path), ["a", "b"])) == rejected


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50)), min_size=1, max_size=6), PLACES, st.integers(1, 20))
def test_copies_are_dealt_out_evenly_within_their_split(documents, place, number_of_pools):
    pools = Pools(number_of_pools, 3)
    packed = [pack(number, copies) for number, copies in documents]
    dealt = list(deal_copies(packed, place, pools))
    by_pool = Counter()
    for pool, document in dealt:
        by_pool[pool] += copies_of(document)
        assert pools.split_of(pool)[0] == place.split
    assert combine_copies(document for _, document in dealt) == combine_copies(packed)
    counts = [by_pool[pool] for pool in range(len(pools)) if pools.split_of(pool)[0] == place.split]
    assert max(counts) - min(counts) <= 1
    assert by_pool[pools.pool_at(place)] == max(counts)
    assert sorted(dealt) == sorted(deal_copies([one for one in packed for _ in range(1)][::-1], place, pools))


@pytest.fixture
def common(tmp_path):
    """A spill of one page 3,000 times and 100 other documents, half of its pages in each of two tasks."""
    others = [TokenizedDocument(Place("train", number / 100), pack(number)) for number in range(100)]
    page = TokenizedDocument(Place("train", 0.35), pack(1000))
    for task in "ab":
        write(tmp_path, task, [page] * 1500 + (others if task == "a" else []))
    return SpillFolder(str(tmp_path)), [one.packed for one in others]


def test_common_documents_are_dealt_out_to_all_pools(common):
    folder, others = common
    pools = Pools(10, 0)
    folder.deal(["a", "b"], pools, 3100, 10**6)
    folder.deal(["a", "b"], pools, 3100, 10**6)  # as after an interruption
    found = [list(Spill(folder.path, ["a", "b"]).read_pool(pools, number)) for number in range(10)]
    assert [[one for one in of_pool if one[:16] == pack(1000)[:16]] for of_pool in found] == [[pack(1000, 300)]] * 10
    assert sorted(one for of_pool in found for one in of_pool if one in others) == sorted(others)


def test_what_is_freed_or_dealt_out_otherwise_is_known(common):
    folder, _ = common
    pools = Pools(10, 0)
    assert folder.is_whole(pools, range(10))
    assert not folder.is_used
    folder.deal(["a", "b"], pools, 3100, 10**6)
    assert folder.is_used
    size = folder.size
    folder.free(pools, wanted=[0, 8, 9])
    assert 0 < folder.size < size
    assert folder.is_whole(pools, [0, 8, 9])
    assert not folder.is_whole(pools, [0, 5, 9])
    assert not folder.is_whole(Pools(9, 0), [0])
    before = [list(Spill(folder.path, ["a", "b"]).read_pool(pools, number)) for number in (0, 8, 9)]
    assert all(len(of_pool) == 11 for of_pool in before)
    folder.keep(["a"])
    assert folder.finished(["b", "a"]) == ["a"]


def test_groups_cover_the_pools():
    for pools in (Pools(1, 1), Pools(16, 3), Pools(100, 7), Pools(5, 0)):
        covered = {pool for group in ALL_GROUPS for pool in group.pools(pools)}
        assert covered == set(range(len(pools)))
    assert with_copies(pack(3, 9), 1) == pack(3)

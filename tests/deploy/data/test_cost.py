import json

import pytest
from command import SMALL, refuse, run

FLINK = ["--runner", "flink", "--flink-master", "localhost:1"]


@pytest.fixture
def arguments(tmp_path, corpus_file, small_vocab_file) -> list[object]:
    return [corpus_file, "--vocab-file", small_vocab_file, "--output", tmp_path / "out", *SMALL, "--dry-run", *FLINK]


def rows_of(output: str) -> dict[str, list[str]]:
    lines = [line.strip("│").split("│") for line in output.splitlines() if line.startswith("│")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines if cells[0].strip()}


def test_a_dry_run_elsewhere_tells_figures_and_what_they_rest_on(tmp_path, arguments):
    output = run("generate", *arguments)
    rows = rows_of(output)
    for name in ("processor hours", "shuffle", "output", "pools"):
        amount, basis = rows[name]
        assert amount
        assert len(basis) > 10
    assert "measured here on 40 documents" in " ".join(rows["processor hours"])
    assert "memory" not in rows, "nobody bills the memory of a cluster of one's own"
    assert "billed" not in output
    assert "Nothing was written" in output
    assert not (tmp_path / "out").exists()


def test_costs_are_the_amounts_at_the_users_prices(tmp_path, arguments):
    prices = {"source": "ours", "currency": "EUR", "processor_hour": 1e6, "memory_gb_hour": 0, "disk_gb_hour": 0}
    prices |= {"shuffle_gb": 1e6, "storage_gb_month": 1e6}
    (tmp_path / "prices.json").write_text(json.dumps(prices))
    rows = rows_of(run("generate", *arguments, "--prices", tmp_path / "prices.json"))

    def cost(name: str) -> float:
        return float(rows[name][1].replace(",", ""))

    for name, times, unit in (("processor hours", 1, 1), ("shuffle", 2, 1e-6), ("output", 1, 1e-6)):
        amount = float(rows[name][0].removesuffix(" kB")) * unit
        assert cost(name) == pytest.approx(amount * 1e6 * times, rel=0.06)  # the amount is rounded
    assert cost("memory") == cost("disk") == 0
    assert cost("total") == pytest.approx(sum(map(cost, ("processor hours", "shuffle", "output"))), rel=1e-3)
    assert "prices: ours" in rows["total"][-1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ('{"processor_hours": 1}', "has processor_hours 1; expected numbers for some of source, currency, processor_h"),
        ('{"processor_hour": -1}', "has processor_hour -1"),
        ("[1]", "expected numbers"),
        ('{"processor_hour": NaN}', "is damaged (NaN is no JSON number); expected numbers"),
        ('{"processor_hour": 1e999}', "is damaged (the number 1e999 is too large); expected numbers"),
        ('{"processor_hour": true}', "has processor_hour True; expected numbers"),
    ],
)
def test_what_is_no_table_of_prices_is_refused(tmp_path, arguments, content, sentence):
    (tmp_path / "prices.json").write_text(content)
    assert sentence in refuse("generate", *arguments, "--prices", tmp_path / "prices.json")

"""Speed of `maskmill generate` on a Flink cluster of two TaskManagers on this machine, beside two local workers.

    python benchmarks/bench_flink.py [--times N] [--dupe-factor N] [--corpus FILE] [--vocab FILE]

As bench_generate.py has it; the cluster is that of `make test-flink`, which downloads 400 MB the first time.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from needs import CORPUS, ENGLISH, ROOT, VOCAB, require
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from bench_generate import run_process
from engines import Servers
from flink_cluster import FlinkCluster

from maskmill.pipeline.reading.documents import Document, ReadOptions
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.reading.parts import read_documents

MASKMILL = [sys.executable, "-c", "from maskmill.deploy.cli import main; main(prog_name='maskmill')"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--dupe-factor", default="5")
    parser.add_argument("--corpus", type=Path, default=CORPUS / ENGLISH)
    parser.add_argument("--vocab", type=Path, default=CORPUS / VOCAB)
    arguments = parser.parse_args()
    require(arguments.corpus, arguments.vocab, option="--corpus and --vocab")
    with tempfile.TemporaryDirectory() as name, Servers(Path(name)) as servers:
        folder, corpus = Path(name), Path(name) / "corpus.txt"
        documents = [
            d for d in read_documents(FilePart(str(arguments.corpus)), ReadOptions()) if isinstance(d, Document)
        ]
        with corpus.open("w", encoding="utf-8") as file:
            for copy in range(arguments.times):
                file.writelines(f"Copy {copy} .\n{document.text}\n\n" for document in documents)
        cluster = FlinkCluster(servers)
        for _ in range(2):
            cluster.start_task_manager()
        cluster.start_job_server()
        megabytes = corpus.stat().st_size / 1e6
        table = Table(
            "what", "wall s", "CPU s", "MB/s", title=f"{megabytes:.1f} MB, --dupe-factor {arguments.dupe_factor}"
        )
        options = ["--vocab-file", arguments.vocab, "--dupe-factor", arguments.dupe_factor]
        remote = ["--runner", "flink", "--job-endpoint", cluster.job_endpoint, "--", *cluster.worker_options]
        for label, more in (("two local workers", ["--num-workers", 2]), ("Flink, two TaskManagers", remote)):
            command = [*MASKMILL, "generate", corpus, "--output", folder / label, *options, *more]
            before = cpu_of(servers)
            wall, cpu, _ = run_process([str(part) for part in command])
            cpu += cpu_of(servers) - before
            table.add_row(label, f"{wall:.1f}", f"{cpu:.1f}", f"{megabytes / wall:.2f}")
        Console(width=100).print(table)


def cpu_of(servers: Servers) -> float:
    """CPU seconds of the servers up to now, and of the workers that they started and that ended."""
    ticks = 0
    for process in servers.processes():
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()

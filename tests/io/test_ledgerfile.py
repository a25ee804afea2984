"""The ledger on disk: never overwritten, and as good as whole after kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from edgeflow.errors import EdgeflowError, UsageError
from edgeflow.io.ledgerfile import LedgerFile, digest, read, read_events
from edgeflow.ledger.judge import End, Head, Submit, judge
from edgeflow.model.graph import Array

HEAD = Head("job", "cam-1", 7, 1e9, 100.0, "c" * 64, "net", "3.11", "a machine", 4, 0.0)

WRITER = """
import sys, time
from edgeflow.io.ledgerfile import LedgerFile
from edgeflow.ledger.judge import Head, Outcome, Submit
ledger = LedgerFile(sys.argv[1])
ledger.write(Head("job", "cam-1", 7, 1e9, 0.0, "c" * 64, "net", "3.11", "a machine", 4, 0.0))
frame = 0
while True:
    frame += 1
    ledger.write(Submit(frame, "cat", time.monotonic(), 1))
    if frame > 2:
        ledger.write(Outcome(frame - 2, time.monotonic(), "", "", "a" * 64, 0.1, 1, "1.1@e"))
    print(frame, flush=True)
"""
"""Two frames are always under way."""


def test_an_existing_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "run.ledger"
    path.write_text("precious")
    with pytest.raises(UsageError, match="name another file"):
        LedgerFile(path)
    assert path.read_text() == "precious"
    with pytest.raises(UsageError, match="cannot write"):
        LedgerFile(tmp_path / "no folder" / "run.ledger")


def test_a_record_is_on_disk_when_write_returns(tmp_path: Path) -> None:
    with LedgerFile(tmp_path / "run.ledger") as ledger:
        ledger.write(HEAD)
        ledger.write(End(101.0))
        assert read(ledger.path) == [HEAD, End(101.0)]


def test_another_writer_at_the_same_file_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.ledger"
    with LedgerFile(path) as ledger:
        ledger.write(HEAD)
        with path.open("ab") as other:
            other.write(b'{"record":"end","at_s":1}\n')
        ledger.write(End(101.0))
    assert read(path) == [HEAD, End(1.0), End(101.0)]


def test_a_closed_ledger_takes_no_more(tmp_path: Path) -> None:
    ledger = LedgerFile(tmp_path / "run.ledger")
    ledger.close()
    ledger.close()
    with pytest.raises(EdgeflowError, match="cannot write the ledger"):
        ledger.write(HEAD)


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    with LedgerFile(tmp_path / "run.ledger") as ledger:
        ledger.write(HEAD)

        def write(first: int) -> None:
            for frame in range(first, first + 200):
                ledger.write(Submit(frame, "cat" * 500, 100.0, 1))

        threads = [Thread(target=write, args=(at * 1000,)) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert judge(read(ledger.path)).submitted == 800


def test_after_kill_9_of_the_writer_all_but_the_last_line_can_be_judged(tmp_path: Path) -> None:
    path = tmp_path / "run.ledger"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    said = [int(writer.stdout.readline()) for _ in range(500)]
    writer.send_signal(signal.SIGKILL)
    said += [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait(10)
    writer.stdout.close()
    seen = judge(read(path))
    assert seen.submitted >= said[-1], "a line that was written is gone"
    assert 2 <= seen.open <= 3
    assert seen.lost == seen.duplicated == seen.unknown == 0
    assert not seen.ended


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="nowhere"):
        read_events(tmp_path / "nowhere")


def test_the_same_outputs_have_the_same_digest_and_no_others() -> None:
    array = np.arange(6, dtype=np.float32)
    same = digest({"a": array, "b": array + 1})
    assert digest({"b": array + 1, "a": array.copy()}) == same
    assert digest({"a": array.astype(">f4"), "b": (array + 1)[::1]}) == same
    bit = array.copy()
    bit.view(np.uint32)[3] ^= 1
    others: list[dict[str, Array]] = [
        {"a": bit, "b": array + 1},
        {"a": array.reshape(2, 3), "b": array + 1},
        {"a": array.view(np.int32), "b": array + 1},
        {"a": array + 1, "b": array},
        {"a": array},
        {},
    ]
    found = {digest(other) for other in others}
    assert len(found) == len(others)
    assert same not in found
    assert len(digest({"empty": np.zeros((0, 3)), "one": np.ones(())})) == 64


def test_time_is_the_machines(tmp_path: Path) -> None:
    before_s = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-c", "import time; print(time.monotonic())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert before_s <= float(told.stdout) <= time.monotonic()

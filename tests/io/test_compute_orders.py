"""What is said to a worker process, and what follows: the test is the worker, on a real socket."""

from __future__ import annotations

import mmap
import os
import random
import socket
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from edgeflow.events import (
    Event,
    SegmentBuilt,
    SegmentDone,
    SegmentFailed,
    SegmentKey,
    SegmentUnbuildable,
)
from edgeflow.io.compute import orders, slabs
from edgeflow.io.compute.orders import Orders
from edgeflow.io.compute.slabs import Form, Mapped, Slabs, lay, view
from edgeflow.io.compute.state import Job, Wanted
from edgeflow.io.compute.wire import (
    Build,
    Calibrate,
    Channel,
    Drop,
    FromWorker,
    Laid,
    Made,
    Place,
    Ran,
    Rated,
    RunLaid,
    ToWorker,
    WireError,
)
from edgeflow.layout.parcel import Parcel, parcel
from edgeflow.messages import Rates
from tests.io.compute_bench import KEY, image, net

OTHER = SegmentKey("1" * 64, 0, 0)
RATES = Rates(1.0, 2.0, 3.0, 4.0, 5.0)


class Worker:
    """The other end: what is heard is kept, what is said goes to the orders at once."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.node = Channel(ours, FromWorker)
        self.channel = Channel(theirs, ToWorker, takes_files=True)
        theirs.setblocking(False)
        self.mapped = Mapped()
        orders.begin(self.node)

    def heard(self) -> list[Any]:
        """What was said since."""
        self.channel.read()
        messages = []
        while (message := self.channel.next()) is not None:
            if isinstance(message, RunLaid):
                for number in message.fresh:
                    self.mapped.show(number, self.channel.file())
            messages.append(message)
        return messages

    def keys(self) -> list[SegmentKey]:
        """Of the segments that shall be built."""
        return [message.key for message in self.heard() if isinstance(message, Build)]

    def make(self, key: SegmentKey, engine: str = "onnx") -> None:
        self.orders.take(Made(SegmentBuilt(key, engine), 0.01))

    def die(self, *, was_up: bool = True) -> Worker:
        """Killed; the next one."""
        self.close()
        self.orders.died("the worker process died", was_up=was_up)
        return Worker(self.orders)

    def close(self) -> None:
        self.node.close()
        self.channel.close()


class Node:
    """Orders, and what they say."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.kept: dict[int, Parcel] = {}
        self.orders = Orders("a", self.told.append)
        self.graph = net()

    def want(self, key: SegmentKey) -> None:
        layers = tuple(layer.name for layer in self.graph.layers)
        order = Build(key, "0" * 64, layers, None, Place("m", 0, 1), {})
        self.orders.build(Wanted.of(order, self.graph))

    def run(self, number: int, key: SegmentKey = KEY) -> None:
        def keep(made: Parcel) -> int:
            self.kept[number] = made
            return number

        self.orders.queue(Job(number, key, [parcel(image(number))], keep))
        self.orders.go_on()

    def said(self) -> list[Event]:
        """Since the last time."""
        told, self.told[:] = list(self.told), []
        return told


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    made.orders.close()


# --- orders ---------------------------------------------------------------------------------------


def test_jobs_run_one_after_the_other_in_their_order(node: Node) -> None:
    node.want(KEY)
    worker = Worker(node.orders)
    worker.make(KEY)
    for number in (1, 2, 3):
        node.run(number)
    for number in (1, 2, 3):
        *_, order = worker.heard()
        assert order.job == number
        given = worker.mapped.read(order.input_slab, order.inputs)
        np.testing.assert_array_equal(given["image"][0], image(number)["image"])
        relu = np.full((1, 64, 48, 48), number, np.float32)
        worker.mapped.write(order.output_slab, order.outputs, order.output_start, {"relu": relu})
        worker.orders.take(Ran(number, 0.1, ()))
    done = [event for event in node.said() if isinstance(event, SegmentDone)]
    assert [event.job for event in done] == [1, 2, 3]
    assert {event.size_bytes for event in done} == {64 * 48 * 48 * 4}
    for number, made in node.kept.items():
        assert (made["relu"].array == number).all()
    worker.close()


def test_a_death_fails_one_job_and_has_all_segments_built_again_in_silence(node: Node) -> None:
    for key in (KEY, OTHER):
        node.want(key)
    worker = Worker(node.orders)
    assert worker.keys() == [KEY, OTHER]
    worker.make(KEY)
    worker.make(OTHER)
    node.run(1)
    node.run(2)
    node.said()
    worker = worker.die()
    assert node.said() == [SegmentFailed(1, "the worker process died", "worker-died")]
    assert [message.engine for message in worker.heard()] == ["onnx", "onnx"]
    worker.make(KEY)
    (order,) = worker.heard()
    assert order.job == 2
    assert len(order.fresh) == 2, "this worker has no shared memory yet"
    assert node.said() == []
    worker.close()


def test_a_job_under_which_a_build_may_have_killed_is_not_joined_by_another(node: Node) -> None:
    """A poisonous frame costs no innocent build, nor a bad build one frame after the other."""
    node.want(KEY)
    worker = Worker(node.orders)
    worker.make(KEY)
    node.want(OTHER)
    node.run(1)
    node.run(2)
    worker = worker.die()
    worker.make(KEY)
    assert [type(message) for message in worker.heard()] == [Build, Build], "no job meanwhile"
    node.said()
    worker = worker.die()
    (refused,) = node.said()
    assert isinstance(refused, SegmentUnbuildable)
    assert refused.key == OTHER
    worker.make(KEY)
    assert isinstance(worker.heard()[-1], RunLaid)
    worker.close()


def test_a_segment_that_was_built_before_gets_more_patience_and_its_jobs_less(node: Node) -> None:
    node.want(KEY)
    node.want(OTHER)
    worker = Worker(node.orders)
    for key in (KEY, OTHER):
        worker.make(key)
    worker = worker.die()
    node.said()
    node.run(1)
    for _ in range(2):
        worker = worker.die()
    assert node.said() == []
    worker = worker.die()
    (failed,) = node.said()
    assert isinstance(failed, SegmentFailed)
    assert (failed.job, failed.code) == (1, "failed")
    for _ in range(2):
        worker = worker.die()
    assert worker.keys() == [OTHER]
    worker.make(OTHER)
    node.run(2, OTHER)
    assert isinstance(worker.heard()[-1], RunLaid)
    worker.close()


def test_a_segment_that_is_built_again_on_another_engine_is_not_taken(node: Node) -> None:
    node.want(KEY)
    worker = Worker(node.orders)
    worker.make(KEY, "onnx")
    worker = worker.die()
    node.said()
    worker.make(KEY, "torch")
    node.run(1)
    (failed,) = node.said()
    assert isinstance(failed, SegmentFailed)
    assert "built again, it runs on torch" in failed.text
    worker.close()


def test_a_worker_that_never_comes_up_is_told_as_what_cannot_be_built(node: Node) -> None:
    node.want(KEY)
    worker = Worker(node.orders).die(was_up=False).die(was_up=False)
    (refused,) = node.said()
    assert isinstance(refused, SegmentUnbuildable)
    worker.close()


def test_a_node_does_without_rates_after_three_deaths(node: Node) -> None:
    rates: list[Rates | None] = []
    node.orders.calibrate(Calibrate(("onnx",)), rates.append)
    worker = Worker(node.orders)
    for _ in range(3):
        assert worker.heard() == [Calibrate(("onnx",))]
        worker = worker.die()
    assert worker.heard() == []
    node.orders.calibrate(Calibrate(("onnx",)), rates.append)
    node.orders.take(Rated(RATES))
    assert rates == [None, RATES]
    worker.close()


def test_no_more_jobs_wait_than_may(node: Node) -> None:
    node.want(KEY)
    for number in range(1, orders.QUEUED_MAX + 2):
        node.run(number)
    (failed,) = node.said()
    assert isinstance(failed, SegmentFailed)
    assert failed.job == orders.QUEUED_MAX + 1


def test_a_segment_dropped_while_it_is_built_is_freed_and_not_spoken_of(node: Node) -> None:
    node.want(KEY)
    worker = Worker(node.orders)
    node.orders.drop(KEY)
    worker.make(KEY)
    assert worker.heard()[-1] == Drop(KEY)
    assert node.said() == []
    assert not node.orders.prepares
    worker.close()


# --- words ----------------------------------------------------------------------------------------


def pair() -> tuple[Channel, Channel]:
    """Node and worker."""
    ours, theirs = socket.socketpair()
    return Channel(ours, FromWorker), Channel(theirs, ToWorker, takes_files=True)


def test_messages_arrive_whole_however_they_are_cut() -> None:
    node, worker = pair()
    messages = [Drop(SegmentKey("a" * 64, 0, at)) for at in range(40)]
    whole = b""
    for message in messages:
        body = msgspec.msgpack.encode(message)
        whole += len(body).to_bytes(4, "big") + body
    cut, heard = random.Random(3), []
    while whole:
        size = cut.randint(1, 200)
        node.end.send(whole[:size])
        whole = whole[size:]
        worker.read()
        while (message := worker.next()) is not None:
            heard.append(message)
    assert heard == messages
    node.close()
    assert not worker.read()
    worker.close()


def test_what_a_socket_does_not_take_at_once_goes_later() -> None:
    node, worker = pair()
    node.end.setblocking(False)
    weights = {f"w{at}": Place("/models/net.safetensors", at, 7) for at in range(20_000)}
    big = Build(KEY, "0" * 64, ("conv",), None, Place("m", 0, 1), weights)
    file = os.memfd_create("test")
    node.send(big)
    node.send(RunLaid(1, KEY, (), 1, (), 1, 0, (1,)), [file])
    was_behind = node.is_behind
    heard: list[object] = []
    while len(heard) < 2:
        node.flush()
        worker.read()
        while (message := worker.next()) is not None:
            heard.append(message)
    assert heard[0] == big
    assert (was_behind, node.is_behind) == (True, False)
    copy = worker.file()
    assert os.fstat(copy).st_ino == os.fstat(file).st_ino
    for each in (copy, file):
        os.close(each)
    with pytest.raises(WireError, match="too many files open"):
        worker.file()
    node.close()
    worker.close()


@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff\xff", b"\0\0\0\x01\xc1", b"\0\0\0\x05hello", b"\0\0\0\x02\x81\xa0"]
)
def test_what_is_no_message_of_ours_is_an_error(raw: bytes) -> None:
    node, worker = pair()
    worker.end.send(raw)
    node.read()
    with pytest.raises(WireError):
        node.next()
    node.close()
    worker.close()


def test_speaking_to_the_dead_is_silent_and_hearing_them_ends() -> None:
    node, worker = pair()
    worker.close()
    node.send(Drop(KEY))
    node.send(Drop(KEY))
    assert not node.read()
    node.close()


# --- shared memory --------------------------------------------------------------------------------


def test_both_ends_see_the_same_tensors_and_inputs_are_read_only() -> None:
    pool, mapped = Slabs(), Mapped()
    laid, size = lay([Form("a", "<f4", (3, 5)), Form("b", "|u1", (7,)), Form("c", "<i8", ())])
    assert all(each.offset % slabs.ALIGNED_BYTES == 0 for each in laid)
    slab = pool.take(size)
    mapped.show(slab.number, os.dup(slab.file))
    arrays = [np.arange(15, dtype="<f4").reshape(3, 5), np.arange(7, dtype="u1"), np.array(-1)]
    for each, array in zip(laid, arrays, strict=True):
        view(slab.whole(), each)[...] = array
    found = mapped.read(slab.number, laid)
    for each, array in zip(laid, arrays, strict=True):
        np.testing.assert_array_equal(found[each.name][0], array)
        assert not found[each.name][0].flags.writeable
    with pytest.raises(ValueError, match="a is float32"):
        mapped.write(slab.number, laid[:1], 0, {"a": np.zeros((5, 3), np.float32)})
    with pytest.raises(TypeError):
        view(slab.whole(), Laid("d", "<f4", (1 << 20,), None, 0))
    mapped.forget([slab.number])
    pool.give_back(slab)
    pool.close()


def test_a_lent_slab_comes_back_with_the_last_view_of_it() -> None:
    pool = Slabs()
    slab = pool.take(1000)
    part = pool.lend(slab)[10:500].reshape(7, 70)[2:, ::2].view(np.uint8)
    assert pool.lent == 1
    assert pool.take(1000).number != slab.number
    memory = memoryview(part.data)
    del part
    assert pool.lent == 1
    del memory
    assert pool.lent == 0
    assert pool.take(1000).number == slab.number
    pool.close()


def test_idle_memory_is_bounded_and_its_files_are_closed() -> None:
    pool = Slabs()
    files = psutil.Process().num_fds()
    taken = [pool.take(slabs.GRAIN_BYTES * at) for at in range(1, 30)]
    for slab in taken:
        pool.give_back(slab)
    assert len(pool.gone) == 29 - slabs.IDLE_MAX
    del taken, slab
    assert psutil.Process().num_fds() <= files + 2 * slabs.IDLE_MAX
    pool.close()
    assert psutil.Process().num_fds() == files


def test_memory_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    files = psutil.Process().num_fds()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        Slabs().take(mmap.PAGESIZE)
    assert psutil.Process().num_fds() == files

"""One job's tensors on their way to the worker process and back, each copied once at most.

    parcels ─ stitch ─ copy ─▶ the desk ─▶ worker ─▶ the desk ─ copy ─▶ few outputs, or small ones
                                              └────▶ a slab of their own ─▶ arrays that lie in it

Invariant: the desk and the slab are ours alone from `lay` until `made` or `clear`.
"""

from __future__ import annotations

from edgeflow.io.compute.slabs import Bytes, Form, Slab, Slabs, lay, view
from edgeflow.io.compute.state import Job, Wanted
from edgeflow.io.compute.wire import RunLaid
from edgeflow.layout.parcel import Parcel, Placed, take
from edgeflow.model.graph import Array

COPIED_BYTES = 256 << 10
"""Outputs up to this are copied out of shared memory: somebody may keep thousands of them."""
LENT_MAX = 32
"""So many slabs may hold outputs at one time, each with a file; more outputs are copied out."""
DESK_BYTES_MAX = 64 << 20
"""A larger desk is given up once a job needs a quarter of it."""


class Tray:
    """What lies between a node and its worker. Not for two threads at once."""

    def __init__(self) -> None:
        self._slabs = Slabs()
        self._shown: set[int] = set()
        """Slabs that this worker has."""
        self._desk: Slab | None = None
        """Inputs, and small outputs behind them."""
        self._wanted: Wanted | None = None
        """Whose job it is, or was last; for it the desk is laid:"""
        self._inputs: list[Array] = []
        self._outputs: Parcel = {}
        self._slab: Slab | None = None
        """Where the worker lays large outputs."""

    def lay(self, job: Job, wanted: Wanted) -> tuple[RunLaid, list[int]]:
        """The order to run it, and the files that belong to it.

        ParcelError where an input is not at hand, OSError where memory is short.
        """
        arrays = [take(job.parcels, name, rect) for name, rect in wanted.reads.items()]
        form = tuple((array.dtype.str, array.shape) for array in arrays)
        if wanted.form != form:
            places = zip(wanted.reads.items(), form, strict=True)
            forms = (Form(name, *each, rect) for (name, rect), each in places)
            wanted.form, (wanted.inputs, wanted.input_bytes) = form, lay(forms)
            self._wanted = None
        is_small = wanted.output_bytes <= COPIED_BYTES
        desk = self._desk_of(wanted.input_bytes + (wanted.output_bytes if is_small else 0))
        slab = desk if is_small else self._slabs.take(wanted.output_bytes)
        self._slab = None if is_small else slab
        if self._wanted is not wanted:
            whole, self._wanted = desk.whole(), wanted
            self._inputs = [view(whole, each) for each in wanted.inputs]
            self._outputs = _placed(whole, wanted, wanted.input_bytes) if is_small else {}
        for place, array in zip(self._inputs, arrays, strict=True):
            place[...] = array
        fresh = {each.number: each for each in (desk, slab) if each.number not in self._shown}
        message = RunLaid(
            job.number,
            job.key,
            wanted.inputs,
            desk.number,
            wanted.outputs,
            slab.number,
            wanted.input_bytes if is_small else 0,
            tuple(fresh),
            self._forgotten(),
        )
        self._shown.update(fresh)
        return message, [each.file for each in fresh.values()]

    def made(self) -> Parcel:
        """What the worker laid; it stays until the last of its arrays is gone."""
        wanted, slab = self._wanted, self._slab
        assert wanted is not None
        if slab is None:
            return _copied(self._outputs)
        if self._slabs.lent >= LENT_MAX:
            made = _copied(_placed(slab.whole(), wanted))
            self.clear()
            return made
        self._slab = None
        return _placed(self._slabs.lend(slab), wanted)

    def clear(self) -> None:
        """The job is over: what it used is free for the next one."""
        if self._slab is not None:
            self._slabs.give_back(self._slab)
        self._slab = None

    def renew(self) -> None:
        """There is another worker, which has no slab yet."""
        self.clear()
        self._shown.clear()

    def close(self) -> None:
        """Free what no array lies in; the rest goes with its arrays."""
        self.clear()
        self._clear_desk()
        self._slabs.close()

    def _clear_desk(self) -> None:
        self._wanted, self._inputs, self._outputs = None, [], {}
        if self._desk is not None:
            self._slabs.give_back(self._desk)
        self._desk = None

    def _desk_of(self, nbytes: int) -> Slab:
        desk = self._desk
        if desk is None or desk.size < nbytes or desk.size > max(4 * nbytes, DESK_BYTES_MAX):
            self._clear_desk()
            desk = self._desk = self._slabs.take(nbytes)
        return desk

    def _forgotten(self) -> tuple[int, ...]:
        """Slabs that the worker has and will not be told of again."""
        gone = self._slabs.gone
        if not gone:
            return ()
        found = tuple(number for number in gone if number in self._shown)
        gone.clear()
        self._shown.difference_update(found)
        return found


def _placed(whole: Bytes, wanted: Wanted, start: int = 0) -> dict[str, Placed]:
    return {each.name: Placed(view(whole, each, start), each.rect) for each in wanted.outputs}


def _copied(made: Parcel) -> Parcel:
    return {name: Placed(array.copy(), rect) for name, (array, rect) in made.items()}

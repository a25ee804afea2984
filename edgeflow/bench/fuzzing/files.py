"""Model files, manifests and settings, mutated, through the very functions that read them.

    right file ─▶ mutants ─▶ its reader ─▶ read after all · refused by an EdgeflowError · crashed

Invariant: nothing is changed but a file of its own in a folder that the caller gives.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeflow import modelfile
from edgeflow.bench.fuzzing import mutate
from edgeflow.bench.fuzzing.subject import model
from edgeflow.errors import EdgeflowError
from edgeflow.io import clusterfile, settings
from edgeflow.lab import labfile
from edgeflow.model import manifest

ROOT = Path(__file__).resolve().parents[3]
TELL_MAX = 20
Table = dict[str, Any]


@dataclass(slots=True)
class Count:
    """What became of one class of inputs."""

    sent: int = 0
    refused: int = 0
    crashes: list[str] = field(default_factory=list)

    def tried(self, what: str, read: Callable[[], object]) -> None:
        """One input: refused with a sentence, or right after all, or a crash."""
        self.sent += 1
        try:
            read()
        except EdgeflowError as error:
            self.refused += 1
            if not str(error):
                self.crashes.append(f"{what}: refused without a word")
        except Exception as error:
            if len(self.crashes) < TELL_MAX:
                self.crashes.append(f"{what}: {type(error).__name__}: {error}"[:300])


class Models:
    """Model files and manifests."""

    def __init__(self, chance: random.Random, folder: Path) -> None:
        self.chance, self.path = chance, folder / "mutant.safetensors"
        modelfile.save(model(), self.path)
        self.whole = self.path.read_bytes()
        self.start = 8 + struct.unpack("<Q", self.whole[:8])[0]
        self.header = json.loads(self.whole[8 : self.start])
        self.text = manifest.encode(model())
        self.tree = json.loads(self.text)

    def next(self, count: Count) -> None:
        """One mutant."""
        chance = self.chance
        kind = chance.randrange(4)
        if kind == 0:
            text = dumped(chance, mutate.tree_of(chance, self.tree, self.header))
            count.tried("manifest", lambda: manifest.decode(text))
        elif kind == 1:
            text = mutate.bytes_of(chance, self.text, self.whole)
            count.tried("manifest", lambda: manifest.decode(text))
        else:
            self.path.write_bytes(self._file(kind))
            count.tried("model file", lambda: modelfile.load(self.path))
            count.tried("model index", lambda: modelfile.index(self.path))

    def _file(self, kind: int) -> bytes:
        chance = self.chance
        if kind == 2:
            return mutate.bytes_of(chance, self.whole, self.text)
        header = self.header
        if chance.random() < 0.5:
            tree = mutate.tree_of(chance, self.tree, header)
            inner = dumped(chance, tree).decode(errors="replace")
            header = {**header, "__metadata__": {modelfile.METADATA_KEY: inner}}
        else:
            header = mutate.tree_of(chance, header, self.tree)
        text = dumped(chance, header)
        length = chance.choice((len(text), len(text), len(text), chance.getrandbits(64), 0))
        return struct.pack("<Q", length) + text + self.whole[self.start :]


class Settings:
    """Settings of nodes, clusters on paper, labs."""

    def __init__(self, chance: random.Random, folder: Path) -> None:
        self.chance, self.path = chance, folder / "mutant.toml"
        configs = ROOT / "configs"
        self.nodes = [path.read_bytes() for path in sorted(configs.glob("*.toml"))]
        self.node_tables = [_whole_node(), *map(settings.read_toml, sorted(configs.glob("*.toml")))]
        self.clusters = sorted((configs / "clusters").glob("*.toml"))
        self.labs = sorted((configs / "labs").glob("*.toml"))
        self.tables = {path: settings.read_toml(path) for path in (*self.clusters, *self.labs)}

    def next(self, count: Count) -> None:
        """One mutant."""
        chance = self.chance
        kind = chance.randrange(4)
        if kind == 0:
            self.path.write_bytes(mutate.bytes_of(chance, chance.choice(self.nodes)))
            count.tried("node file", lambda: settings.load(self.path, {"name": "n"}))
        elif kind == 1:
            table = self._table(chance.choice(self.node_tables))
            count.tried("node settings", lambda: settings.convert(table, "x"))
        elif kind == 2:
            path = chance.choice(self.clusters)
            table = self._table(self.tables[path])
            count.tried("cluster", lambda: clusterfile.convert(table, path))
        else:
            table = self._table(self.tables[chance.choice(self.labs)])
            count.tried("lab", lambda: labfile.convert(table, "x"))

    def _table(self, table: Table) -> Table:
        made = mutate.tree_of(self.chance, table, self.chance.choice(self.node_tables))
        return made if isinstance(made, dict) else {"name": made}


def _whole_node() -> Table:
    """Every setting, as a table."""
    return {
        "name": "edge-1",
        "tier": "edge",
        "brokers": ["mqtt://127.0.0.1:1883"],
        "cluster": "home",
        "compute": "cpu",
        "engine": "auto",
        "threads": 1,
        "bind": "127.0.0.1",
        "tensors_port": 0,
        "signals_port": 0,
        "advertise": ["10.0.0.1", {"host": "a", "tensors_port": 1, "signals_port": 2}],
        "reachable": True,
        "key_file": "k",
        "insecure": False,
        "state_dir": "s",
        "store_bytes_max": 1,
        "can_lead": True,
        "emulate": {"compute_factor": 2.0, "mbps": 1.0, "peers_mbps": {"a": 1.0}, "delay_ms": 1.0},
    }


def dumped(chance: random.Random, tree: Any) -> bytes:
    """As JSON, sometimes with what JSON has not: NaN, an integer of 40 digits, bad UTF-8."""
    text = json.dumps(tree, sort_keys=chance.random() < 0.8, separators=(",", ":"))
    odd = chance.randrange(40)
    if odd == 0:
        text = text.replace(":1", ":NaN", 1)
    elif odd == 1:
        text = text.replace(":1", f":1{'0' * 40}", 1)
    elif odd == 2:
        text = text.replace(":1", ":1e999", 1)
    raw = text.encode()
    return raw.replace(b"e", b"\xff", 1) if odd == 3 else raw

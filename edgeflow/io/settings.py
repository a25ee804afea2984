"""Settings of a node: a TOML file, then what the command line says on top.

    file ──▶ table ──┐
                     ├─▶ NodeConfig, checked field by field
    overrides ───────┘

Every error names the file, the key and the cure.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgeflow import executors
from edgeflow.config import SIGNALS_PORT, TENSORS_PORT, Emulate, NodeConfig
from edgeflow.errors import UsageError
from edgeflow.messages import CLOUD, DEVICE, EDGE, Tier

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TIERS = {tier.name: tier for tier in (DEVICE, EDGE, CLOUD)}
COMPUTE = ("auto", "cpu", "cuda", "none")
ENGINES = ("auto", *executors.ENGINES)
WORKERS = ("process", "thread")


def load(path: Path | None, overrides: Mapping[str, Any]) -> NodeConfig:
    """The settings in `path` (None: none), with every override that is not None on top.

    An override of `emulate` is merged key by key; a relative path in a file starts at the file's
    folder. UsageError where anything does not fit.
    """
    where = str(path) if path else "command line"
    table = read_toml(path) if path else {}
    for key in ("key_file", "state_dir", "event_log"):
        if path and isinstance(table.get(key), str) and table[key]:
            table[key] = str(path.parent / Path(table[key]).expanduser())
    given = {key: value for key, value in overrides.items() if value is not None}
    emulate = given.pop("emulate", {})
    table.update(given)
    if emulate:
        table["emulate"] = {**_table(table.get("emulate", {}), "emulate", where), **emulate}
    if "name" not in table:
        raise UsageError(f'{where}: no name; add name = "edge-1" or the option --name edge-1')
    return convert(table, where)


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file; UsageError where it cannot be read, with the line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; examples lie in configs/") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    except (OSError, ValueError, RecursionError) as error:  # also of a path with a zero byte
        raise UsageError(f"{str(path)!r}: cannot be read ({error})") from None


def convert(table: Mapping[str, Any], where: str) -> NodeConfig:
    """A NodeConfig out of a plain table; `where` is what an error calls it."""
    shaped = dict(table)
    if isinstance(shaped.get("tier"), str):
        shaped["tier"] = tier_named(shaped["tier"], where)
    if isinstance(shaped.get("brokers"), str):
        shaped["brokers"] = [shaped["brokers"]]
    if isinstance(shaped.get("advertise"), list | tuple):
        shaped["advertise"] = [_endpoint(each, shaped) for each in shaped["advertise"]]
    try:
        config = msgspec.convert(shaped, NodeConfig)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {_explain(str(error))}") from None
    for key, known in (("compute", COMPUTE), ("engine", ENGINES), ("worker", WORKERS)):
        if (given := getattr(config, key)) not in known:
            raise UsageError(f"{where}: {key}: {given!r} is none of {', '.join(known)}")
    if not config.brokers:
        raise UsageError(f'{where}: brokers: empty; write brokers = ["mqtt://127.0.0.1:1883"]')
    return config


def tier_named(text: str, where: str = "--tier") -> Tier:
    """`device`, `edge`, `cloud`, or `RANK:NAME` for a tier in between, such as `1:gateway`."""
    if text in TIERS:
        return TIERS[text]
    rank, _, name = text.partition(":")
    if rank.isascii() and rank.isdigit() and len(rank) <= 6 and name:
        return Tier(int(rank), name)
    raise UsageError(f"{where}: tier: {text!r} is none of {', '.join(TIERS)}, nor RANK:NAME")


def _endpoint(given: Any, table: Mapping[str, Any]) -> Any:
    """A bare host stands for itself at this node's own ports."""
    if not isinstance(given, str):
        return given
    return {
        "host": given,
        "tensors_port": table.get("tensors_port", TENSORS_PORT),
        "signals_port": table.get("signals_port", SIGNALS_PORT),
    }


def _table(value: Any, key: str, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: {key}: must be a table: [{key}]")
    return dict(value)


def _explain(text: str) -> str:
    """msgspec's words with the key in front: `emulate.mbps: Expected ...`."""
    reason, _, place = text.partition(" - at `$")
    key = place.strip("`.")
    if "unknown field" in reason:
        fields = Emulate if key == "emulate" else NodeConfig
        reason += f"; known: {', '.join(fields.__struct_fields__)}"
    if "matching regex" in reason:
        reason = "letters, digits, and - _ . behind the first, 63 at most"
    return f"{key}: {reason}" if key else reason

"""Where a broker is: ``mqtt://user:password@host:port`` or ``mqtts://…?ca=FILE``."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from edgeflow.errors import UsageError

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """One broker; `str` of it has no password."""

    host: str
    port: int
    tls: bool
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """Certificates to trust instead of the system's."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> BrokerUrl:
        """UsageError where the text is no such URL."""
        try:
            found = urlsplit(text)
            port = found.port
        except ValueError as error:
            raise _wrong(text, str(error)) from error
        if found.scheme not in _PORTS:
            raise _wrong(text, "it does not begin with mqtt:// or mqtts://")
        if not found.hostname:
            raise _wrong(text, "it names no host")
        if found.path not in ("", "/"):
            raise _wrong(text, "nothing but ?ca=FILE may follow the host")
        return cls(
            host=found.hostname,
            port=port or _PORTS[found.scheme],
            tls=found.scheme == "mqtts",
            user=unquote(found.username or ""),
            password=unquote(found.password or ""),
            ca_file=parse_qs(found.query).get("ca", [""])[0],
        )


def _wrong(text: str, why: str) -> UsageError:
    shown = text.rpartition("@")[2]
    return UsageError(
        f"{shown!r} is no broker URL, {why}: write mqtt://host, mqtts://host:8883 or"
        " mqtt://user:password@host (a / @ or : in a password as %2F %40 %3A)"
    )

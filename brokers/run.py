"""An MQTT broker in one command: ``python -I -m edgeflow.brokers.run``, or ``edgeflow broker``.

    mosquitto on PATH? ──yes──▶ child process with a generated configuration ─┐
           └──no──▶ iotcore installed? ──▶ child process, generated TOML ─────┴─▶ one CONNECT
                                                                                 answered: ready
Loopback unless told otherwise, and beyond it only with a password. The password comes from the
environment or a file: what stands on a command line, everybody on the machine can read.

Invariant: the broker ends with this process, however this process ends.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import ipaddress
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from edgeflow.errors import BrokerError, EdgeflowError, UsageError
from edgeflow.io.mqttcheck import answers

READY_S = 10.0
"""Time for a broker to answer; 0.03 s (mosquitto) to 0.3 s (iotcore) on a quiet machine."""
STOP_S = 3.0
PAYLOAD_BYTES_MAX = 1 << 18
"""Of one message; ours are at most 64 kB. iotcore's own default of 20 kB would cut plans off."""
PASSWORD_VARIABLE = "EDGEFLOW_BROKER_PASSWORD"

_MOSQUITTO = """\
listener {port} {bind}
{access}
{persistence}
max_packet_size {payload}
max_queued_messages 10000
max_keepalive 120
log_dest stderr
log_type error
"""
_IOTCORE = """\
id = 0

[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 20000
max_segment_size = 262144
max_segment_count = 2

[v4.1]
name = "v4"
listen = "{bind}:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 5000
max_payload_size = {payload}
max_inflight_count = 500
dynamic_filters = true
{auth}
"""
_IOTCORE_PROGRAM = "import sys, iotcore; iotcore.Broker(config_path=sys.argv[1]).run_forever()"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    port: int
    bind: str
    kind: str
    user: str
    password: str = field(repr=False)
    keep: Path | None = None

    @property
    def url(self) -> str:
        """Where clients of this machine find it, without the password."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.bind, self.bind)
        return f"mqtt://{self.user + '@' if self.user else ''}{host}:{self.port}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a broker until SIGTERM or SIGINT; the exit code of `edgeflow.errors`."""
    try:
        wanted = _parse(arguments)
        with tempfile.TemporaryDirectory(prefix="edgeflow-broker-") as folder:
            return _serve(wanted, Path(folder))
    except EdgeflowError as error:
        sys.stderr.write(f"edgeflow broker: {error}\n")
        return error.exit_code
    except _StoppedError:
        return 0


class _StoppedError(Exception):
    """SIGTERM or SIGINT."""


def _serve(wanted: Wanted, folder: Path) -> int:
    _refuse_taken_port(wanted)
    command, said = _command(wanted, folder)
    _on_signals(_stop)
    errors = subprocess.DEVNULL if said == "iotcore" else None  # it tells of every connection
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=errors, preexec_fn=_die_with_parent()
    )
    try:
        _wait_ready(child, wanted)
        sys.stdout.write(f"broker ready: {said} at {wanted.url}\n")
        sys.stdout.flush()
        code = child.wait()
        raise BrokerError(f"{said} ended by itself with exit code {code}; start it again")
    finally:
        _on_signals(signal.SIG_IGN)
        _end(child)


def _on_signals(do: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, do)


def _stop(number: int, frame: FrameType | None) -> None:
    raise _StoppedError


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _die_with_parent() -> Callable[[], object] | None:
    """What a child does first: ask Linux for SIGKILL should its parent die (prctl(2))."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(1, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return ask


# --- which broker ---------------------------------------------------------------------------------


def _command(wanted: Wanted, folder: Path) -> tuple[list[str], str]:
    """The command line of the broker, and its name."""
    found = shutil.which(
        "mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    )
    if wanted.kind != "iotcore" and found:
        return _mosquitto(wanted, folder, found), "mosquitto"
    if wanted.kind == "mosquitto":
        raise BrokerError("mosquitto is not on PATH: sudo apt-get install mosquitto")
    if importlib.util.find_spec("iotcore") is None:
        raise BrokerError(
            "no broker is installed: sudo apt-get install mosquitto, or"
            " pip install 'edgeflow-dnn[broker]' (iotcore)"
        )
    return _iotcore(wanted, folder), "iotcore"


def _mosquitto(wanted: Wanted, folder: Path, program: str) -> list[str]:
    access = "allow_anonymous true"
    if wanted.user:
        passwords = folder / "passwords"
        passwords.write_text(f"{wanted.user}:{wanted.password}\n", encoding="utf-8")
        tool = shutil.which("mosquitto_passwd") or "mosquitto_passwd"
        try:
            subprocess.run([tool, "-U", str(passwords)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise BrokerError(
                f"mosquitto_passwd failed ({error}): install it, or use no user"
            ) from error
        access = f"allow_anonymous false\npassword_file {passwords}"
    config = folder / "mosquitto.conf"
    # As root mosquitto would become the user `mosquitto`, who cannot read this folder.
    owner = "user root\n" if os.geteuid() == 0 else ""
    keeps = "persistence false"
    if wanted.keep is not None:
        wanted.keep.mkdir(parents=True, exist_ok=True)
        keeps = (
            f"persistence true\npersistence_location {wanted.keep.absolute()}/\nautosave_interval 1"
        )
    settings = _MOSQUITTO.format(access=access, persistence=keeps, **_numbers(wanted))
    config.write_text(owner + settings, encoding="utf-8")
    return [program, "-c", str(config)]


def _iotcore(wanted: Wanted, folder: Path) -> list[str]:
    if wanted.keep is not None:
        raise BrokerError("iotcore keeps nothing: for --keep, sudo apt-get install mosquitto")
    auth = ""
    if wanted.user:
        quoted = f"{json.dumps(wanted.user)} = {json.dumps(wanted.password)}"
        auth = f"\n[v4.1.connections.auth]\n{quoted}\n"
    config = folder / "iotcore.toml"
    config.write_text(_IOTCORE.format(auth=auth, **_numbers(wanted)), encoding="utf-8")
    return [sys.executable, "-I", "-c", _IOTCORE_PROGRAM, str(config)]


def _numbers(wanted: Wanted) -> dict[str, object]:
    return {"port": wanted.port, "bind": wanted.bind, "payload": PAYLOAD_BYTES_MAX}


def _refuse_taken_port(wanted: Wanted) -> None:
    family = socket.AF_INET6 if ":" in wanted.bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((wanted.bind, wanted.port))
        except PermissionError as error:
            raise BrokerError(f"port {wanted.port} needs root: take one above 1023") from error
        except OSError as error:
            if error.errno != 98:
                raise UsageError(f"cannot listen on {wanted.bind}: {error.strerror}") from error
            raise BrokerError(
                f"port {wanted.port} is taken, perhaps by a mosquitto that was installed as a"
                " service: use that broker as it is, or stop it (sudo systemctl stop mosquitto),"
                f" or take another port (--port {wanted.port + 1})"
            ) from error


def _wait_ready(child: subprocess.Popen[bytes], wanted: Wanted) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(wanted.bind, wanted.bind)
    end_s = time.monotonic() + READY_S
    while time.monotonic() < end_s:
        if child.poll() is not None:
            raise BrokerError(f"the broker ended at once with exit code {child.returncode}")
        if answers(host, wanted.port, wanted.user, wanted.password):
            return
        time.sleep(0.02)
    raise BrokerError(f"the broker did not answer within {READY_S:g} s")


# --- the command line -----------------------------------------------------------------------------


def _parse(arguments: Sequence[str] | None) -> Wanted:
    parser = argparse.ArgumentParser(prog="edgeflow broker", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--kind", choices=("auto", "mosquitto", "iotcore"), default="auto")
    parser.add_argument("--user", default="", help=f"its password is in ${PASSWORD_VARIABLE}, or")
    parser.add_argument("--password-file", type=Path, help="in this file, readable by you alone")
    parser.add_argument("--keep", type=Path, help="a folder: retained messages outlive the broker")
    parser.add_argument("--insecure", action="store_true", help="no password off this machine")
    found = parser.parse_args(arguments)
    password = _password(found.password_file) if found.user else ""
    if not 0 < found.port < 1 << 16:
        raise UsageError(f"--port {found.port} is none: 1 to 65535")
    try:
        address = ipaddress.ip_address(found.bind)
    except ValueError as error:
        raise UsageError(f"--bind {found.bind} is no address: 127.0.0.1, 0.0.0.0, …") from error
    if not (address.is_loopback or found.user or found.insecure):
        raise UsageError(
            f"on {found.bind} anybody could lead this cluster: set --user and ${PASSWORD_VARIABLE},"
            " or accept the risk with --insecure"
        )
    return Wanted(found.port, found.bind, found.kind, found.user, password, found.keep)


def _password(file: Path | None) -> str:
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if file is not None:
        try:
            if stat.S_IMODE(file.stat().st_mode) & 0o077:
                raise UsageError(f"{file} can be read by others: chmod 600 {file}")
            password = file.read_text(encoding="utf-8").rstrip("\n")
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror}") from error
    if not password or "\n" in password:
        raise UsageError(f"--user needs a password of one line, in ${PASSWORD_VARIABLE} or a file")
    return password


if __name__ == "__main__":
    sys.exit(main())

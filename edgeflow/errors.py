"""Errors a user can meet: each text names the cure, each class has an exit code.

0 done  1 a bug of ours  2 wrong usage  3 model  4 broker  5 deployment  6 frame  7 network  8 lab
9 the node's name is taken
"""

from __future__ import annotations

from typing import ClassVar


class EdgeflowError(Exception):
    """Base of every error that edgeflow raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(EdgeflowError):
    """A setting, an argument or a file that the user gave cannot be used."""

    exit_code = 2


class ModelError(EdgeflowError):
    """A model cannot be exported, read or trusted; or an input does not fit it."""

    exit_code = 3


class InputError(ModelError):
    """One input that no node can answer: the frame ends with it, the next one may be well."""


class BrokerError(EdgeflowError):
    """No broker, or it does not let us in."""

    exit_code = 4


class DeployError(EdgeflowError):
    """A deployment is impossible or did not get ready in time."""

    exit_code = 5


class FrameError(EdgeflowError):
    """A frame's one outcome was an error; `code` says which."""

    exit_code = 6

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class NetworkError(EdgeflowError):
    """A port is taken, an address is not ours, or a key does not fit."""

    exit_code = 7


class LabError(EdgeflowError):
    """A lab cannot be built, changed or taken down on this machine."""

    exit_code = 8


class NameTakenError(EdgeflowError):
    """Another living node of the cluster has this node's name, and was here first."""

    exit_code = 9

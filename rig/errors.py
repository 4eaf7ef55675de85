# SPDX-License-Identifier: Apache-2.0
"""Every error a user can see, and the exit code it stands for.

    RigError
    ├── UsageError            exit 2: bad input, bad configuration, unknown name
    ├── InfrastructureError   exit 3: a tool or platform failed; says nothing about the product
    │   └── ToolMissing       exit 3: a tool is not there and could not be had
    └── Refusal               not a failure: cannot be judged, with the reason (becomes REFUSED)

A message names the file, the key and the cure. It is shown as it is, without a traceback.
"""

from __future__ import annotations


class RigError(Exception):
    """Base of all errors that are shown to the user as one message."""

    exit_code = 3


class UsageError(RigError):
    """The user's input or configuration is wrong."""

    exit_code = 2


class InfrastructureError(RigError):
    """A tool, emulator or host failed. Never a verdict about the product."""

    exit_code = 3


class ToolMissing(InfrastructureError):
    """A tool is missing; the message says how to get it."""


class Refusal(RigError):
    """Something cannot be judged or built here; `reason` becomes REFUSED(reason)."""

    exit_code = 0

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

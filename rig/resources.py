# SPDX-License-Identifier: Apache-2.0
"""The files that are not Python: board descriptions, firmware sources, Renode platforms.

They lie beside `rig/` in a checkout and inside it in a wheel (see pyproject.toml); callers need not know which.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rig.errors import InfrastructureError

Name = Literal["boards", "firmware", "renode"]
_PACKAGE = Path(__file__).resolve().parent


def data_dir(name: Name) -> Path:
    """The folder `name`, read only. Raises InfrastructureError where the installation lacks it."""
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise InfrastructureError(f"this rig lacks its folder {name}/ (looked in {_PACKAGE}): install it again")

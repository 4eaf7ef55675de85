# SPDX-License-Identifier: Apache-2.0
"""`rig setup`: bring what is missing into the cache, also what failed before."""

from __future__ import annotations

import argparse

from rig.host import setup


def main(arguments: argparse.Namespace) -> int:
    """0: everything that the main job needs is there. Raises InfrastructureError otherwise."""
    return setup.setup()

# SPDX-License-Identifier: Apache-2.0
"""`rig doctor`: what is there, and what cannot be done without what is not. Installs nothing."""

from __future__ import annotations

import argparse

from rig.host import doctor


def main(arguments: argparse.Namespace) -> int:
    """0: the main job can run; 3: it cannot."""
    return doctor.doctor(json=arguments.json)

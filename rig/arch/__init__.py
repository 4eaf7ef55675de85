# SPDX-License-Identifier: Apache-2.0
"""The architectures as pure functions: what an MPU or PMP allows, and how a denial shows.

No I/O and no import from any other part of the rig: this is one of the two halves of a prediction, and it must
not share a line with the code that programs the hardware. `docs/arch.md` lists the rules with their clauses.
"""

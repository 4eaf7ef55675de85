# SPDX-License-Identifier: Apache-2.0
"""The parts of `rig.judge`: what is put before it, effects of legs that must succeed, ends of armed legs. No I/O."""

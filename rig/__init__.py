# SPDX-License-Identifier: Apache-2.0
"""rig: evidence that memory isolation between fused wasm components holds on real parts."""

__version__ = "0.1.0"

# SPDX-License-Identifier: Apache-2.0
"""One file per command: turns parsed arguments into calls of `rig.pipeline` and a rendering."""

# SPDX-License-Identifier: Apache-2.0
"""Live connections to a board or an emulator: one small protocol (`protocol`), one file per way to reach hardware."""

# SPDX-License-Identifier: Apache-2.0
"""Hand-made images are shared with the plan's tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "plan"))

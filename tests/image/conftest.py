# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from image_samples import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))

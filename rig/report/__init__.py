# SPDX-License-Identifier: Apache-2.0
"""Renderings of the journal. Nothing here judges; nothing here is kept that the journal does not say."""

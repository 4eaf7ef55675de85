# SPDX-License-Identifier: Apache-2.0
"""From components to an ELF: fuse, lower, interpose the gates, link. Drives the tools, caches by content hash."""

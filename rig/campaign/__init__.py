# SPDX-License-Identifier: Apache-2.0
"""Order, seeds, legs, resume, journal, parallelism."""

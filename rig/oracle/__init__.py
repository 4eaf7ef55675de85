# SPDX-License-Identifier: Apache-2.0
"""What an export must answer (C-03): argument vectors by WIT type, and the un-fused components run in wasmtime."""

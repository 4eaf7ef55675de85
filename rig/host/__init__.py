# SPDX-License-Identifier: Apache-2.0
"""The machine the rig runs on: its cache, its tools, and how child processes are started and ended.

`tools.find(name)` gives a tool, `process.run(tool, args)` runs it, `setup.ensure(names)` brings what is missing.
Importable without any third-party package: `rigw` starts here before the environment exists.
"""

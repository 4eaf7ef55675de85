# SPDX-License-Identifier: Apache-2.0
"""What was built: a fused module and everything known of it. The door is `rig.image.reader.read`."""

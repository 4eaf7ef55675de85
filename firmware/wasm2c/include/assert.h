// SPDX-License-Identifier: Apache-2.0
#pragma once

#define assert(condition) ((void)(condition))

// SPDX-License-Identifier: Apache-2.0
#pragma once

#define alloca(size) __builtin_alloca(size)

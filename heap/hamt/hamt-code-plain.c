/* SPDX-License-Identifier: MIT */
/* hamt-code-plain: the hot paths for any processor of the architecture. */
#include "heap/hamt/hamt-trie.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HAMT_CODE skv_hamt_code_plain
#define HAMT_CODE_NAME "plain"
#include "heap/hamt/hamt-code.h"

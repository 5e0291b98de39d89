/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_CLI_HUGE_H
#define TOOLS_CLI_HUGE_H

/* cli-huge: what there is to say about huge pages. */

#include <shmkv/huge.h>

#include "cli.h"

/* "never", "lazy", "eager" */
const char *cli_huge_name(uint32_t policy);

void cli_show_huge(struct cli_call *call, struct emitter *e, const struct shmkv_huge *huge);

#endif

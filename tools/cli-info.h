/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_CLI_INFO_H
#define TOOLS_CLI_INFO_H

/* cli-info: the sections of info, each also of use to others. */

#include <shmkv/inspect.h>

#include "cli.h"

void cli_show_stats(struct cli_call *call, struct emitter *e, const struct shmkv_stats *stats);
void cli_show_memory(struct cli_call *call, struct emitter *e, const struct shmkv_memory *memory);

/* The members of one, inside an object. */
void cli_emit_participant(struct emitter *e, const struct shmkv_participant *p);

/* 0, or the code of the library. */
int cli_show_participants(struct cli_call *call, struct emitter *e);

#endif

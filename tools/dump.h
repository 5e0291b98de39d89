/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_DUMP_H
#define TOOLS_DUMP_H

/*
 * dump: what shmkv-dump was asked for, shared by its two walks: over the entries (dump.c)
 * and over the structure (dump-layout.c).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shmkv/shmkv.h>

#include "exit-codes.h"
#include "json-write.h"
#include "out.h"

enum dump_form {
	DUMP_TABLE,
	DUMP_JSON,   /* one document */
	DUMP_NDJSON, /* one object a line */
};

struct dump {
	struct shmkv *kv;
	const char *segment;
	struct reporter rep;
	enum dump_form form;
	bool hex;
	bool ttl; /* a column for the time that keys have still to live */
	bool layout;
	const char *prefix;      /* of the keys that are wanted */
	size_t columns;          /* of the terminal, SIZE_MAX without one */
	unsigned int text_flags; /* for text_put */
	struct out out;
	struct emitter emitter;
};

/* dump_layout - leaves, chunks, processes and threads; returns an exit code */
int dump_layout(struct dump *d);

#endif

/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_VALUE_JSON_H
#define TOOLS_VALUE_JSON_H

/*
 * value-json: shows a msgpack object as JSON, without loss.
 *
 * What JSON cannot say has an explicit form, an object with one key that begins with '$':
 *
 *	{"$bin":"<base64>"}          bytes
 *	{"$str":"<base64>"}          a str that is not UTF-8
 *	{"$ext":[type,"<base64>"]}   an extension object
 *	{"$float":"nan"}             also "inf" and "-inf"
 *	{"$map":[[key,value],...]}   a map with keys that are not distinct texts, or that would
 *	                             look like one of these forms itself
 *
 * json-read takes all of them back.
 */

#include <stddef.h>

#include "json-write.h"

/*
 * value_emit - write one object that shmkv_value_check has accepted
 *
 * Returns 0 or -EILSEQ; then what was written is not complete.
 */
int value_emit(struct emitter *e, const void *data, size_t len);

#endif

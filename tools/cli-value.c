/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <shmkv/inspect.h>

#include "json-read.h"
#include "sizes.h"

#define FIRST_BUFFER ((size_t)1 << 16)

static int file_problem(struct cli_call *call, const char *path, int error)
{
	const char *name = strerrorname_np(error);

	return report_problem(&call->rep, TOOL_OTHER, name ? name : "EIO",
			      "check the path, or use - for standard input",
			      "cannot read \"%s\": %s", path, strerror(error));
}

/*
 * Reads to the end, at most @limit bytes: a value of more could not be stored, and need not
 * be brought into memory to learn that. One byte of room is left for a terminator.
 */
static int read_to_end(int fd, size_t limit, size_t expected, char **ret_data, size_t *ret_len)
{
	size_t cap = expected < FIRST_BUFFER ? FIRST_BUFFER : expected + 1, len = 0;
	char *data = malloc(cap + 1), *larger;
	ssize_t n;

	if (!data)
		return -ENOMEM;
	for (;;) {
		n = read(fd, data + len, cap - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			n = -errno;
			free(data);
			return (int)n;
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > limit) {
			free(data);
			return -EFBIG;
		}
		if (len < cap)
			continue;
		cap = cap < SIZE_MAX / 4 ? cap * 2 : cap;
		larger = realloc(data, cap + 1);
		if (!larger) {
			free(data);
			return -ENOMEM;
		}
		data = larger;
	}
	data[len] = 0;
	*ret_data = data;
	*ret_len = len;
	return 0;
}

static int read_file(struct cli_call *call, char **ret_data, size_t *ret_len)
{
	struct shmkv_info info = { .size = sizeof(info) };
	bool standard = strcmp(call->value_path, "-") == 0;
	struct stat st;
	size_t limit, expected = 0;
	int fd, r;

	r = shmkv_info(call->kv, &info);
	if (r < 0)
		return cli_fail(call, r);
	limit = info.max_bytes;
	/* Base64 inside JSON is longer than what it stands for, \u escapes are six times that. */
	if (call->kind == VALUE_JSON)
		limit = limit < SIZE_MAX / 8 ? limit * 8 : limit;

	fd = standard ? STDIN_FILENO : open(call->value_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return file_problem(call, call->value_path, errno);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		expected = (size_t)st.st_size;
	r = expected > limit ? -EFBIG : read_to_end(fd, limit, expected, ret_data, ret_len);
	if (!standard)
		close(fd);
	if (r == -EFBIG || r == -ENOMEM)
		return cli_fail(call, r);
	return r < 0 ? file_problem(call, call->value_path, -r) : TOOL_OK;
}

/* Numbers and words from a file usually end with a line feed that nobody means. */
static void drop_line_feed(char *text, size_t *len)
{
	if (*len > 0 && text[*len - 1] == '\n')
		text[--*len] = 0;
}

static int value_of_json(struct cli_call *call, const char *text, size_t len,
			 struct shmkv_value *ret_value, void **ret_owned)
{
	char problem[JSON_PROBLEM_MAX];
	size_t packed_len;
	void *packed;
	int r = json_to_pack(text, len, &packed, &packed_len, problem);

	if (r == -EILSEQ)
		return report_problem(&call->rep, TOOL_USAGE, "EILSEQ",
				      "text needs its double quotes too: '\"text\"'",
				      "VALUE is not the JSON that can be stored: %s", problem);
	if (r < 0)
		return cli_fail(call, r);
	free(*ret_owned);
	*ret_owned = packed;
	*ret_value = shmkv_packed(packed, packed_len);
	return TOOL_OK;
}

static int value_of_text(struct cli_call *call, const char *text, size_t len,
			 struct shmkv_value *ret_value)
{
	int64_t i64;
	uint64_t u64;
	double f64;

	/* A NUL inside would hide what comes after it from the number parsers. */
	if (strlen(text) != len)
		return cli_usage(call, "VALUE has a NUL byte in it");

	switch (call->kind) {
	case VALUE_INT:
		if (int_parse(text, &i64))
			*ret_value = shmkv_int(i64);
		else if (uint_parse(text, &u64))
			*ret_value = shmkv_uint(u64);
		else
			return cli_usage(call, "VALUE is not an integer of 64 bits: \"%.100s\"", text);
		return TOOL_OK;
	case VALUE_FLOAT:
		if (!float_parse(text, &f64))
			return cli_usage(call, "VALUE is not a number that fits a double: \"%.100s\"",
					 text);
		*ret_value = shmkv_float(f64);
		return TOOL_OK;
	default:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return cli_usage(call, "VALUE is true or false, not \"%.100s\"", text);
		*ret_value = shmkv_bool(text[0] == 't');
		return TOOL_OK;
	}
}

int cli_value(struct cli_call *call, struct shmkv_value *ret_value, void **ret_owned)
{
	const char *text = call->value_word;
	char *from_file = NULL;
	size_t len = text ? strlen(text) : 0;
	int r;

	*ret_owned = NULL;
	if (call->kind == VALUE_NIL) {
		*ret_value = shmkv_nil();
		return TOOL_OK;
	}
	if (call->value_path) {
		r = read_file(call, &from_file, &len);
		if (r != TOOL_OK)
			return r;
		*ret_owned = from_file;
		text = from_file;
	}

	switch (call->kind) {
	case VALUE_BIN:
		*ret_value = shmkv_bin(text, len);
		return TOOL_OK;
	case VALUE_JSON:
		r = value_of_json(call, text, len, ret_value, ret_owned);
		break;
	case VALUE_STR:
		*ret_value = shmkv_str_n(text, len);
		return TOOL_OK;
	default:
		if (from_file)
			drop_line_feed(from_file, &len);
		r = value_of_text(call, text, len, ret_value);
		break;
	}
	if (r != TOOL_OK) {
		free(*ret_owned);
		*ret_owned = NULL;
	}
	return r;
}

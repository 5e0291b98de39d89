/* SPDX-License-Identifier: MIT */
#include "shell-words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sizes.h"

/* One backslash sequence inside double quotes; returns its length, or 0 with a problem. */
static size_t escape_at(const char *p, char *ret_c, const char **ret_problem)
{
	switch (p[1]) {
	case '"':
	case '\\':
		*ret_c = p[1];
		return 2;
	case 'n':
		*ret_c = '\n';
		return 2;
	case 't':
		*ret_c = '\t';
		return 2;
	case 'x':
		if (hex_digit(p[2]) < 0 || hex_digit(p[3]) < 0)
			break;
		*ret_c = (char)(hex_digit(p[2]) << 4 | hex_digit(p[3]));
		if (*ret_c == 0) {
			*ret_problem = "a word cannot hold a NUL byte; for keys there is --key-hex";
			return 0;
		}
		return 4;
	}
	*ret_problem = "inside double quotes a backslash needs one of \" \\ n t xHH after it";
	return 0;
}

/* Copies one word from *p to *to, unquoted. */
static int take_word(const char **p, char **to, const char **ret_problem)
{
	const char *at = *p;
	char *out = *to;
	char quote = 0;
	size_t n;

	for (; *at && (quote || (*at != ' ' && *at != '\t')); at += n) {
		n = 1;
		if (quote ? *at == quote : *at == '\'' || *at == '"') {
			quote = quote ? 0 : *at;
		} else if (quote == '"' && *at == '\\') {
			n = escape_at(at, out, ret_problem);
			if (n == 0)
				return -EINVAL;
			out++;
		} else if (!quote && *at == '\\') {
			if (!at[1]) {
				*ret_problem = "the line ends with a backslash";
				return -EINVAL;
			}
			*out++ = at[1];
			n = 2;
		} else {
			*out++ = *at;
		}
	}
	if (quote) {
		*ret_problem = "a quote is not closed";
		return -EINVAL;
	}
	*out++ = 0;
	*p = at;
	*to = out;
	return 0;
}

int shell_words_split(const char *line, struct shell_words *ret_words, const char **ret_problem)
{
	struct shell_words words = { 0 };
	size_t len = strlen(line);
	char *to;
	int r;

	/* A word needs a character and a blank, and becomes no longer by unquoting. */
	words.text = malloc(len + 2);
	words.words = calloc(len / 2 + 2, sizeof(*words.words));
	if (!words.text || !words.words) {
		r = -ENOMEM;
		goto fail;
	}
	to = words.text;
	for (;;) {
		line += strspn(line, " \t");
		if (!*line || *line == '#')
			break;
		words.words[words.n_words++] = to;
		r = take_word(&line, &to, ret_problem);
		if (r < 0)
			goto fail;
	}
	*ret_words = words;
	return 0;

fail:
	shell_words_deinit(&words);
	return r;
}

void shell_words_deinit(struct shell_words *words)
{
	free(words->text);
	free(words->words);
}

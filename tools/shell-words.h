/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_SHELL_WORDS_H
#define TOOLS_SHELL_WORDS_H

/*
 * shell-words: splits a line of the shell into words.
 *
 * Blanks separate words. 'Single quotes' keep everything, "double quotes" know \" \\ \n \t
 * and \xHH, outside quotes a backslash keeps the next character. A # at the beginning of
 * a word makes the rest of the line a comment.
 */

struct shell_words {
	char **words; /* the words, then NULL */
	int n_words;
	char *text; /* what they point into */
};

/*
 * shell_words_split - split one line without its line feed
 * @ret_problem: static text, set when the answer is -EINVAL
 *
 * Returns 0, -EINVAL or -ENOMEM. End with shell_words_deinit in the first case only.
 */
int shell_words_split(const char *line, struct shell_words *ret_words, const char **ret_problem);

void shell_words_deinit(struct shell_words *words);

#endif

/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <histedit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shell-words.h"
#include "text-escape.h"

#define HISTORY_LINES 1000

struct shell {
	struct cli cli;
	struct cli_call *call;
	int first_failure;
	/* only with a terminal */
	EditLine *edit;
	History *history;
	bool given_up; /* Ctrl-C ended the line */
	char prompt[SHMKV_NAME_MAX + 16];
};

/* Set by the signal, cleared before each line. */
static volatile sig_atomic_t interrupted;

bool cli_interrupted(void)
{
	return interrupted;
}

static void on_interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

int cli_leave(struct cli_call *call)
{
	call->cli->leave = true;
	return TOOL_OK;
}

/* ---- one line -------------------------------------------------------------------- */

static int run_line(struct shell *sh, const char *line)
{
	struct shell_words words;
	const char *problem = "";
	int r;

	r = shell_words_split(line, &words, &problem);
	if (r == -EINVAL)
		return report_problem(&sh->call->rep, TOOL_USAGE, "EINVAL",
				      "see \"help\" about quotes", "%s", problem);
	if (r < 0)
		return cli_fail(sh->call, r);

	interrupted = 0;
	r = words.n_words > 0 ? cli_run(&sh->cli, words.n_words, words.words) : TOOL_OK;
	shell_words_deinit(&words);
	return r;
}

/* ---- without a terminal ---------------------------------------------------------- */

static int run_file(struct shell *sh, FILE *file)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	int r = TOOL_OK;

	while (!sh->cli.leave && (len = getline(&line, &cap, file)) >= 0) {
		if (len > 0 && line[len - 1] == '\n')
			line[--len] = 0;
		if (strlen(line) == (size_t)len) {
			r = run_line(sh, line);
		} else {
			r = report_problem(&sh->call->rep, TOOL_USAGE, "EINVAL",
					   "for keys there is --key-hex, for values --bin FILE",
					   "a line has a NUL byte in it");
		}
		if (r != TOOL_OK && sh->first_failure == TOOL_OK)
			sh->first_failure = r;
	}
	if (ferror(file) && sh->first_failure == TOOL_OK)
		sh->first_failure = report_problem(&sh->call->rep, TOOL_OTHER, "EIO",
						   "check where standard input comes from",
						   "cannot read commands: %s", strerror(errno));
	free(line);
	return sh->first_failure;
}

/* ---- with a terminal ------------------------------------------------------------- */

static char *prompt_of(EditLine *edit)
{
	struct shell *sh;

	el_get(edit, EL_CLIENTDATA, &sh);
	return sh->prompt;
}

/* Completes the verb at the beginning of the line; lists the candidates if there are more. */
static unsigned char complete_verb(EditLine *edit, int key)
{
	const LineInfo *info = el_line(edit);
	size_t len = (size_t)(info->cursor - info->buffer);
	const char *common = NULL;
	size_t common_len = 0;
	unsigned int n = 0;
	char rest[32];

	(void)key;
	if (memchr(info->buffer, ' ', len))
		return CC_ERROR;
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++) {
		if (!(verb->flags & VERB_SHELL) || strncmp(verb->name, info->buffer, len) != 0)
			continue;
		if (n++ == 0) {
			common = verb->name;
			common_len = strlen(common);
		}
		while (strncmp(common, verb->name, common_len) != 0)
			common_len--;
	}
	if (n == 0)
		return CC_ERROR;
	if (common_len > len || n == 1) {
		snprintf(rest, sizeof(rest), "%.*s%s", (int)(common_len - len), common + len,
			 n == 1 ? " " : "");
		return el_insertstr(edit, rest) < 0 ? CC_ERROR : CC_REFRESH;
	}

	putchar('\n');
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
		if ((verb->flags & VERB_SHELL) && strncmp(verb->name, info->buffer, len) == 0)
			printf("%s  ", verb->name);
	putchar('\n');
	fflush(stdout);
	return CC_REDISPLAY;
}

/*
 * Ctrl-C while a line is typed is a character like others: as a signal it could arrive
 * between two reads and be lost. While a verb runs the terminal makes it a signal.
 */
static unsigned char give_up(EditLine *edit, int key)
{
	struct shell *sh;

	(void)key;
	el_get(edit, EL_CLIENTDATA, &sh);
	sh->given_up = true;
	return CC_NEWLINE;
}

/* With EL_SIGNAL the library puts the terminal right before the process stops, and after. */
static unsigned char suspend(EditLine *edit, int key)
{
	(void)edit;
	(void)key;
	raise(SIGTSTP);
	return CC_REDISPLAY;
}

static int open_editor(struct shell *sh)
{
	HistEvent event;

	sh->edit = el_init("shmkv", stdin, stdout, stderr);
	sh->history = history_init();
	if (!sh->edit || !sh->history)
		return -ENOMEM;
	history(sh->history, &event, H_SETSIZE, HISTORY_LINES);
	history(sh->history, &event, H_SETUNIQUE, 1);
	el_set(sh->edit, EL_CLIENTDATA, sh);
	el_set(sh->edit, EL_PROMPT, prompt_of);
	el_set(sh->edit, EL_EDITOR, "emacs");
	el_set(sh->edit, EL_HIST, history, sh->history);
	el_set(sh->edit, EL_ADDFN, "shmkv-complete", "Complete the verb", complete_verb);
	el_set(sh->edit, EL_BIND, "^I", "shmkv-complete", NULL);
	el_set(sh->edit, EL_ADDFN, "shmkv-give-up", "Give up the line", give_up);
	el_set(sh->edit, EL_SETTY, "-d", "-isig", NULL);
	el_set(sh->edit, EL_BIND, "^C", "shmkv-give-up", NULL);
	el_set(sh->edit, EL_ADDFN, "shmkv-suspend", "Stop until fg", suspend);
	el_set(sh->edit, EL_BIND, "^Z", "shmkv-suspend", NULL);
	el_set(sh->edit, EL_SIGNAL, 1);
	return 0;
}

static void close_editor(struct shell *sh)
{
	if (sh->history)
		history_end(sh->history);
	if (sh->edit)
		el_end(sh->edit);
}

static int run_terminal(struct shell *sh)
{
	/* For Ctrl-C while a verb runs. Without SA_RESTART: it may also be sent by hand. */
	struct sigaction action = { .sa_handler = on_interrupt }, before;
	HistEvent event;
	const char *line;
	char *copy;
	int len, r;

	r = open_editor(sh);
	if (r < 0) {
		close_editor(sh);
		return cli_fail(sh->call, r);
	}
	sigaction(SIGINT, &action, &before);
	out_text(&sh->cli.out, "\"help\" lists the verbs, \"exit\" or Ctrl-D leaves.\n");
	out_flush(&sh->cli.out);

	while (!sh->cli.leave) {
		interrupted = 0;
		sh->given_up = false;
		line = el_gets(sh->edit, &len);
		if (!line || len <= 0) {
			putchar('\n');
			fflush(stdout);
			if (!interrupted)
				break;
			el_reset(sh->edit);
			continue;
		}
		if (sh->given_up) {
			fputs("^C\n", stdout);
			fflush(stdout);
			continue;
		}
		copy = strndup(line, strcspn(line, "\n"));
		if (!copy) {
			cli_fail(sh->call, -ENOMEM);
			break;
		}
		if (copy[strspn(copy, " \t")])
			history(sh->history, &event, H_ENTER, copy);
		run_line(sh, copy);
		free(copy);
	}

	sigaction(SIGINT, &before, NULL);
	close_editor(sh);
	return TOOL_OK;
}

/* ---- the verb -------------------------------------------------------------------- */

int cli_attach(struct cli_call *call)
{
	struct shell sh = { .call = call };
	char buffer[1 << 14];
	int r;

	r = shmkv_attach(call->segment, call->read_only ? SHMKV_READ_ONLY : 0, &sh.cli.kv);
	if (r < 0)
		return report_code(&call->rep, STAGE_SEGMENT, r);

	out_init_file(&sh.cli.out, STDOUT_FILENO, buffer, sizeof(buffer));
	sh.cli.json = call->json;
	sh.cli.out_is_terminal = call->cli->out_is_terminal;
	sh.cli.text_flags = call->cli->text_flags;
	sh.cli.in_shell = true;
	sh.cli.segment = call->segment;
	snprintf(sh.prompt, sizeof(sh.prompt), "%s%s> ", call->segment,
		 call->read_only ? " (read-only)" : "");

	if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		r = run_terminal(&sh);
	else
		r = run_file(&sh, stdin);
	sh.cli.kv = shmkv_detach(sh.cli.kv);
	return r;
}

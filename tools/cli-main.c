/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "option-blame.h"
#include "text-escape.h"

static const char program[] = "shmkv";

int cli_fail(struct cli_call *call, int r)
{
	return report_code(&call->rep, STAGE_DATA, r);
}

void cli_emitter(struct cli_call *call, struct emitter *ret_emitter)
{
	emit_init(ret_emitter, &call->cli->out, call->cli->text_flags & TEXT_ASCII);
}

void cli_end_line(struct cli_call *call)
{
	out_char(&call->cli->out, '\n');
}

void cli_print_key(struct cli_call *call, const void *key, size_t key_len)
{
	text_put(&call->cli->out, key, key_len, call->cli->text_flags);
}

/* ---- help ------------------------------------------------------------------------ */

void cli_overview(struct cli *cli)
{
	unsigned int wanted = cli->in_shell ? VERB_SHELL : VERB_COMMAND;

	if (!cli->in_shell)
		out_text(&cli->out, "Usage: shmkv VERB [NAME [KEY [VALUE]]] [OPTION...]\n"
				    "A key-value map that processes share, from the command line.\n\n");
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
		if (verb->flags & wanted)
			out_format(&cli->out, "  %-8s  %s\n", verb->name, verb->summary);
	out_text(&cli->out, cli->in_shell ?
		 "\nKEY and VALUE may stand in 'single' or \"double\" quotes. "
		 "\"help VERB\" says more.\n" :
		 "\n\"shmkv VERB --help\" says more. Every verb takes --json.\n"
		 "Exit codes: 0 ok, 1 absent or condition not met, 2 usage, 3 no such segment,\n"
		 "4 permission, 5 no space, 6 damaged, 7 anything else.\n");
}

static bool is_offered(const struct cli *cli, const struct cli_verb *verb)
{
	return verb && (verb->flags & (cli->in_shell ? VERB_SHELL : VERB_COMMAND));
}

/* @verb: NULL if neither the shell nor the command line has it. */
static int not_offered(struct cli_call *call, const struct cli_verb *verb, const char *name)
{
	bool in_shell = call->cli->in_shell;
	char hint[80];

	if (!verb)
		return report_problem(&call->rep, TOOL_USAGE, "EINVAL",
				      in_shell ? "see \"help\"" : "see \"shmkv --help\"",
				      "there is no verb \"%s\" %s", name,
				      in_shell ? "in the shell" : "on the command line");
	if (in_shell)
		snprintf(hint, sizeof(hint), "outside of the shell \"shmkv %s --help\" explains it",
			 verb->name);
	else
		snprintf(hint, sizeof(hint), "\"shmkv attach NAME\" opens the shell");
	return report_problem(&call->rep, TOOL_USAGE, "EINVAL", hint,
			      "\"%s\" is a verb of the %s only", verb->name,
			      in_shell ? "command line" : "shell");
}

int cli_help(struct cli_call *call)
{
	const struct cli_verb *verb;

	if (!call->topic) {
		cli_overview(call->cli);
		return TOOL_OK;
	}
	verb = cli_verb_find(call->topic);
	if (!is_offered(call->cli, verb))
		return not_offered(call, verb, call->topic);
	cli_verb_help(call->cli, verb);
	return TOOL_OK;
}

/* ---- running a verb -------------------------------------------------------------- */

static int open_and_run(struct cli_call *call)
{
	unsigned int flags = call->verb->flags;
	int r;

	if (!(flags & VERB_OPENS))
		return call->verb->run(call);

	if (call->cli->in_shell) {
		call->kv = call->cli->kv;
		return call->verb->run(call);
	}
	r = shmkv_attach(call->segment,
			 flags & (VERB_WRITES | VERB_WAITS) && !call->read_only ? 0 : SHMKV_READ_ONLY,
			 &call->kv);
	if ((flags & VERB_WAITS) && (r == -EACCES || r == -EUSERS))
		r = shmkv_attach(call->segment, SHMKV_READ_ONLY, &call->kv);
	if (r < 0)
		return report_code(&call->rep, STAGE_SEGMENT, r);
	r = call->verb->run(call);
	call->kv = shmkv_detach(call->kv);
	return r;
}

/* What could not be written is a failure even if the verb succeeded. */
static int finish_output(struct cli_call *call, int exit_code)
{
	struct out *out = &call->cli->out;
	int r = out_flush(out);

	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	if (r == 0 && ferror(stdout))
		r = -EIO;
	if (r == 0)
		return exit_code;
	out->error = 0; /* the shell goes on */
	clearerr(stdout);
	return report_problem(&call->rep, TOOL_OTHER, strerrorname_np(-r),
			      "the segment is fine; send the output elsewhere and repeat what only reads",
			      "cannot write the result: %s", strerror(-r));
}

int cli_run(struct cli *cli, int argc, char **argv)
{
	struct cli_call call = {
		.cli = cli,
		.rep = { .program = program, .json = cli->json },
		.argv = argv,
		.argc = argc,
		.json = cli->json,
		.segment = cli->segment,
		.create = SHMKV_OPTIONS_INIT,
	};
	int r;

	call.verb = cli_verb_find(argv[0]);
	if (!is_offered(cli, call.verb))
		return not_offered(&call, call.verb, argv[0]);
	call.rep.verb = call.verb->name;
	call.rep.segment = cli->segment;

	r = cli_parse(&call);
	if (r == TOOL_OK && call.help)
		cli_verb_help(cli, call.verb);
	else if (r == TOOL_OK && call.version)
		out_format(&cli->out, "%s %s\n", program, shmkv_version());
	else if (r == TOOL_OK)
		r = open_and_run(&call);
	r = finish_output(&call, r);
	free(call.key_owned);
	return r;
}

/* ---- the command line ------------------------------------------------------------ */

struct front {
	int verb_at; /* index of the verb in argv, 0 if there is none */
	int stopped_at;
	bool json, help, version;
};

static error_t parse_front(int key, char *arg, struct argp_state *state)
{
	struct front *front = state->input;

	(void)arg;
	switch (key) {
	case OPT_JSON:
		front->json = true;
		return 0;
	case OPT_HELP:
		front->help = true;
		return 0;
	case OPT_VERSION:
		front->version = true;
		return 0;
	case ARGP_KEY_ARG:
		/* Everything from here on is for the verb's own parser. */
		front->verb_at = state->next - 1;
		state->next = state->argc;
		return 0;
	case ARGP_KEY_ERROR:
		front->stopped_at = state->next;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

int main(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{ "json", OPT_JSON, NULL, 0, NULL, 0 },
		{ "help", OPT_HELP, NULL, 0, NULL, 0 },
		{ "version", OPT_VERSION, NULL, 0, NULL, 0 },
		{ 0 },
	};
	static const struct argp argp = { .options = options, .parser = parse_front };
	static char buffer[1 << 16];
	struct front front = { 0 };
	struct reporter rep = { .program = program };
	struct cli cli = { 0 };
	int r;

	/* Only characters: numbers keep their points and messages stay English. */
	setlocale(LC_CTYPE, "");
	out_init_file(&cli.out, STDOUT_FILENO, buffer, sizeof(buffer));
	cli.out_is_terminal = isatty(STDOUT_FILENO);
	cli.text_flags = cli.out_is_terminal ? text_ascii_needed() : 0;

	if (argp_parse(&argp, argc, argv,
		       ARGP_IN_ORDER | ARGP_NO_EXIT | ARGP_NO_ERRS | ARGP_NO_HELP, NULL, &front)) {
		rep.json = front.json;
		return (int)report_problem(&rep, TOOL_USAGE, "EINVAL", "see \"shmkv --help\"",
					   "unknown option \"%s\"",
					   option_blamed(argc, argv, front.stopped_at));
	}
	cli.json = front.json;
	if (front.verb_at > 0 && !front.help && !front.version)
		return cli_run(&cli, argc - front.verb_at, argv + front.verb_at);

	rep.json = front.json;
	if (front.version)
		out_format(&cli.out, "%s %s\n", program, shmkv_version());
	else if (front.help)
		cli_overview(&cli);
	else
		return (int)report_problem(&rep, TOOL_USAGE, "EINVAL", "see \"shmkv --help\"",
					   "a verb is missing");
	r = out_flush(&cli.out);
	if (r < 0)
		return (int)report_problem(&rep, TOOL_OTHER, strerrorname_np(-r),
					   "send the output elsewhere", "cannot write: %s",
					   strerror(-r));
	return TOOL_OK;
}

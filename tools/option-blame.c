/* SPDX-License-Identifier: MIT */
#include "option-blame.h"

/*
 * getopt has stepped over a long option when it complains, and over a short one only if it
 * was the last letter of its word.
 */
const char *option_blamed(int argc, char **argv, int next)
{
	if (next >= 1 && next <= argc && argv[next - 1][0] == '-')
		return argv[next - 1];
	if (next >= 0 && next < argc)
		return argv[next];
	return next == argc && argc > 0 ? argv[argc - 1] : "?";
}

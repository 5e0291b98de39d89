/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_OPTION_BLAME_H
#define TOOLS_OPTION_BLAME_H

/* option-blame: finds the word that argp did not like, to name it in our own message. */

/* option_blamed - the word for ARGP_KEY_ERROR's state->next; never NULL */
const char *option_blamed(int argc, char **argv, int next);

#endif

/* SPDX-License-Identifier: MIT */
/* test-error: the table of codes in shmkv.h, in words. */
#include "tests/test.h"

#include <shmkv/shmkv.h>

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

/* The table of shmkv.h, in its order. */
#define CODE(e) { -(e), #e }
static const struct {
	int code;
	const char *name;
} codes[] = {
	CODE(EINVAL),	   CODE(EMSGSIZE), CODE(EFBIG),	 CODE(EILSEQ),	    CODE(ENOBUFS),
	CODE(ENOENT),	   CODE(EEXIST),   CODE(ESTALE), CODE(EPROTOTYPE),  CODE(ERANGE),
	CODE(ENOSPC),	   CODE(EXFULL),   CODE(EAGAIN), CODE(ETIMEDOUT),  CODE(EINTR),
	CODE(ECANCELED), CODE(EROFS),	   CODE(EACCES),
	CODE(EBADF),	   CODE(ECHILD),   CODE(EBUSY),	 CODE(EUSERS),	    CODE(EMEDIUMTYPE),
	CODE(EPROTONOSUPPORT), CODE(EBADMSG), CODE(EOPNOTSUPP), CODE(ENOMEM), CODE(EMFILE),
	CODE(EIO),
};

#define N_CODES (sizeof(codes) / sizeof(codes[0]))

static void every_code_has_its_name(void)
{
	size_t i;

	for (i = 0; i < N_CODES; i++)
		CHECK_STR(shmkv_errname(codes[i].code), codes[i].name);
	CHECK_STR(shmkv_errname(0), "OK");
}

/* "what it means: what to do", one line, no end mark: it stands behind a program's name. */
static void every_code_has_a_text_of_its_own(void)
{
	const char *text;
	size_t i, j;

	for (i = 0; i < N_CODES; i++) {
		text = shmkv_strerror(codes[i].code);
		CHECK(strlen(text) >= 20);
		CHECK(strchr(text, ':') != NULL);
		CHECK(strchr(text, '\n') == NULL);
		CHECK(text[strlen(text) - 1] != '.');
		CHECK(islower((unsigned char)text[0]));
		for (j = 0; j < i; j++)
			CHECK(strcmp(text, shmkv_strerror(codes[j].code)) != 0);
		CHECK(strcmp(text, shmkv_strerror(-9999)) != 0);
	}
	CHECK_STR(shmkv_strerror(0), "success");
}

static void other_numbers_get_an_answer(void)
{
	static const int others[] = { 1, 12, EINVAL, -9999, -EPIPE, INT_MAX, INT_MIN };
	size_t i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		CHECK_STR(shmkv_errname(others[i]), "EUNKNOWN");
		CHECK(strlen(shmkv_strerror(others[i])) > 0);
	}
}

static void the_version_is_that_of_the_header(void)
{
	const char *version = shmkv_version();

	CHECK_EQ(SHMKV_VERSION_MAJOR, 0);
	CHECK_STR(version, "0.1.0");
}

const struct skv_test skv_tests_error[] = {
	{ "error", "every code has its name", every_code_has_its_name, 10 },
	{ "error", "every code has a text of its own", every_code_has_a_text_of_its_own, 10 },
	{ "error", "other numbers get an answer", other_numbers_get_an_answer, 10 },
	{ "error", "the version is that of the header", the_version_is_that_of_the_header, 10 },
	{ 0 },
};

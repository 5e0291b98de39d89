/* SPDX-License-Identifier: MIT */
#ifndef DEMO_DPKG_STATUS_H
#define DEMO_DPKG_STATUS_H

/*
 * dpkg-status: the machine's package database as an array of packages.
 *
 * The file is a sequence of paragraphs of "Field: value" lines; a line that begins with a
 * blank continues the field above. See deb-control(5).
 */

#include <stddef.h>

struct package_field {
	const char *name;
	size_t name_len;
	const char *value; /* continuation lines included, as they stand */
	size_t value_len;
};

struct package {
	char *key; /* its name; with ":architecture" when the name is there twice */
	struct package_field *fields;
	size_t n_fields;
};

struct package_list {
	char *text; /* the whole file; fields point into it */
	size_t text_len;
	struct package *packages; /* ordered by key */
	size_t n_packages;
};

/* Returns 0 or a negative errno: of the file, -ENOMEM, or -EBADMSG if it is not such a file. */
int package_list_read(struct package_list *list, const char *path);
void package_list_free(struct package_list *list);

#endif

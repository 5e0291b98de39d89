/* SPDX-License-Identifier: MIT */
#include "demo/dpkg-status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_file(struct package_list *list, const char *path)
{
	size_t cap = 0, n;
	char *grown;
	FILE *file;
	int r = 0;

	file = fopen(path, "re");
	if (!file)
		return -errno;
	do {
		cap += 1 << 20;
		grown = realloc(list->text, cap + 1);
		if (!grown) {
			r = -ENOMEM;
			break;
		}
		list->text = grown;
		n = fread(list->text + list->text_len, 1, cap - list->text_len, file);
		list->text_len += n;
	} while (list->text_len == cap);
	if (ferror(file))
		r = -EIO;
	fclose(file);
	if (r == 0)
		list->text[list->text_len] = '\0';
	return r;
}

/* Make room for one more element in steps that double. */
static int grow(void *array, size_t n, size_t size)
{
	void **p = array, *grown;

	if (n & (n - 1))
		return 0;
	grown = realloc(*p, (n ? 2 * n : 1) * size);
	if (!grown)
		return -ENOMEM;
	*p = grown;
	return 0;
}

static const struct package_field *find_field(const struct package *package, const char *name)
{
	size_t i;

	for (i = 0; i < package->n_fields; i++) {
		if (package->fields[i].name_len == strlen(name) &&
		    memcmp(package->fields[i].name, name, strlen(name)) == 0)
			return &package->fields[i];
	}
	return NULL;
}

/* One field beginning at @p; returns where the next line begins, or NULL. */
static const char *parse_field(struct package *package, const char *p, const char *end)
{
	const char *colon, *line_end;
	struct package_field *field;

	if (grow(&package->fields, package->n_fields, sizeof(*package->fields)) < 0)
		return NULL;
	field = &package->fields[package->n_fields];
	line_end = memchr(p, '\n', (size_t)(end - p));
	if (!line_end)
		line_end = end;
	colon = memchr(p, ':', (size_t)(line_end - p));
	if (!colon)
		return NULL;
	while (line_end + 1 < end && (line_end[1] == ' ' || line_end[1] == '\t')) {
		line_end = memchr(line_end + 1, '\n', (size_t)(end - line_end - 1));
		if (!line_end)
			line_end = end;
	}
	field->name = p;
	field->name_len = (size_t)(colon - p);
	field->value = colon + 1;
	while (field->value < line_end && *field->value == ' ')
		field->value++;
	field->value_len = (size_t)(line_end - field->value);
	package->n_fields++;
	return line_end < end ? line_end + 1 : end;
}

static int parse(struct package_list *list)
{
	const char *p = list->text, *end = list->text + list->text_len;
	struct package *package;

	while (p < end) {
		if (*p == '\n') {
			p++;
			continue;
		}
		if (grow(&list->packages, list->n_packages, sizeof(*list->packages)) < 0)
			return -ENOMEM;
		package = &list->packages[list->n_packages++];
		memset(package, 0, sizeof(*package));
		while (p && p < end && *p != '\n')
			p = parse_field(package, p, end);
		if (!p || !find_field(package, "Package"))
			return -EBADMSG;
	}
	return list->n_packages ? 0 : -EBADMSG;
}

static int by_key(const void *a, const void *b)
{
	const struct package *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static int name_packages(struct package_list *list)
{
	const struct package_field *name, *arch;
	size_t i;

	for (i = 0; i < list->n_packages; i++) {
		name = find_field(&list->packages[i], "Package");
		list->packages[i].key = strndup(name->value, name->value_len);
		if (!list->packages[i].key)
			return -ENOMEM;
	}
	qsort(list->packages, list->n_packages, sizeof(*list->packages), by_key);

	/* The same library for another architecture. */
	for (i = list->n_packages - 1; i > 0; i--) {
		if (strcmp(list->packages[i].key, list->packages[i - 1].key) != 0)
			continue;
		name = find_field(&list->packages[i], "Package");
		arch = find_field(&list->packages[i], "Architecture");
		if (!arch)
			return -EBADMSG;
		free(list->packages[i].key);
		if (asprintf(&list->packages[i].key, "%.*s:%.*s", (int)name->value_len, name->value,
			     (int)arch->value_len, arch->value) < 0) {
			list->packages[i].key = NULL;
			return -ENOMEM;
		}
	}
	return 0;
}

int package_list_read(struct package_list *list, const char *path)
{
	int r;

	memset(list, 0, sizeof(*list));
	r = read_file(list, path);
	if (r == 0)
		r = parse(list);
	if (r == 0)
		r = name_packages(list);
	if (r < 0)
		package_list_free(list);
	return r;
}

void package_list_free(struct package_list *list)
{
	size_t i;

	for (i = 0; i < list->n_packages; i++) {
		free(list->packages[i].key);
		free(list->packages[i].fields);
	}
	free(list->packages);
	free(list->text);
	memset(list, 0, sizeof(*list));
}

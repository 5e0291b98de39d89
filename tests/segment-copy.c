/* SPDX-License-Identifier: MIT */
#include "tests/segment-copy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void skv_copy_begin(struct skv_copy *copy, const struct skv_segment *s)
{
	static const uint8_t zeros[SKV_PAGE];
	char path[256];
	struct stat st;
	uint64_t off;
	int fd;

	skv_segment_name(copy->name);
	skv_segment_file(copy->name, copy->path);
	skv_segment_file(s->name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	copy->fd = open(copy->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && copy->fd >= 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(ftruncate(copy->fd, st.st_size), 0);
	copy->image = skv_alloc((size_t)st.st_size);
	copy->used = skv_alloc((size_t)st.st_size / SKV_PAGE * sizeof(*copy->used));
	copy->n_used = 0;
	for (off = 0; off < (uint64_t)st.st_size; off += SKV_PAGE) {
		CHECK_EQ(pread(fd, copy->image + off, SKV_PAGE, (off_t)off), SKV_PAGE);
		if (memcmp(copy->image + off, zeros, SKV_PAGE) == 0)
			continue;
		CHECK_EQ(pwrite(copy->fd, copy->image + off, SKV_PAGE, (off_t)off), SKV_PAGE);
		copy->used[copy->n_used++] = off;
	}
	close(fd);
	memcpy(&copy->header, copy->image, sizeof(copy->header));
	CHECK(copy->n_used > 50);
}

void skv_copy_end(struct skv_copy *copy)
{
	CHECK_EQ(unlink(copy->path), 0);
	close(copy->fd);
	free(copy->image);
	free(copy->used);
}

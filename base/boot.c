/* SPDX-License-Identifier: MIT */
#include "base/boot.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void skv_boot_id(uint64_t ret_id[2])
{
	char text[64];
	uint64_t id[2] = { 0, 0 };
	unsigned int n_digits = 0;
	ssize_t n;
	int fd;

	ret_id[0] = ret_id[1] = 0;
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text));
	close(fd);

	for (ssize_t i = 0; i < n && n_digits < 32; i++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit = text[i] ? strchr(digits, text[i]) : NULL;

		if (!digit)
			continue;
		id[n_digits / 16] = id[n_digits / 16] << 4 | (uint64_t)(digit - digits);
		n_digits++;
	}
	if (n_digits == 32) {
		ret_id[0] = id[0];
		ret_id[1] = id[1];
	}
}

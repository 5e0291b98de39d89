/* SPDX-License-Identifier: MIT */
#ifndef SKV_BASE_BOOT_H
#define SKV_BASE_BOOT_H

/*
 * boot: tells boots of the machine apart.
 */

#include <stdint.h>

/* skv_boot_id - which boot of the machine this is; zero when the system does not tell */
void skv_boot_id(uint64_t ret_id[2]);

#endif

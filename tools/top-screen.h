/* SPDX-License-Identifier: MIT */
#ifndef TOOLS_TOP_SCREEN_H
#define TOOLS_TOP_SCREEN_H

/* top-screen: draws a sample on a terminal of any size, with the keys that work. */

#include "top-sample.h"

enum top_view { TOP_VIEW_ALL, TOP_VIEW_PARTICIPANTS, TOP_VIEW_LEAVES, TOP_VIEW_CLASSES, TOP_VIEW_N };

enum top_command {
	TOP_NOTHING,
	TOP_QUIT,
	TOP_PAUSE,
	TOP_VIEW,
	TOP_SORT,
	TOP_REVERSE,
	TOP_SLOWER,
	TOP_FASTER,
	TOP_UP,
	TOP_DOWN,
	TOP_OPEN,
};

struct top_settings {
	const char *segment;
	double interval_s;
	enum top_sort sort;
	enum top_view view;
	bool reverse, paused;
	size_t scroll; /* rows of the tables that are above the screen */
};

/* false: this terminal cannot be drawn on */
bool top_screen_begin(void);
void top_screen_draw(const struct top_sample *sample, const struct top_settings *settings);
/* The terminal has another size. */
void top_screen_resize(void);
/* A key that was pressed, or -1; never waits. What it asks for. */
int top_screen_key(void);
enum top_command top_screen_command(int key);
/* The terminal as it was before. */
void top_screen_end(void);

#endif

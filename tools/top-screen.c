/* SPDX-License-Identifier: MIT */
#include "top-screen.h"

#include <curses.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sizes.h"

/* Below this nothing useful fits. */
#define ROWS_MIN 6
#define COLS_MIN 40

#define BAR_CELLS 20

static SCREEN *screen;

bool top_screen_begin(void)
{
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return false;
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	return true;
}

void top_screen_end(void)
{
	if (!screen)
		return;
	endwin();
	delscreen(screen);
	screen = NULL;
}

void top_screen_resize(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
		resizeterm(size.ws_row, size.ws_col);
	clear();
}

int top_screen_key(void)
{
	int key = getch();

	return key == ERR ? -1 : key;
}

enum top_command top_screen_command(int key)
{
	switch (key) {
	case 'q':
	case 'Q':
		return TOP_QUIT;
	case 'p':
	case ' ':
		return TOP_PAUSE;
	case 'v':
	case '\t':
		return TOP_VIEW;
	case 's':
		return TOP_SORT;
	case 'r':
		return TOP_REVERSE;
	case '+':
		return TOP_SLOWER;
	case '-':
		return TOP_FASTER;
	case KEY_UP:
	case 'k':
		return TOP_UP;
	case KEY_DOWN:
	case 'j':
		return TOP_DOWN;
	case 'o':
		return TOP_OPEN;
	default:
		return TOP_NOTHING;
	}
}

/* ---- lines ------------------------------------------------------------------------- */

/* One line, cut to the width; nothing is drawn below the @end row. */
struct page {
	int row, end;
};

static void put_line(struct page *page, int attributes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void put_line(struct page *page, int attributes, const char *format, ...)
{
	char text[512];
	va_list args;

	if (page->row >= page->end)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	attrset(attributes);
	mvaddnstr(page->row++, 0, text, COLS);
	/* A heading or a warning goes over the whole width. */
	if ((attributes & (int)A_REVERSE) && (int)strlen(text) < COLS)
		hline(' ' | attributes, COLS - (int)strlen(text));
	attrset(A_NORMAL);
}

static const char *rate_text(const struct top_sample *sample, const char *name, char ret_text[32])
{
	for (size_t i = 0; i < top_n_rates; i++) {
		if (strcmp(top_rates[i].name, name) == 0)
			count_text((uint64_t)(top_rate_of(sample, &top_rates[i]) + 0.5), ret_text);
	}
	return ret_text;
}

static void draw_head(struct page *page, const struct top_sample *sample,
		      const struct top_settings *s)
{
	char count[32];

	count_text(sample->count, count);
	put_line(page, A_BOLD, "shmkv top %s   %s keys   every %.1f s%s", s->segment, count,
		 s->interval_s, s->paused ? "   PAUSED" : "");
	if (sample->name == TOP_NAME_GONE)
		put_line(page, A_REVERSE, "This segment was unlinked: nobody can attach to it any more.");
	else if (sample->name == TOP_NAME_OTHER)
		put_line(page, A_REVERSE, "This segment was unlinked, and another one has its name: "
					  "press o to look at that.");
}

static void draw_rates(struct page *page, const struct top_sample *sample)
{
	char a[32], b[32], c[32], d[32], e[32];
	double gets = 0, hits = 0;

	for (size_t i = 0; i < top_n_rates; i++) {
		if (strcmp(top_rates[i].name, "gets") == 0)
			gets = top_rate_of(sample, &top_rates[i]);
		if (strcmp(top_rates[i].name, "hits") == 0)
			hits = top_rate_of(sample, &top_rates[i]);
	}
	put_line(page, A_NORMAL, "per second: %s gets (%.1f %% found), %s puts, %s adds, %s incr/append, "
				 "%s dels",
		 rate_text(sample, "gets", a), gets > 0 ? 100 * hits / gets : 0.0,
		 rate_text(sample, "puts", b), rate_text(sample, "adds", c),
		 rate_text(sample, "updates_in_place", d), rate_text(sample, "dels", e));
	put_line(page, A_NORMAL, "            %s inserts, %s updates, %s deletes, %s evicted, %s expired",
		 rate_text(sample, "inserts", a), rate_text(sample, "updates", b),
		 rate_text(sample, "deletes", c), rate_text(sample, "evictions", d),
		 rate_text(sample, "expired", e));
	put_line(page, A_NORMAL, "refused:    %s no space, %s not met, %s failed;  %s retries, %s splits",
		 rate_text(sample, "no_space", a), rate_text(sample, "unmet", b),
		 rate_text(sample, "failed", c), rate_text(sample, "retries", d),
		 rate_text(sample, "splits", e));
}

static void draw_memory(struct page *page, const struct top_sample *sample)
{
	const struct shmkv_info *info = &sample->info;
	const struct shmkv_memory *memory = &sample->memory;
	char taken[24], limit[24], records[24], free_text[24], stretch[24], bar[BAR_CELLS + 1];
	uint64_t filled = info->max_bytes ? info->reserved_bytes * BAR_CELLS / info->max_bytes : 0;

	for (uint64_t i = 0; i < BAR_CELLS; i++)
		bar[i] = i < filled ? '#' : '.';
	bar[BAR_CELLS] = 0;
	size_text(info->reserved_bytes, taken);
	size_text(info->max_bytes, limit);
	size_text(memory->held_bytes, records);
	size_text(memory->free_block_bytes + memory->free_chunks * 16384, free_text);
	size_text(memory->free_stretch_bytes, stretch);
	put_line(page, A_NORMAL, "memory:     [%s] %s of %s taken", bar, taken, limit);
	put_line(page, A_NORMAL, "            records %s (%.0f %% filled), free %s, largest record %s",
		 records,
		 memory->held_bytes ?
			 100.0 * (double)memory->record_bytes / (double)memory->held_bytes :
			 0.0,
		 free_text, stretch);
}

/* ---- tables ------------------------------------------------------------------------ */

static void draw_participants(struct page *page, const struct top_sample *sample,
			      const struct top_settings *s)
{
	const struct top_participant *p;

	put_line(page, A_REVERSE, "%9s %-8s %-8s %7s %7s %5s %8s %14s %12s", "PID", "STATE", "DOING",
		 "THREADS", "WORKING", "PINS", "RESERVED", "CALLS", "CALLS/S");
	for (size_t i = s->scroll; i < sample->n_people; i++) {
		p = &sample->people[i];
		put_line(page, strcmp(p->p.state, "alive") == 0 ? A_NORMAL : A_BOLD,
			 "%9" PRIu64 " %-8s %-8s %7" PRIu32 " %7" PRIu32 " %5" PRIu32 " %8" PRIu32
			 " %14" PRIu64 " %12.0f",
			 p->p.pid, p->p.state, p->p.doing, p->p.threads, p->p.working, p->p.pins,
			 p->p.reservations, p->p.calls, p->calls_per_s);
	}
	if (sample->n_people == 0)
		put_line(page, A_NORMAL, "nobody is attached who may write");
}

static void draw_leaves(struct page *page, const struct top_sample *sample,
			const struct top_settings *s)
{
	const struct top_leaf *leaf;
	uint32_t slots;

	put_line(page, A_REVERSE, "%9s %6s %10s %6s %6s %6s %6s   fullest leaves", "LEAF", "DEPTH",
		 "PREFIX", "LIVE", "DEAD", "EMPTY", "FULL");
	for (size_t i = s->scroll; i < sample->n_leaves; i++) {
		leaf = &sample->leaves[i];
		slots = leaf->live + leaf->dead + leaf->empty;
		put_line(page, A_NORMAL,
			 "%9" PRIu64 " %6" PRIu32 " %#10" PRIx64 " %6" PRIu32 " %6" PRIu32 " %6" PRIu32
			 " %4.0f %%",
			 leaf->id, leaf->depth, leaf->prefix, leaf->live, leaf->dead, leaf->empty,
			 slots ? 100.0 * (leaf->live + leaf->dead) / slots : 0.0);
	}
}

static void draw_classes(struct page *page, const struct top_sample *sample,
			 const struct top_settings *s)
{
	const struct shmkv_memory_class *class;
	size_t skip = s->scroll;

	put_line(page, A_REVERSE, "%9s %8s %12s %12s %12s %8s", "BLOCK", "SLABS", "BLOCKS", "USED", "FREE",
		 "FILLED");
	for (uint64_t i = 0; i < sample->memory.n_classes && i < SHMKV_CLASSES_MAX; i++) {
		class = &sample->memory.classes[i];
		if (class->slabs == 0)
			continue;
		if (skip > 0) {
			skip--;
			continue;
		}
		put_line(page, A_NORMAL,
			 "%9" PRIu64 " %8" PRIu64 " %12" PRIu64 " %12" PRIu64 " %12" PRIu64 " %6.1f %%",
			 class->block_bytes, class->slabs, class->blocks, class->used,
			 class->blocks - class->used,
			 class->used ? 100.0 * (double)class->record_bytes /
					       ((double)class->used * (double)class->block_bytes) :
				       0.0);
	}
}

static void draw_tables(struct page *page, const struct top_sample *sample,
			const struct top_settings *s)
{
	struct page upper = *page;

	switch (s->view) {
	case TOP_VIEW_PARTICIPANTS:
		draw_participants(page, sample, s);
		break;
	case TOP_VIEW_LEAVES:
		draw_leaves(page, sample, s);
		break;
	case TOP_VIEW_CLASSES:
		draw_classes(page, sample, s);
		break;
	default:
		/* Participants have what they need, but at most half. */
		upper.end = page->row + (page->end - page->row + 1) / 2;
		draw_participants(&upper, sample, s);
		page->row = upper.row;
		draw_leaves(page, sample, s);
		break;
	}
}

static void draw_keys(const struct top_sample *sample, const struct top_settings *s)
{
	static const char *const views[TOP_VIEW_N] = { "all", "procs", "leaves", "blocks" };
	struct page page = { LINES - 1, LINES };

	/* 80 columns hold all of them; a narrower terminal cuts what is needed least. */
	put_line(&page, A_REVERSE, "q quit p pause v view(%s) s sort(%s) r reverse%s +- interval "
				   "up/down%s", views[s->view], top_sort_names[s->sort],
		 s->reverse ? "(on)" : "", sample->name == TOP_NAME_OTHER ? " o open" : "");
}

void top_screen_draw(const struct top_sample *sample, const struct top_settings *settings)
{
	struct page page = { 0, LINES - 1 };

	erase();
	if (LINES < ROWS_MIN || COLS < COLS_MIN) {
		mvaddnstr(0, 0, "too small", COLS);
	} else {
		draw_head(&page, sample, settings);
		draw_rates(&page, sample);
		draw_memory(&page, sample);
		draw_tables(&page, sample, settings);
		draw_keys(sample, settings);
	}
	refresh();
}

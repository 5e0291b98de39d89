/* SPDX-License-Identifier: MIT */
/*
 * view-calls: the public calls that look at a value in place.
 *
 * A view remembers the life of its handle, as a scan does: when that has ended there is
 * nothing to let go, because detaching released every pin.
 */
#include "api/handle.h"
#include "api/packed.h"

#include <shmkv/view.h>

#include <string.h>

int shmkv_view_begin(struct shmkv *kv, const void *key, size_t key_len,
		     struct shmkv_view *ret_view)
{
	struct skv_msgpack_item item;
	struct shmkv_view view;
	uint8_t head[SKV_HEAD_MAX];
	struct skv_hold hold;
	struct skv_key k;
	size_t head_len;
	int r;

	if (!ret_view)
		return -EINVAL;
	/* A pin is a change of the map's own state. */
	r = skv_handle_check_write(kv);
	if (r < 0)
		return r;
	r = skv_handle_key(key, key_len, &k);
	if (r < 0)
		return r;
	if (!kv->engine->view_begin)
		return -EOPNOTSUPP;
	r = kv->engine->view_begin(kv->map, &k, &hold);
	if (r < 0)
		return r;

	/* Nobody who keeps the rules changes the bytes now; who does not must not fool us. */
	head_len = hold.len < sizeof(head) ? hold.len : sizeof(head);
	memcpy(head, hold.data, head_len);
	r = skv_packed_item_of(head, head_len, hold.len, &item);
	if (r == 0 && item.type == SHMKV_PACKED && skv_msgpack_check(hold.data, hold.len) < 0)
		r = -EBADMSG;
	if (r < 0) {
		kv->engine->view_end(kv->map, &hold);
		return r;
	}

	memset(&view, 0, sizeof(view));
	view.value = skv_packed_scalar(&item);
	if (item.type == SHMKV_STR || item.type == SHMKV_BIN) {
		view.value.len = hold.len - item.head_len;
		if (view.value.len > 0)
			view.value.data = hold.data + item.head_len;
	} else if (item.type == SHMKV_PACKED) {
		view.value.data = hold.data;
		view.value.len = hold.len;
	}
	view.token = hold.token;
	view.kv = kv;
	view.life = skv_handle_state(kv);
	view.word = hold.word;
	view.where[0] = hold.context;
	view.where[1] = hold.idx;
	*ret_view = view;
	return 0;
}

int shmkv_view_end(struct shmkv_view *view)
{
	struct skv_hold hold;
	int r;

	if (!view)
		return -EINVAL;
	if (!view->kv || skv_handle_state(view->kv) != view->life)
		return -EBADF;
	r = skv_handle_check(view->kv);
	if (r < 0)
		return r;
	memset(&hold, 0, sizeof(hold));
	hold.context = view->where[0];
	hold.idx = view->where[1];
	hold.word = view->word;
	r = view->kv->engine->view_end(view->kv->map, &hold);
	if (r < 0)
		return r;
	/* A second end finds nothing. */
	view->kv = NULL;
	view->value.data = NULL;
	return 0;
}

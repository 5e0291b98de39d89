/* SPDX-License-Identifier: MIT */
#include <shmkv/shmkv.h>

#include <errno.h>
#include <stddef.h>

/* The table of shmkv.h once more, in words for whoever reads a terminal or a log. */
static const struct error {
	int code;
	const char *name;
	const char *text;
} errors[] = {
	{ 0, "OK", "success" },
	{ -EINVAL, "EINVAL",
	  "an argument is outside its documented range: compare the call with its manual page" },
	{ -EMSGSIZE, "EMSGSIZE",
	  "the key is not 1 to 65536 bytes long: shorten it, or use its hash as the key" },
	{ -EFBIG, "EFBIG",
	  "the value can never fit this map: split it, or create a map with a larger size" },
	{ -EILSEQ, "EILSEQ",
	  "the bytes are not one valid msgpack object, or nest deeper than 32: check the encoder, "
	  "or store them as plain bytes" },
	{ -ENOBUFS, "ENOBUFS",
	  "the buffer is too small: repeat the call with the length that was returned" },
	{ -ENOENT, "ENOENT",
	  "no such key or no such map: check the spelling, list what there is, or create it first" },
	{ -EEXIST, "EEXIST",
	  "the key or the map exists already: use put or attach, or remove the old one first" },
	{ -ESTALE, "ESTALE",
	  "the value has changed since the token was read: read it again, then repeat" },
	{ -EPROTOTYPE, "EPROTOTYPE",
	  "the stored value has another type: read it with the call for its type" },
	{ -ERANGE, "ERANGE",
	  "the number does not fit the result: use a wider type, or store a smaller number" },
	{ -ENOSPC, "ENOSPC",
	  "the map, or the file system under it, is full: delete keys, or create a larger map" },
	{ -EXFULL, "EXFULL",
	  "too many keys share one hash prefix: recreate the map with the siphash13 hash, and "
	  "distrust the keys" },
	{ -EAGAIN, "EAGAIN", "too many conflicts with other writers: try again" },
	{ -ETIMEDOUT, "ETIMEDOUT",
	  "the deadline is over and nothing has changed: wait again, or go on without" },
	{ -EINTR, "EINTR", "a signal handler ran during the wait: wait again" },
	{ -ECANCELED, "ECANCELED",
	  "the waits of this handle were cancelled: allow them again with shmkv_wait_resume" },
	{ -EROFS, "EROFS", "the handle is read-only: attach without the read-only flag to write" },
	{ -EACCES, "EACCES",
	  "the map's permissions do not allow this: attach read-only, or ask its owner" },
	{ -EBADF, "EBADF", "the handle is closed or was never one: attach again" },
	{ -EXDEV, "EXDEV",
	  "the map counts time by the clock of another time namespace: run in the one where it was "
	  "created" },
	{ -ECHILD, "ECHILD",
	  "the handle belongs to the parent of this forked process: attach in the child" },
	{ -EBUSY, "EBUSY",
	  "this thread is already inside a writing call on this handle: do not write from a signal "
	  "handler" },
	{ -EMLINK, "EMLINK",
	  "this thread has as many views or drafts open as there can be: end some of them first" },
	{ -EUSERS, "EUSERS",
	  "every process or thread slot of the map is taken by the living: end some, attach "
	  "read-only, or create a map with more" },
	{ -EMEDIUMTYPE, "EMEDIUMTYPE", "the file is not a shmkv map: check the name" },
	{ -EPROTONOSUPPORT, "EPROTONOSUPPORT",
	  "the map was made by another format version or build: use the library that made it, or "
	  "recreate the map" },
	{ -EBADMSG, "EBADMSG",
	  "the map's content contradicts itself, it is damaged or hostile: save what can be read, "
	  "then recreate it" },
	{ -EOPNOTSUPP, "EOPNOTSUPP",
	  "this engine, kernel or file system cannot do that: use another engine or system" },
	{ -ENOMEM, "ENOMEM",
	  "the process has no heap memory or address space left: free some, or raise its limits" },
	{ -EMFILE, "EMFILE",
	  "the process has no file descriptor left: close some, or raise the limit (ulimit -n)" },
	{ -EIO, "EIO",
	  "the operating system refused in an unexpected way: look at the kernel log, then repeat" },
};

static const struct error *error_find(int r)
{
	size_t i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (errors[i].code == r)
			return &errors[i];
	}
	return NULL;
}

const char *shmkv_strerror(int r)
{
	const struct error *error = error_find(r);

	return error ? error->text : "not a code of shmkv: read it as the call that gave it tells";
}

const char *shmkv_errname(int r)
{
	const struct error *error = error_find(r);

	return error ? error->name : "EUNKNOWN";
}

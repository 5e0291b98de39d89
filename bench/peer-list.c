/* SPDX-License-Identifier: MIT */
#include "bench/peers/peer.h"

/* peer-list: the peers that this build has, in the order in which they are shown. */

const struct peer *const peers[] = {
	&peer_shmkv,
	&peer_direct,
	&peer_shmkv_huge,
	&peer_direct_huge,
#ifdef PEER_LMDB
	&peer_lmdb,
#endif
#ifdef PEER_BOOST
	&peer_boost,
#endif
#ifdef PEER_SERVERS
	&peer_memcached,
	&peer_redis,
#endif
	&peer_adaptive,
	&peer_hamt,
#ifdef PEER_LFHT
	&peer_lfht,
#endif
#ifdef PEER_CK_HS
	&peer_ck_hs,
#endif
#ifdef PEER_TBB
	&peer_tbb,
#endif
#ifdef PEER_GLIB
	&peer_glib,
#endif
#ifdef PEER_STD
	&peer_std,
#endif
	NULL,
};

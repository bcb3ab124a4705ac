/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TOYVMM_PAGES_H
#define TOYVMM_PAGES_H
/*
 * Which pages of guest memory hold something, and why the others need not be kept. vCPUs have
 * stopped, and no device runs.
 */
#include "vmm.h"

/* Bytes of guest memory, all of it, each counted once: by the first reason that fits. */
struct pages {
	uint64_t written;
	uint64_t unplugged;
	uint64_t ballooned; /* the balloon remembers them as given up */
	uint64_t hinted;    /* free in the guest since the round of hinting that is open */
	uint64_t absent;    /* the host has none: never touched, or given back, as reported */
	uint64_t zero;
};

/* returns: 0, or -1 having said what is wrong */
typedef int pages_put(void *ctx, uint64_t gpa, const void *bytes, size_t len);

/* Hand all pages that hold something to @put, in ascending order, up to 1 MiB at once. */
int pages_walk(struct vmm *vmm, struct pages *pages, pages_put *put, void *ctx);

/*
 * Where the host has @len bytes at @gpa, for a snapshot to be read into. returns: NULL if they are
 * not all RAM, or plugged
 */
void *pages_at(struct vmm *vmm, uint64_t gpa, uint64_t len);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A persistent memory device's host. It flushes one at a time, and only in a run; the guest
 * is told of success only by a flush that began after its request was posted.
 */
#include "machine.h"

enum { ANSWER = 4 };

static int flush(void *ctx, uint64_t token)
{
	struct machine *m = ctx;
	struct pmem_host *h = &m->pmem;

	require(m->inside_run && !h->waits && token != h->token);
	require(vmemdev_pmem_complete(&h->pmem, token, 0) == VMEMDEV_E_STATE);
	h->token = token;
	h->begun++;
	h->waits = m->answer == VMEMDEV_LATER;
	if (m->answer == 0)
		h->last_good = h->begun;
	return m->answer;
}

static const struct vmemdev_pmem_ops ops = { .flush = flush };

void pmem_create(struct machine *m, struct vmemdev_device_config *device)
{
	struct pmem_host *h = &m->pmem;
	struct vmemdev_pmem_config config = {
		.struct_size = sizeof(config), .request_count = REQUESTS, .requests = h->requests,
		.addr = PMEM_ADDR, .size = PMEM_LEN, .ops = &ops, .ctx = m,
		.shmem_region = m->options & MACHINE_SHMEM,
	};

	config.device = *device;
	require(vmemdev_pmem_init(&h->pmem, sizeof(h->pmem), &config) == 0);
	h->waits = false;
	h->token = 0;
	m->ports[NUMBER_PMEM].dev = vmemdev_pmem_device(&h->pmem);
}

void pmem_complete(struct machine *m, int result)
{
	struct pmem_host *h = &m->pmem;

	if (h->waits) {
		h->waits = false;
		if (result == 0)
			h->last_good = h->begun;
		require(vmemdev_pmem_complete(&h->pmem, h->token, result) == 0);
	}
	require(vmemdev_pmem_complete(&h->pmem, h->token, result) == VMEMDEV_E_STATE);
	require(vmemdev_pmem_complete(&h->pmem, h->token, 1) == VMEMDEV_E_INVAL);
}

void pmem_answered(struct machine *m, const struct guest_used *used, const struct posted *was,
		   const uint8_t *answer)
{
	struct input in = { answer, answer + ANSWER };
	const uint64_t status = take(&in, ANSWER);

	require(used->len == ANSWER && (status == 0 || status == UINT32_MAX));
	if (status == 0)
		require(m->pmem.last_good > was->mark);
}

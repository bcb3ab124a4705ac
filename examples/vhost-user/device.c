// SPDX-License-Identifier: BSD-3-Clause
/*
 * Between vhost-user, which sets up a ring in half a dozen messages and knows no device status
 * without PROTOCOL_F_STATUS, and a virtio device, which goes through its status step by step.
 *
 * In-flight requests: what a ring was stopped at is the position in front of the first request that
 * is not used yet. The balloon uses the requests of a queue in their order, so everything before
 * that position is done and nothing after it; and each of its requests may be done again, as the
 * guest leaves the pages alone until it is answered. So whoever goes on at that position, this
 * process or another, loses nothing and does nothing twice that matters. It is also the position
 * that a front end finds in the used ring after this process was killed. For that reason there is
 * no PROTOCOL_F_INFLIGHT_SHMFD here: its record would never say more.
 *
 * Rings are split ones. A packed ring's position has two wrap counters, which are 1 at the
 * beginning; UML says 0 for it all the same, which is another position to everybody else.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"

#define SLICE 64 /* units of work between looks at the sockets */

/* ---- what the balloon asks of us ---- */

static int give_back(void *ctx, const struct vmemdev_range *ranges, uint32_t count, uint64_t token)
{
	struct daemon *daemon = ctx;

	(void)token;
	return memory_discard(&daemon->memory, ranges, count);
}

static void actual_changed(void *ctx, uint64_t bytes)
{
	control_size_event(ctx, "actual", bytes);
}

static uint64_t stats_arrived(void *ctx)
{
	control_event(ctx, "stats", "a new set of statistics");
	return 0;
}

static void guest_error(void *ctx, int err, uint16_t queue)
{
	struct daemon *daemon = ctx;

	daemon->counts.guest_errors++;
	say("guest error in queue %u: %s: the device has stopped until it is reset", queue,
	    vmemdev_strerror(err));
	control_event(daemon, "guest-error", vmemdev_strerror(err));
	if (queue < QUEUES && daemon->device.rings[queue].err >= 0)
		event_signal(daemon->device.rings[queue].err);
}

static void queue_interrupt(void *ctx, uint16_t queue)
{
	struct daemon *daemon = ctx;
	int call = daemon->device.rings[queue].call;

	/* Without one the front end looks for itself. */
	if (call >= 0 && event_signal(call) == 0)
		daemon->counts.interrupts++;
}

static void config_interrupt(void *ctx)
{
	session_config_changed(ctx);
}

static void nothing_to_forget(void *ctx)
{
	(void)ctx;
}

int device_create(struct daemon *daemon)
{
	static const struct vmemdev_balloon_ops ops = {
		.inflate = give_back,
		.report = give_back,
		.stats = stats_arrived,
		.actual = actual_changed,
	};
	static const struct vmemdev_transport_ops transport = {
		.queue_interrupt = queue_interrupt,
		.config_interrupt = config_interrupt,
		.reset = nothing_to_forget,
	};
	const struct options *options = &daemon->options;
	struct device *device = &daemon->device;
	struct vmemdev_balloon_config config = {
		.struct_size = sizeof(config),
		.ranges = device->ranges,
		.range_count = VMEMDEV_BALLOON_RANGES,
		.device.guest = &daemon->memory.guest,
		.device.guest_error = guest_error,
		.device.ctx = daemon,
		.device.queue_size = RING_SIZE_MAX,
		.ops = &ops,
		.ctx = daemon,
		.deflate_on_oom = !options->no_deflate_on_oom,
		.must_tell_host = options->must_tell_host,
		.stats = !options->no_stats,
		.reporting = !options->no_reporting,
	};
	int err = vmemdev_balloon_init(&device->balloon, sizeof(device->balloon), &config);

	if (err)
		return fail("making the balloon: %s", vmemdev_strerror(err));
	device->base = vmemdev_balloon_device(&device->balloon);
	vmemdev_device_attach(device->base, &transport, daemon, UINT64_MAX);
	for (uint16_t i = 0; i < QUEUES; i++)
		device->rings[i] = (struct ring){
			.daemon = daemon, .index = i, .kick.fd = -1, .call = -1, .err = -1
		};
	err = vmemdev_balloon_set_target(&device->balloon, options->target);
	return err ? fail("--target: %s (expected a multiple of 4096 below 16T)",
			  vmemdev_strerror(err))
		   : 0;
}

/* ---- one ring ---- */

static bool live(const struct daemon *daemon, const struct ring *ring)
{
	return vmemdev_device_queue_enabled(daemon->device.base, ring->index);
}

static bool any_live(const struct daemon *daemon)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		if (live(daemon, &daemon->device.rings[i]))
			return true;
	}
	return false;
}

static bool touched(const struct ring *ring)
{
	return ring->kick.fd >= 0 || (ring->has_addr && !ring->told);
}

static bool complete(const struct ring *ring)
{
	return ring->has_addr && ring->kick.fd >= 0 && ring->enabled;
}

static void ring_stop(struct daemon *daemon, struct ring *ring)
{
	struct vmemdev_device *device = daemon->device.base;
	int err;

	if (!live(daemon, ring))
		return;
	err = vmemdev_device_queue_stop(device, ring->index, &ring->base);
	/* The rest of a buffer may have to be told first: a few slices do. */
	for (int turn = 0; turn < 16 && err == VMEMDEV_E_STATE; turn++) {
		device_run(daemon);
		err = vmemdev_device_queue_stop(device, ring->index, &ring->base);
	}
	/* Where a broken ring stands is not known; it has to stop all the same. */
	if (err)
		vmemdev_device_queue_reset(device, ring->index);
}

static void ring_start(struct daemon *daemon, struct ring *ring)
{
	struct vmemdev_device *base = daemon->device.base;
	struct vmemdev_vq_layout *layout = vmemdev_device_queue_layout(base, ring->index);
	int err;

	layout->desc = ring->desc;
	layout->driver = ring->avail;
	layout->device = ring->used;
	layout->size = ring->num;
	err = vmemdev_device_queue_resume(base, ring->index, &ring->base);
	if (err) {
		if (ring->err >= 0)
			event_signal(ring->err);
		session_break(daemon, "ring %u cannot be started: %s", ring->index,
			      vmemdev_strerror(err));
	}
	ring->told = ring->kicked = false;
}

static void ring_forget_setup(struct daemon *daemon, struct ring *ring)
{
	if (ring->kick.fd >= 0)
		loop_close(daemon, &ring->kick);
	memset(&ring->base, 0, sizeof(ring->base));
	ring->num = 0;
	ring->has_addr = ring->kicked = ring->told = false;
}

static void ring_kicked(void *ctx)
{
	struct ring *ring = ctx;
	struct daemon *daemon = ring->daemon;

	if (!event_drain(ring->kick.fd)) {
		/* Its other end is closed: it would be ready for ever. */
		loop_ignore(daemon, &ring->kick);
		return;
	}
	daemon->counts.kicks++;
	ring->kicked = true;
	if (live(daemon, ring))
		vmemdev_device_kick(daemon->device.base, ring->index);
	else
		device_advance(daemon);
}

/* returns: NULL after refuse() if there is no such ring */
static struct ring *ring_at(struct daemon *daemon, uint32_t index)
{
	if (index < QUEUES &&
	    vmemdev_device_queue_size_max(daemon->device.base, (uint16_t)index) > 0)
		return &daemon->device.rings[index];
	refuse(daemon, "ring %u: expected 0 to %u, of those that the features give", index,
	       QUEUES - 1);
	return NULL;
}

/* ---- from one driver to the next ---- */

uint64_t device_offered(const struct daemon *daemon)
{
	const struct vmemdev_device *base = daemon->device.base;

	return vmemdev_device_features(base, 0) | (uint64_t)vmemdev_device_features(base, 1) << 32 |
	       F_PROTOCOL_FEATURES;
}

/* Everything that a virtio driver does up to FEATURES_OK. returns: whether that was accepted */
static bool negotiate(struct device *device, uint64_t features)
{
	features &= ~F_PROTOCOL_FEATURES;
	device->running = false;
	vmemdev_device_reset(device->base);
	vmemdev_device_set_status(device->base, VMEMDEV_STATUS_ACKNOWLEDGE | VMEMDEV_STATUS_DRIVER);
	vmemdev_device_accept(device->base, 0, (uint32_t)features);
	vmemdev_device_accept(device->base, 1, (uint32_t)(features >> 32));
	vmemdev_device_set_status(device->base, VMEMDEV_STATUS_FEATURES_OK);
	return vmemdev_device_status(device->base) & VMEMDEV_STATUS_FEATURES_OK;
}

/* Whether all rings were stopped in the way that leaves the driver as it is. */
static bool suspended(const struct daemon *daemon)
{
	bool any = false;

	for (unsigned i = 0; i < QUEUES; i++) {
		const struct ring *ring = &daemon->device.rings[i];

		if (live(daemon, ring) || (ring->has_addr && !ring->told))
			return false;
		any |= ring->told;
	}
	return daemon->device.running && any && !vmemdev_device_fault(daemon->device.base);
}

/* The rings as they were set up are another driver's. */
static void start_anew(struct daemon *daemon)
{
	struct device *device = &daemon->device;

	device->negotiated = negotiate(device, device->features);
	for (unsigned i = 0; i < QUEUES; i++)
		ring_forget_setup(daemon, &device->rings[i]);
}

/*
 * A ring that is about to be set up. If it is being served, its driver has gone without a word and
 * a new one is there: that is all that UML tells when a driver is unloaded and loaded again.
 */
static struct ring *ring_to_set_up(struct daemon *daemon, uint32_t index)
{
	struct ring *ring = ring_at(daemon, index);

	if (ring && live(daemon, ring))
		start_anew(daemon);
	return ring;
}

/* ---- the front end's steps ---- */

int ring_set_num(struct daemon *daemon, uint32_t index, uint32_t num)
{
	struct ring *ring = ring_to_set_up(daemon, index);

	if (!ring)
		return -1;
	if (num == 0 || num > RING_SIZE_MAX || num & (num - 1))
		return refuse(daemon, "ring %u of %u entries: expected a power of two up to %u",
			      index, num, RING_SIZE_MAX);
	ring->num = num;
	return 0;
}

int ring_set_addr(struct daemon *daemon, const struct vring_addr *addr)
{
	struct ring *ring = ring_to_set_up(daemon, addr->index);
	uint64_t avail_len, used_len;

	if (!ring)
		return -1;
	if (ring->num == 0)
		return refuse(daemon, "ring %u has no size yet: expected SET_VRING_NUM before",
			      addr->index);
	if (addr->flags & VRING_F_LOG)
		return refuse(daemon, "ring %u is to be logged, which is not offered", addr->index);
	/* The sizes of 2.7, with the event index. */
	avail_len = 6 + 2 * (uint64_t)ring->num;
	used_len = 6 + 8 * (uint64_t)ring->num;
	if (!memory_translate(&daemon->memory, addr->desc, 16 * (uint64_t)ring->num, &ring->desc) ||
	    !memory_translate(&daemon->memory, addr->avail, avail_len, &ring->avail) ||
	    !memory_translate(&daemon->memory, addr->used, used_len, &ring->used)) {
		ring->has_addr = false;
		return refuse(daemon,
			      "ring %u at 0x%llx, 0x%llx, 0x%llx: expected each part in one region "
			      "of the memory table",
			      addr->index, (unsigned long long)addr->desc,
			      (unsigned long long)addr->avail, (unsigned long long)addr->used);
	}
	ring->has_addr = true;
	return 0;
}

int ring_set_base(struct daemon *daemon, uint32_t index, uint32_t base)
{
	struct ring *ring = ring_to_set_up(daemon, index);
	struct device *device = &daemon->device;

	if (!ring)
		return -1;
	if (base > 0xffff)
		return refuse(daemon, "ring %u from position %u on: expected at most 65535", index,
			      base);
	/* Not where we stopped: the rings are those of another driver. */
	if (device->running && ring->told && !any_live(daemon) && base != ring->base.next_avail)
		device->negotiated = negotiate(device, device->features);
	ring->base = (struct vmemdev_vq_state){ .next_avail = (uint16_t)base,
						.next_used = (uint16_t)base };
	return 0;
}

int ring_get_base(struct daemon *daemon, uint32_t index, uint32_t *base)
{
	struct ring *ring = ring_at(daemon, index);

	if (!ring)
		return -1;
	ring_stop(daemon, ring);
	if (ring->kick.fd >= 0)
		loop_close(daemon, &ring->kick);
	ring->told = true;
	ring->kicked = false;
	*base = ring->base.next_avail;
	return 0;
}

int ring_set_kick(struct daemon *daemon, uint32_t index, int fd)
{
	struct ring *ring = ring_at(daemon, index);

	if (!ring)
		return -1;
	if (fd < 0)
		return refuse(daemon,
			      "ring %u without a kick descriptor: rings are not polled here",
			      index);
	if (ring->kick.fd >= 0)
		loop_close(daemon, &ring->kick);
	ring->kick = (struct watch){ fd, ring_kicked, ring };
	if (loop_add(daemon, &ring->kick)) {
		ring->kick.fd = -1;
		return refuse(daemon, "ring %u: kick descriptor: %s: expected an eventfd", index,
			      strerror(errno));
	}
	return 0;
}

static void replace_fd(int *place, int fd)
{
	if (*place >= 0)
		close(*place);
	*place = fd;
}

int ring_set_call(struct daemon *daemon, uint32_t index, int fd)
{
	struct ring *ring = ring_at(daemon, index);

	if (!ring)
		return -1;
	replace_fd(&ring->call, fd);
	return 0;
}

int ring_set_err(struct daemon *daemon, uint32_t index, int fd)
{
	struct ring *ring = ring_at(daemon, index);

	if (!ring)
		return -1;
	replace_fd(&ring->err, fd);
	return 0;
}

int ring_set_enabled(struct daemon *daemon, uint32_t index, uint32_t enabled)
{
	struct ring *ring = ring_at(daemon, index);

	if (!ring)
		return -1;
	if (enabled > 1)
		return refuse(daemon, "ring %u enabled with %u: expected 0 or 1", index, enabled);
	/* UML frees a ring's memory after this, without another word. */
	if (!enabled)
		ring_stop(daemon, ring);
	ring->enabled = enabled;
	return 0;
}

/* ---- the device ---- */

int device_set_features(struct daemon *daemon, uint64_t features)
{
	struct device *device = &daemon->device;
	bool same = device->negotiated && features == device->features;

	if (same && (any_live(daemon) || suspended(daemon)))
		return 0;
	if (any_live(daemon))
		return refuse(daemon,
			      "features 0x%llx instead of 0x%llx while rings are running: "
			      "expected them to be stopped before",
			      (unsigned long long)features, (unsigned long long)device->features);
	device->features = features;
	start_anew(daemon);
	if (!device->negotiated)
		return refuse(daemon,
			      "features 0x%llx: expected VERSION_1 (bit 32) and others out "
			      "of 0x%llx",
			      (unsigned long long)features,
			      (unsigned long long)device_offered(daemon));
	/* Without that feature there is no SET_VRING_ENABLE. */
	for (unsigned i = 0; i < QUEUES && !(features & F_PROTOCOL_FEATURES); i++)
		device->rings[i].enabled = true;
	return 0;
}

int device_set_status(struct daemon *daemon, uint8_t status)
{
	struct device *device = &daemon->device;

	if (status == 0) {
		device_reset(daemon);
		return 0;
	}
	device->status |= status;
	if (!device->negotiated)
		device->status &=
			(uint8_t) ~(VMEMDEV_STATUS_FEATURES_OK | VMEMDEV_STATUS_DRIVER_OK);
	if (status & VMEMDEV_STATUS_FAILED)
		vmemdev_device_set_status(device->base, VMEMDEV_STATUS_FAILED);
	return 0;
}

uint8_t device_status(const struct daemon *daemon)
{
	uint8_t base = vmemdev_device_status(daemon->device.base);

	return daemon->device.status | (base & VMEMDEV_STATUS_NEEDS_RESET);
}

void device_reset(struct daemon *daemon)
{
	struct device *device = &daemon->device;

	vmemdev_device_reset(device->base);
	device->negotiated = device->running = false;
	device->status = 0;
	device->features = 0;
	for (unsigned i = 0; i < QUEUES; i++) {
		ring_forget_setup(daemon, &device->rings[i]);
		device->rings[i].enabled = false;
	}
}

void device_disable_rings(struct daemon *daemon)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		ring_stop(daemon, &daemon->device.rings[i]);
		daemon->device.rings[i].enabled = false;
	}
}

/*
 * The balloon finds out at DRIVER_OK which queue is for what, from those that are there, so all of
 * them have to be. Without PROTOCOL_F_STATUS only a kick tells that the driver is ready.
 */
static bool ready_to_run(const struct daemon *daemon)
{
	bool kicked = false;

	for (unsigned i = 0; i < QUEUES; i++) {
		const struct ring *ring = &daemon->device.rings[i];

		if (touched(ring) && !complete(ring))
			return false;
		kicked |= complete(ring) && ring->kicked;
	}
	if (daemon->session.protocol_features & PROTOCOL_F_STATUS)
		return daemon->device.status & VMEMDEV_STATUS_DRIVER_OK;
	return kicked;
}

void device_advance(struct daemon *daemon)
{
	struct device *device = &daemon->device;

	if (!device->negotiated || (!device->running && !ready_to_run(daemon)))
		return;
	for (unsigned i = 0; i < QUEUES; i++) {
		if (complete(&device->rings[i]) && !live(daemon, &device->rings[i]))
			ring_start(daemon, &device->rings[i]);
	}
	if (!device->running)
		vmemdev_device_set_status(device->base, VMEMDEV_STATUS_DRIVER_OK);
	device->running = true;
}

void device_disconnect(struct daemon *daemon)
{
	device_reset(daemon);
	for (unsigned i = 0; i < QUEUES; i++) {
		replace_fd(&daemon->device.rings[i].call, -1);
		replace_fd(&daemon->device.rings[i].err, -1);
	}
	memory_replace(&daemon->memory, NULL, 0, daemon->why, sizeof(daemon->why));
}

void device_run(struct daemon *daemon)
{
	vmemdev_device_run(daemon->device.base, SLICE);
	if (memory_was_lost())
		session_break(daemon, "memory that the device was using is gone: its file was cut "
				      "short");
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* vmemdev_mmio_init and vmemdev_device_attach: what they refuse, and by which name. */
#include "device_rig.h"

static void never_interrupt(void *ctx, bool level)
{
	(void)ctx, (void)level;
	fail_msg("%s", "init called back");
}

static void never_irq(void *ctx)
{
	(void)ctx;
	fail_msg("%s", "attach called back");
}

static void never_queue_irq(void *ctx, uint16_t queue)
{
	(void)ctx, (void)queue;
	fail_msg("%s", "attach called back");
}

static const struct vmemdev_transport_ops transport = {
	.queue_interrupt = never_queue_irq, .config_interrupt = never_irq, .reset = never_irq};

static struct vmemdev_mmio_config good_config(struct rig *rig)
{
	struct vmemdev_mmio_config config = {
		.struct_size = sizeof(config),
		.vendor = 0x12345678,
		.device = rig->dev,
		.interrupt = never_interrupt};

	return config;
}

static void make_device(struct rig *rig)
{
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	assert_int_equal(vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon), &config), 0);
	rig->dev = vmemdev_balloon_device(&rig->balloon);
}

static void check_init(const struct vmemdev_mmio_config *config, int err, const char *what)
{
	struct vmemdev_mmio mmio, before;
	int got;

	memset(&mmio, 0x5a, sizeof(mmio));
	memcpy(&before, &mmio, sizeof(mmio));
	got = vmemdev_mmio_init(&mmio, sizeof(mmio), config);
	if (got != err)
		fail_msg("%s: expected %d, got %d", what, err, got);
	if (err)
		assert_memory_equal(&mmio, &before, sizeof(mmio));
}

/* A rig whose device has no transport yet. */
static int setup_unattached(void **state)
{
	struct rig *rig = rig_bare(*state);

	make_device(rig);
	*state = rig;
	return 0;
}

static void mmio_init_names_each_bad_field(void **state)
{
	static const struct spoil rows[] = {
		SPOIL(struct vmemdev_mmio_config, struct_size, 0, VMEMDEV_E_ABI),
		SPOIL(struct vmemdev_mmio_config, struct_size,
		      sizeof(struct vmemdev_mmio_config) - 4, VMEMDEV_E_ABI),
		SPOIL(struct vmemdev_mmio_config, device, 0, VMEMDEV_E_INVAL),
		SPOIL(struct vmemdev_mmio_config, interrupt, 0, VMEMDEV_E_INVAL),
		SPOIL(struct vmemdev_mmio_config, vendor, 0, 0),
		SPOIL(struct vmemdev_mmio_config, ctx, 0, 0),
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vmemdev_mmio_config config;

		make_device(*state);
		config = good_config(*state);
		spoil_apply(&rows[i], &config);
		check_init(&config, rows[i].err, rows[i].what);
	}
}

static void mmio_init_checks_struct_sizes(void **state)
{
	struct {
		struct vmemdev_mmio_config config;
		uint64_t tail[2];
	} large;
	struct vmemdev_mmio mmio;

	memset(&large, 0, sizeof(large));
	large.config = good_config(*state);
	assert_int_equal(vmemdev_mmio_init(&mmio, sizeof(mmio) - 4, &large.config),
			 VMEMDEV_E_ABI);
	assert_int_equal(vmemdev_mmio_init(&mmio, sizeof(mmio) + 4, &large.config),
			 VMEMDEV_E_ABI);
	assert_int_equal(vmemdev_mmio_init(NULL, sizeof(mmio), &large.config), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_mmio_init(&mmio, sizeof(mmio), NULL), VMEMDEV_E_INVAL);
	large.config.struct_size = sizeof(large);
	check_init(&large.config, 0, "larger, with a zero tail");
	make_device(*state);
	large.tail[0] = 1;
	check_init(&large.config, VMEMDEV_E_ABI, "larger, with something in the tail");
}

static void mmio_init_comes_before_the_guest_runs(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mmio_config config = good_config(rig);

	vmemdev_device_set_status(rig->dev, VMEMDEV_STATUS_ACKNOWLEDGE);
	check_init(&config, VMEMDEV_E_STATE, "status is not 0");
	assert_int_equal(vmemdev_device_attach(rig->dev, &transport, NULL, UINT64_MAX),
			 VMEMDEV_E_STATE);
}

/* shows: FEAT-06 */
static void FEAT_06_attach_takes_away_what_a_transport_cannot_carry(void **state)
{
	struct rig *rig = *state;
	const uint64_t mask = ~VMEMDEV_F_RING_RESET;

	assert_true(vmemdev_device_features(rig->dev, 1) & (VMEMDEV_F_RING_RESET >> 32));
	assert_int_equal(vmemdev_device_attach(NULL, &transport, NULL, mask), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_attach(rig->dev, NULL, NULL, mask), VMEMDEV_E_INVAL);
	assert_int_equal(vmemdev_device_attach(rig->dev, &transport, NULL,
					       ~VMEMDEV_F_VERSION_1), VMEMDEV_E_FEATURE);
	assert_true(vmemdev_device_features(rig->dev, 1) & (VMEMDEV_F_RING_RESET >> 32));
	assert_int_equal(vmemdev_device_attach(rig->dev, &transport, NULL, mask), 0);
	assert_false(vmemdev_device_features(rig->dev, 1) & (VMEMDEV_F_RING_RESET >> 32));
	assert_true(vmemdev_device_features(rig->dev, 1) & (VMEMDEV_F_VERSION_1 >> 32));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ONCE(mmio_init_names_each_bad_field, setup_unattached),
		TEST_ONCE(mmio_init_checks_struct_sizes, setup_unattached),
		TEST_ONCE(mmio_init_comes_before_the_guest_runs, setup_unattached),
		TEST_ONCE(FEAT_06_attach_takes_away_what_a_transport_cannot_carry,
			  setup_unattached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

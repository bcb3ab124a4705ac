/* SPDX-License-Identifier: BSD-3-Clause */
/* Feature negotiation. */
#include "device_rig.h"

#define BIT(n) (UINT64_C(1) << (n))

static bool features_stick(struct rig *rig)
{
	drv_set_status(rig, DRV_READY);
	return guest_driver_status(&rig->driver) & VMEMDEV_STATUS_FEATURES_OK;
}

/* A balloon that offers everything it can, but for ACCESS_PLATFORM. */
static int setup_rich(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.deflate_on_oom = true;
	config.must_tell_host = true;
	config.device.features_on = VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER |
				    VMEMDEV_F_NOTIFICATION_DATA;
	rig_make_balloon(rig, &config);
	*state = rig;
	return 0;
}

static int setup_rich_mem(void **state)
{
	struct rig *rig = rig_bare(*state);
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.has_node = true;
	config.unplugged_inaccessible = true;
	config.device.features_on = VMEMDEV_F_RING_PACKED | VMEMDEV_F_NOTIFICATION_DATA;
	rig_make_mem(rig, &config);
	*state = rig;
	return 0;
}

/* shows: FEAT-01 FEAT-06 FEAT-13 FEAT-15 AMB-16 MMIO-24 MMIO-25 LNX-COR-04 */
static void FEAT_01_offers_VERSION_1_and_nothing_reserved(void **state)
{
	const uint64_t ring = VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX |
			      VMEMDEV_F_VERSION_1 | VMEMDEV_F_RING_PACKED | VMEMDEV_F_IN_ORDER |
			      VMEMDEV_F_NOTIFICATION_DATA | VMEMDEV_F_RING_RESET;
	struct rig *rig = *state;
	bool mem = vmemdev_device_id(rig->dev) == 24;
	uint64_t offered = guest_driver_offered(&rig->driver);

	assert_true(offered & VMEMDEV_F_VERSION_1);
	assert_true(offered & VMEMDEV_F_INDIRECT_DESC);
	assert_true(offered & VMEMDEV_F_EVENT_IDX);
	assert_true(offered & VMEMDEV_F_RING_RESET);
	assert_int_equal(offered & 0xffffff, mem ? BIT(0) | BIT(1) : BIT(0) | BIT(2));
	/* not 24, 27, 30 (legacy), 36, 37 SR_IOV, 39 NOTIF_CONFIG_DATA, 41 ADMIN_VQ, 43... */
	assert_true((offered & ~UINT64_C(0xffffff) & ~ring) == 0);
}

/* shows: FEAT-01 FEAT-09 FEAT-13 */
static void FEAT_01_a_device_offers_no_option_by_itself(void **state)
{
	struct rig *rig = *state;
	uint64_t offered = guest_driver_offered(&rig->driver);

	assert_true(offered & VMEMDEV_F_VERSION_1);
	assert_false(offered & (VMEMDEV_F_RING_PACKED | VMEMDEV_F_NOTIFICATION_DATA |
				VMEMDEV_F_ACCESS_PLATFORM));
	assert_false(offered & 0xffffff & ~VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE);
}

/* shows: FEAT-06 */
static void FEAT_06_features_off_takes_offers_away(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.device.features_off = VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_RING_RESET;
	rig_make_balloon(rig, &config);
	assert_false(guest_driver_offered(&rig->driver) & config.device.features_off);
	assert_true(guest_driver_offered(&rig->driver) & VMEMDEV_F_EVENT_IDX);
}

/* shows: FEAT-02 FEAT-05 */
static void FEAT_02_without_VERSION_1_there_is_no_FEATURES_OK(void **state)
{
	struct rig *rig = *state;

	drv_set_status(rig, 0x03);
	guest_driver_accept(&rig->driver, 0);
	assert_false(features_stick(rig));
	guest_driver_accept(&rig->driver, VMEMDEV_F_EVENT_IDX);
	assert_false(features_stick(rig));
	guest_driver_accept(&rig->driver, VMEMDEV_F_VERSION_1);
	assert_true(features_stick(rig));
}

/* shows: FEAT-04 FEAT-07 */
static void FEAT_04_every_subset_of_the_offer_is_accepted_twice(void **state)
{
	struct rig *rig = *state;
	uint64_t offered = guest_driver_offered(&rig->driver) & ~VMEMDEV_F_VERSION_1;
	uint64_t must = VMEMDEV_F_VERSION_1;
	uint64_t subset = 0;

	if (vmemdev_device_id(rig->dev) == 24)
		must |= VMEMDEV_MEM_F_UNPLUGGED_INACCESSIBLE;
	do {
		uint64_t features = subset | must;

		for (int again = 0; again < 2; again++) {
			assert_true(guest_driver_negotiate(&rig->driver, features));
			assert_int_equal(vmemdev_device_accepted(rig->dev, 0),
					 (uint32_t)features);
			assert_int_equal(vmemdev_device_accepted(rig->dev, 1),
					 (uint32_t)(features >> 32));
		}
		subset = (subset - offered) & offered;
	} while (subset != 0);
}

/* shows: FEAT-05 HOST-REG-04 */
static void FEAT_05_a_bit_that_was_not_offered_is_refused(void **state)
{
	struct rig *rig = *state;
	uint64_t offered = guest_driver_offered(&rig->driver);

	for (unsigned int i = 0; i < 64; i++) {
		if (offered & BIT(i))
			continue;
		assert_false(guest_driver_negotiate(&rig->driver, VMEMDEV_F_VERSION_1 | BIT(i)));
		assert_true(guest_driver_negotiate(&rig->driver, VMEMDEV_F_VERSION_1));
	}
}

/* shows: FEAT-07 */
static void FEAT_07_a_set_accepted_once_is_accepted_after_resets(void **state)
{
	struct rig *rig = *state;
	uint64_t offered = guest_driver_offered(&rig->driver);

	assert_true(guest_driver_negotiate(&rig->driver, offered));
	vmemdev_device_reset(rig->dev);
	assert_true(guest_driver_offered(&rig->driver) == offered);
	assert_true(guest_driver_negotiate(&rig->driver, offered));
	assert_int_equal(vmemdev_device_system_reset(rig->dev), 0);
	assert_true(guest_driver_offered(&rig->driver) == offered);
	assert_true(guest_driver_negotiate(&rig->driver, offered));
}

/* shows: FEAT-08 HOST-REG-05 */
static void FEAT_08_the_accepted_set_is_final(void **state)
{
	struct rig *rig = *state;
	uint64_t set = VMEMDEV_F_VERSION_1 | VMEMDEV_F_EVENT_IDX;

	assert_true(guest_driver_negotiate(&rig->driver, set));
	guest_driver_accept(&rig->driver, VMEMDEV_F_VERSION_1 | VMEMDEV_F_INDIRECT_DESC);
	assert_int_equal(vmemdev_device_accepted(rig->dev, 0), (uint32_t)set);
	guest_driver_accept(&rig->driver, UINT64_MAX);
	drv_set_status(rig, DRV_LIVE);
	guest_driver_accept(&rig->driver, 0);
	assert_int_equal(vmemdev_device_accepted(rig->dev, 0), (uint32_t)set);
	assert_int_equal(vmemdev_device_accepted(rig->dev, 1), (uint32_t)(set >> 32));
	assert_int_equal(guest_driver_status(&rig->driver), DRV_LIVE);
}

/* shows: FEAT-09 FEAT-10 */
static void FEAT_10_ACCESS_PLATFORM_is_an_option_that_a_driver_must_take(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_mem_config config;

	rig_mem_config(rig, &config);
	config.device.features_on |= VMEMDEV_F_ACCESS_PLATFORM;
	rig_make_mem(rig, &config);
	assert_true(guest_driver_offered(&rig->driver) & VMEMDEV_F_ACCESS_PLATFORM);
	assert_false(guest_driver_negotiate(&rig->driver, VMEMDEV_F_VERSION_1));
	assert_true(guest_driver_negotiate(&rig->driver, VMEMDEV_F_VERSION_1 |
					   VMEMDEV_F_ACCESS_PLATFORM));
}

/* shows: FEAT-14 LNX-COR-03 HOST-REG-11 */
static void FEAT_14_high_feature_words_read_0_and_take_only_0(void **state)
{
	static const uint32_t words[] = {2, 3, 4, 31, 0x80000000, 0xffffffff};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		for (uint32_t bad = 0; bad < 2; bad++) {
			drv_reset(rig);
			drv_set_status(rig, 0x03);
			guest_driver_accept(&rig->driver, VMEMDEV_F_VERSION_1);
			if (rig->way.mmio) {
				guest_driver_set_register(&rig->driver, REG_DEVICE_FEATURES_SEL,
							  words[i]);
				assert_int_equal(guest_driver_register(&rig->driver,
								       REG_DEVICE_FEATURES), 0);
				guest_driver_set_register(&rig->driver, REG_DRIVER_FEATURES_SEL,
							  words[i]);
				guest_driver_set_register(&rig->driver, REG_DRIVER_FEATURES,
							  bad << 7);
			} else {
				assert_int_equal(vmemdev_device_features(rig->dev, words[i]), 0);
				vmemdev_device_accept(rig->dev, words[i], bad << 7);
			}
			assert_int_equal(features_stick(rig), !bad);
		}
	}
}

/* shows: FEAT-16 LNX-COR-02 */
static void FEAT_16_the_last_value_of_each_word_counts(void **state)
{
	struct rig *rig = *state;
	uint32_t version_1 = (uint32_t)(VMEMDEV_F_VERSION_1 >> 32);

	drv_set_status(rig, 0x03);
	vmemdev_device_accept(rig->dev, 1, version_1 | 1u << 9);
	vmemdev_device_accept(rig->dev, 0, (uint32_t)VMEMDEV_F_EVENT_IDX);
	vmemdev_device_accept(rig->dev, 1, version_1);
	vmemdev_device_accept(rig->dev, 0, (uint32_t)VMEMDEV_F_INDIRECT_DESC);
	assert_true(features_stick(rig));
	assert_int_equal(vmemdev_device_accepted(rig->dev, 0), (uint32_t)VMEMDEV_F_INDIRECT_DESC);
	assert_int_equal(vmemdev_device_accepted(rig->dev, 1), version_1);
}

struct mapper {
	struct rig *rig;
	uint64_t asked[64];
	uint32_t count;
};

static void *mapper_map(void *ctx, uint64_t gpa, uint64_t len, enum vmemdev_access access)
{
	struct mapper *mapper = ctx;

	(void)access;
	if (mapper->count < ARRAY_LEN(mapper->asked))
		mapper->asked[mapper->count++] = gpa;
	return guest_at(&mapper->rig->memory, gpa, len);
}

static uint64_t mapper_run(void *ctx, uint64_t gpa, uint64_t len, bool *discardable)
{
	struct mapper *mapper = ctx;

	*discardable = guest_at(&mapper->rig->memory, gpa, len) != NULL;
	return len;
}

/* shows: FEAT-11 */
static void FEAT_11_addresses_reach_the_host_as_the_driver_wrote_them(void **state)
{
	static const struct vmemdev_guest_ops ops = {.map = mapper_map, .run = mapper_run};
	struct rig *rig = *state;
	struct mapper mapper = {.rig = rig};
	const struct vmemdev_guest_config host = {
		.struct_size = sizeof(host), .ops = &ops, .ctx = &mapper};
	struct vmemdev_guest guest;
	struct vmemdev_mem_config config;
	bool found = false;

	assert_int_equal(vmemdev_guest_init(&guest, sizeof(guest), &host), 0);
	rig_mem_config(rig, &config);
	config.device.guest = &guest;
	rig_make_mem(rig, &config);
	drv_start(rig, 0);
	mem_expect(rig, GUEST_MEM_STATE, BLOCK(0), 1, GUEST_MEM_ACK);
	for (uint32_t i = 0; i < mapper.count; i++)
		found |= mapper.asked[i] == DATA_GPA;
	assert_true(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_BUSES(FEAT_01_offers_VERSION_1_and_nothing_reserved, setup_rich),
		TEST_BUSES(FEAT_01_offers_VERSION_1_and_nothing_reserved, setup_rich_mem),
		TEST_BUSES(FEAT_01_a_device_offers_no_option_by_itself, rig_setup_balloon),
		TEST_BUSES(FEAT_01_a_device_offers_no_option_by_itself, rig_setup_mem),
		TEST_BUSES(FEAT_06_features_off_takes_offers_away, rig_setup_bare),
		TEST_BUSES(FEAT_02_without_VERSION_1_there_is_no_FEATURES_OK, rig_setup_balloon),
		TEST_BUSES(FEAT_04_every_subset_of_the_offer_is_accepted_twice, setup_rich),
		TEST_BUSES(FEAT_04_every_subset_of_the_offer_is_accepted_twice, setup_rich_mem),
		TEST_BUSES(FEAT_05_a_bit_that_was_not_offered_is_refused, rig_setup_balloon),
		TEST_BUSES(FEAT_05_a_bit_that_was_not_offered_is_refused, rig_setup_mem),
		TEST_BUSES(FEAT_07_a_set_accepted_once_is_accepted_after_resets, setup_rich),
		TEST_BUSES(FEAT_08_the_accepted_set_is_final, rig_setup_balloon),
		TEST_BUSES(FEAT_10_ACCESS_PLATFORM_is_an_option_that_a_driver_must_take,
			   rig_setup_bare),
		TEST_BUSES(FEAT_14_high_feature_words_read_0_and_take_only_0, rig_setup_balloon),
		TEST_BUSES(FEAT_16_the_last_value_of_each_word_counts, rig_setup_balloon),
		TEST_RINGS(FEAT_11_addresses_reach_the_host_as_the_driver_wrote_them,
			   rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* vmemdev_balloon_init: every configuration that must be refused, and by which name. */
#include "device_rig.h"

#define ROW(field, value, err) SPOIL(struct vmemdev_balloon_config, field, value, err)
#define BIT(n) (UINT64_C(1) << (n))

static void check_init(struct rig *rig, const struct vmemdev_balloon_config *config, int err,
		       const char *what)
{
	struct vmemdev_balloon *before = malloc(sizeof(*before));
	int got;

	assert_non_null(before);
	memset(&rig->balloon, 0x5a, sizeof(rig->balloon));
	memcpy(before, &rig->balloon, sizeof(*before));
	got = vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon), config);
	if (got != err)
		fail_msg("%s: expected %d, got %d", what, err, got);
	if (err)
		assert_memory_equal(&rig->balloon, before, sizeof(*before));
	free(before);
}

/* shows: FEAT-03 FEAT-06 LNX-BAL-08 */
static void FEAT_03_balloon_init_names_each_bad_field(void **state)
{
	static const struct spoil rows[] = {
		ROW(struct_size, 0, VMEMDEV_E_ABI),
		ROW(struct_size, 4, VMEMDEV_E_ABI),
		ROW(struct_size, sizeof(struct vmemdev_balloon_config) - 4, VMEMDEV_E_ABI),
		ROW(range_count, 0, VMEMDEV_E_SIZE),
		ROW(ranges, 0, VMEMDEV_E_INVAL),
		ROW(ops, 0, VMEMDEV_E_INVAL),
		ROW(pad_, 1, VMEMDEV_E_INVAL),
		ROW(pad_, 0x80, VMEMDEV_E_INVAL),
		ROW(first_round, 1, VMEMDEV_E_INVAL),
		ROW(track_count, 1, VMEMDEV_E_INVAL),
		ROW(require_must_tell_host, 1, VMEMDEV_E_FEATURE),
		ROW(device.guest, 0, VMEMDEV_E_INVAL),
		ROW(device.pad_[0], 1, VMEMDEV_E_INVAL),
		ROW(device.pad_[2], 0x100, VMEMDEV_E_INVAL),
		ROW(device.queue_size, 3, VMEMDEV_E_SIZE),
		ROW(device.queue_size, 129, VMEMDEV_E_SIZE),
		ROW(device.queue_size, 32769, VMEMDEV_E_SIZE),
		ROW(device.queue_size, 65535, VMEMDEV_E_SIZE),
		ROW(device.features_on, BIT(1), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(6), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(24), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(27), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(30), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(31), VMEMDEV_E_FEATURE),
		ROW(device.features_on, VMEMDEV_F_ACCESS_PLATFORM, VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(36), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(37), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(39), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(41), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(50), VMEMDEV_E_FEATURE),
		ROW(device.features_on, BIT(63), VMEMDEV_E_FEATURE),
		ROW(device.features_off, VMEMDEV_F_VERSION_1, VMEMDEV_E_FEATURE),
		ROW(device.features_off, BIT(24), VMEMDEV_E_FEATURE),
		ROW(device.features_off, BIT(63), VMEMDEV_E_FEATURE),
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vmemdev_balloon_config config;

		rig_balloon_config(rig, &config);
		spoil_apply(&rows[i], &config);
		check_init(rig, &config, rows[i].err, rows[i].what);
	}
}

static void balloon_init_accepts_what_is_documented(void **state)
{
	static const struct spoil rows[] = {
		ROW(range_count, 1, 0),
		ROW(ctx, 0, 0),
		ROW(device.ctx, 0, 0),
		ROW(device.guest_error, 0, 0),
		ROW(device.queue_size, 0, 0),
		ROW(device.queue_size, 1, 0),
		ROW(device.queue_size, 32768, 0),
		ROW(device.features_on, VMEMDEV_F_RING_PACKED, 0),
		ROW(device.features_on, VMEMDEV_F_IN_ORDER, 0),
		ROW(device.features_on, VMEMDEV_F_NOTIFICATION_DATA, 0),
		ROW(device.features_off, VMEMDEV_F_INDIRECT_DESC | VMEMDEV_F_EVENT_IDX, 0),
		ROW(device.features_off, VMEMDEV_F_RING_RESET | VMEMDEV_F_IN_ORDER, 0),
		ROW(deflate_on_oom, 1, 0),
		ROW(must_tell_host, 1, 0),
		ROW(stats, 1, 0),
		ROW(hinting, 1, 0),
		ROW(reporting, 1, 0),
		ROW(text_queues_only, 1, 0),
		ROW(first_round, 0, 0),
		ROW(first_round, 2, 0),
		ROW(first_round, 0xffffffff, 0),
		ROW(report_min, UINT64_MAX, 0),
		ROW(tracks, 0, 0),
	};
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct vmemdev_balloon_config config;

		rig_balloon_config(rig, &config);
		spoil_apply(&rows[i], &config);
		check_init(rig, &config, 0, rows[i].what);
	}
}

static void balloon_init_needs_inflate_and_its_pointers(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_ops ops = rig_balloon_ops;
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.ops = &ops;
	ops.inflate = NULL;
	check_init(rig, &config, VMEMDEV_E_INVAL, "no inflate");
	ops = rig_balloon_ops;
	ops.deflate = NULL;
	ops.actual = NULL;
	check_init(rig, &config, 0, "no deflate, no actual");
	rig_balloon_full_config(rig, &config);
	config.ops = &ops;
	ops = rig_balloon_ops;
	ops.report = NULL;
	check_init(rig, &config, VMEMDEV_E_INVAL, "reporting without report");
	config.reporting = false;
	check_init(rig, &config, 0, "no reporting, no report");
	ops.hint = NULL;
	check_init(rig, &config, VMEMDEV_E_INVAL, "hinting without hint");
	config.hinting = false;
	ops.stats = NULL;
	ops.unknown_stat = NULL;
	ops.round = NULL;
	ops.cancel = NULL;
	check_init(rig, &config, 0, "nothing that is optional");
	check_init(rig, NULL, VMEMDEV_E_INVAL, "no config");
	assert_int_equal(vmemdev_balloon_init(NULL, sizeof(rig->balloon), &config),
			 VMEMDEV_E_INVAL);
}

/* Fields that are good each for itself. */
static void balloon_init_checks_features_together(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;

	rig_balloon_config(rig, &config);
	config.must_tell_host = true;
	config.require_must_tell_host = true;
	check_init(rig, &config, 0, "must_tell_host, offered and required");
	rig_balloon_full_config(rig, &config);
	config.device.queue_size = 16;
	check_init(rig, &config, VMEMDEV_E_SIZE, "reporting with queues of 16");
	config.device.queue_size = 32;
	check_init(rig, &config, 0, "reporting with queues of 32");
	config.reporting = false;
	config.device.queue_size = 16;
	check_init(rig, &config, 0, "no reporting, queues of 16");
	config.device.queue_size = 2;
	check_init(rig, &config, 0, "hinting with queues of 2");
	config.device.queue_size = 1;
	check_init(rig, &config, VMEMDEV_E_SIZE, "hinting with queues of 1");
	config.hinting = false;
	check_init(rig, &config, 0, "statistics with queues of 1");
}

#define TRACK(field, v, e) SPOIL(struct vmemdev_balloon_track, field, v, e)

static void balloon_init_names_each_bad_track(void **state)
{
	static const struct spoil rows[] = {
		TRACK(words, 0, VMEMDEV_E_INVAL),
		TRACK(pad_, 1, VMEMDEV_E_INVAL),
		TRACK(len, 0, VMEMDEV_E_SIZE),
		TRACK(frame_shift, 11, VMEMDEV_E_ALIGN),
		TRACK(frame_shift, 0, VMEMDEV_E_ALIGN),
		TRACK(frame_shift, 31, VMEMDEV_E_ALIGN),
		TRACK(frame_shift, 64, VMEMDEV_E_ALIGN),
		TRACK(frame_shift, 0xffffffff, VMEMDEV_E_ALIGN),
		TRACK(gpa, PLAY_GPA + 0x1000, VMEMDEV_E_ALIGN),
		TRACK(gpa, PLAY_GPA + 0x8000, VMEMDEV_E_ALIGN),
		TRACK(gpa, UINT64_MAX - 0x1ffff, VMEMDEV_E_SIZE), /* up to 2^64 */
		TRACK(len, 0x1000, VMEMDEV_E_SIZE),
		TRACK(len, 0x28000, VMEMDEV_E_SIZE),
		TRACK(len, UINT64_MAX - 0xffff, VMEMDEV_E_SIZE),
		TRACK(frame_shift, 12, 0),
		TRACK(frame_shift, 17, 0),
		TRACK(len, 0x10000, 0),
	};
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	struct vmemdev_balloon_track track;
	uint64_t words[4];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		track = (struct vmemdev_balloon_track){
			.gpa = PLAY_GPA, .len = 0x20000, .words = words, .frame_shift = 16};
		rig_balloon_config(rig, &config);
		config.tracks = &track;
		config.track_count = 1;
		memset(words, 0x77, sizeof(words));
		spoil_apply(&rows[i], &track);
		check_init(rig, &config, rows[i].err, rows[i].what);
		assert_true(words[0] == (rows[i].err ? UINT64_C(0x7777777777777777) : 0));
	}
}

static void balloon_init_wants_tracks_in_order_and_apart(void **state)
{
	static const struct {
		uint64_t gpa, len;
		int err;
	} seconds[] = {
		{PLAY_GPA + 0x20000, 0x10000, 0},
		{PLAY_GPA + 0x30000, 0x10000, 0},
		{PLAY_GPA + 0x10000, 0x10000, VMEMDEV_E_OVERLAP},
		{PLAY_GPA, 0x20000, VMEMDEV_E_OVERLAP},
		{PLAY_GPA - 0x10000, 0x20000, VMEMDEV_E_OVERLAP},
		{PLAY_GPA - 0x20000, 0x10000, VMEMDEV_E_OVERLAP},
	};
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	struct vmemdev_balloon_track tracks[2];
	uint64_t words[2][2];

	for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
		tracks[0] = (struct vmemdev_balloon_track){
			.gpa = PLAY_GPA, .len = 0x20000, .words = words[0], .frame_shift = 16};
		tracks[1] = (struct vmemdev_balloon_track){
			.gpa = seconds[i].gpa, .len = seconds[i].len, .words = words[1],
			.frame_shift = 16};
		rig_balloon_config(rig, &config);
		config.tracks = tracks;
		config.track_count = 2;
		check_init(rig, &config, seconds[i].err, "second track");
		config.track_count = 0;
		check_init(rig, &config, 0, "room for tracks, and none of them");
	}
}

static void balloon_init_checks_struct_sizes(void **state)
{
	struct rig *rig = *state;
	struct {
		struct vmemdev_balloon_config config;
		uint64_t tail[2];
	} large;

	memset(&large, 0, sizeof(large));
	rig_balloon_config(rig, &large.config);
	assert_int_equal(vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon) - 8,
					      &large.config), VMEMDEV_E_ABI);
	assert_int_equal(vmemdev_balloon_init(&rig->balloon, sizeof(rig->balloon) + 8,
					      &large.config), VMEMDEV_E_ABI);
	large.config.struct_size = sizeof(large);
	check_init(rig, &large.config, 0, "larger, with a zero tail");
	large.tail[1] = UINT64_C(1) << 63;
	check_init(rig, &large.config, VMEMDEV_E_ABI, "larger, with something in the tail");
	large.tail[1] = 0;
	large.tail[0] = 1;
	check_init(rig, &large.config, VMEMDEV_E_ABI, "larger, with something in the tail");
}

/* Init keeps a copy: the host may throw its config away. */
static void balloon_init_copies_its_config(void **state)
{
	struct rig *rig = *state;
	struct vmemdev_balloon_config config;
	const uint32_t pfn = PLAY_PFN;

	rig_balloon_config(rig, &config);
	rig_make_balloon(rig, &config);
	memset(&config, 0xff, sizeof(config));
	drv_start(rig, 0);
	pages_send(rig, INFLATEQ, &pfn, 1);
	assert_int_equal(host_last(rig)->op, HOST_INFLATE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_ONCE(FEAT_03_balloon_init_names_each_bad_field, rig_setup_bare),
		TEST_ONCE(balloon_init_accepts_what_is_documented, rig_setup_bare),
		TEST_ONCE(balloon_init_needs_inflate_and_its_pointers, rig_setup_bare),
		TEST_ONCE(balloon_init_checks_features_together, rig_setup_bare),
		TEST_ONCE(balloon_init_names_each_bad_track, rig_setup_bare),
		TEST_ONCE(balloon_init_wants_tracks_in_order_and_apart, rig_setup_bare),
		TEST_ONCE(balloon_init_checks_struct_sizes, rig_setup_bare),
		TEST_ONCE(balloon_init_copies_its_config, rig_setup_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

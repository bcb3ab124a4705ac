# SPDX-License-Identifier: BSD-3-Clause
"""A balloon made and read from Python. Usage: test_vmemdev.py LIBRARY INCLUDE_DIR"""
import pathlib
import sys
import unittest

import vmemdev

ffi, lib = vmemdev.load(sys.argv[1], sys.argv[2])
RAM_SIZE = 1 << 20
PAGE = 4096
EXPORTS = pathlib.Path(sys.argv[2]).resolve().parent / "tests/abi/exports.txt"
STATISTICS = ["swap_in", "swap_out", "major_fault", "minor_fault", "unused", "available",
              "usable", "disk_caches", "hugetlb_pgalloc", "hugetlb_pgfail", "oom_kill",
              "alloc_stall", "async_scan", "direct_scan", "async_reclaim", "direct_reclaim"]


def exports():
    """The names in the section [vmemdev] of the list."""
    section = EXPORTS.read_text(encoding="utf-8").split("[vmemdev]\n")[1].split("\n[")[0]
    return section.split()


class Coverage(unittest.TestCase):
    def test_every_exported_function_can_be_called(self):
        names = exports()
        self.assertIn("vmemdev_balloon_poll_stats", names)
        for name in names:
            with self.subTest(name):
                self.assertIn("(*)(", ffi.typeof(getattr(lib, name)).cname)


class Balloon(unittest.TestCase):
    def setUp(self):
        # cffi owns what it allocates: what the library borrows is kept alive here.
        self.ram = ffi.new("char[]", RAM_SIZE + 4096)
        start = int(ffi.cast("uintptr_t", self.ram)) + 4095 & ~4095
        self.region = ffi.new("struct vmemdev_region *",
                              {"len": RAM_SIZE, "host": ffi.cast("void *", start)})
        self.guest = ffi.new("struct vmemdev_guest *")
        config = ffi.new("struct vmemdev_guest_config *",
                         {"struct_size": ffi.sizeof("struct vmemdev_guest_config"),
                          "regions": self.region, "region_count": 1})
        self.assertEqual(lib.vmemdev_guest_init(self.guest, ffi.sizeof(self.guest[0]), config), 0)
        self.inflate = ffi.callback("int(void *, const struct vmemdev_range *, uint32_t, uint64_t)",
                                    lambda ctx, ranges, count, token: 0)
        self.report = ffi.callback("int(void *, const struct vmemdev_range *, uint32_t, uint64_t)",
                                   lambda ctx, ranges, count, token: 0)
        self.hint = ffi.callback("void(void *, const struct vmemdev_range *, uint32_t)",
                                 lambda ctx, ranges, count: None)
        self.ops = ffi.new("struct vmemdev_balloon_ops *", {
            "inflate": self.inflate, "report": self.report, "hint": self.hint})
        self.ranges = ffi.new("struct vmemdev_range[16]")
        self.balloon = ffi.new("struct vmemdev_balloon *")
        self.config = ffi.new("struct vmemdev_balloon_config *",
                              {"struct_size": ffi.sizeof("struct vmemdev_balloon_config"),
                               "range_count": 16, "ranges": self.ranges, "ops": self.ops,
                               "device": {"guest": self.guest}})

    def test_sizes_agree_with_the_library(self):
        """init refuses a struct whose size is not the library's own."""
        size = ffi.sizeof("struct vmemdev_balloon")
        self.assertEqual(lib.vmemdev_balloon_init(self.balloon, size, self.config), lib.VMEMDEV_OK)
        self.assertEqual(lib.vmemdev_balloon_init(self.balloon, size - 8, self.config),
                         lib.VMEMDEV_E_ABI)

    def test_target_shows_in_the_configuration_space(self):
        lib.vmemdev_balloon_init(self.balloon, ffi.sizeof("struct vmemdev_balloon"), self.config)
        self.assertEqual(lib.vmemdev_balloon_set_target(self.balloon, 5 * 4096), 0)
        field = ffi.new("uint8_t[4]")
        lib.vmemdev_device_config_read(lib.vmemdev_balloon_device(self.balloon), 0, field, 4)
        self.assertEqual(bytes(field), b"\5\0\0\0")

    def make(self, **config):
        """A balloon with these fields of its configuration set."""
        for name, value in config.items():
            setattr(self.config, name, value)
        self.assertEqual(lib.vmemdev_balloon_init(self.balloon, ffi.sizeof(self.balloon[0]),
                                                  self.config), 0)
        self.device = lib.vmemdev_balloon_device(self.balloon)

    def start(self):
        """A driver that accepts all that is offered; queues it has no use for."""
        lib.vmemdev_device_set_status(self.device, 0)
        for word in range(2):
            lib.vmemdev_device_accept(self.device, word,
                                      lib.vmemdev_device_features(self.device, word))
        for status in (lib.VMEMDEV_STATUS_FEATURES_OK, lib.VMEMDEV_STATUS_DRIVER_OK):
            lib.vmemdev_device_set_status(self.device, status)
            self.assertTrue(lib.vmemdev_device_status(self.device) & status)

    def field(self, offset):
        """A number of the configuration space, as the guest reads it."""
        field = ffi.new("uint8_t[4]")
        lib.vmemdev_device_config_read(self.device, offset, field, 4)
        return int.from_bytes(bytes(field), "little")

    def test_statistics_have_names(self):
        names = [ffi.string(lib.vmemdev_balloon_stat_name(tag)).decode() for tag in range(16)]
        self.assertEqual(names, STATISTICS)
        self.assertEqual(lib.vmemdev_balloon_stat_name(16), ffi.NULL)

    def test_statistics_are_asked_for(self):
        stats = ffi.new("struct vmemdev_balloon_stats *")
        self.make()
        self.assertEqual(lib.vmemdev_balloon_poll_stats(self.balloon), lib.VMEMDEV_E_FEATURE)
        self.make(stats=True)
        self.assertEqual(lib.vmemdev_balloon_poll_stats(self.balloon), lib.VMEMDEV_E_STATE)
        self.start()
        self.assertEqual(lib.vmemdev_balloon_poll_stats(self.balloon), 0)
        lib.vmemdev_balloon_get_stats(self.balloon, stats)
        self.assertEqual((stats.pending, stats.valid, stats.present), (True, False, 0))

    def test_rounds_of_hinting_show_their_command(self):
        self.make(hinting=True, first_round=7)
        self.assertEqual(lib.vmemdev_balloon_hint_start(self.balloon), lib.VMEMDEV_E_STATE)
        self.start()
        self.assertEqual(lib.vmemdev_balloon_hint_start(self.balloon), 0)
        self.assertEqual(self.field(8), 7)
        self.assertEqual(lib.vmemdev_balloon_hint_round(self.balloon),
                         lib.VMEMDEV_BALLOON_ROUND_ASKED)
        self.assertEqual(lib.vmemdev_balloon_hint_stop(self.balloon), 0)
        self.assertEqual(self.field(8), 0)
        self.assertEqual(lib.vmemdev_balloon_hint_done(self.balloon), 0)
        self.assertEqual(self.field(8), 1)
        counts = ffi.new("struct vmemdev_balloon_counts *")
        lib.vmemdev_balloon_get_counts(self.balloon, counts)
        self.assertEqual((counts.rounds, counts.host_calls), (1, 0))

    def test_hinted_pages_are_taken_out_of_a_bitmap(self):
        bits = ffi.new("uint64_t[2]", [(1 << 64) - 1, 0xff])
        hinted = ffi.new("struct vmemdev_range[2]", [(PAGE * 2, PAGE * 3), (PAGE * 63, PAGE * 2)])
        self.assertEqual(lib.vmemdev_balloon_skip(bits, 0, 72, 12, hinted, 2), 5)
        self.assertEqual(bits[0], (1 << 64) - 1 - 0b11100 - (1 << 63))
        self.assertEqual(bits[1], 0xfe)

    def test_discards_are_forbidden_and_allowed(self):
        self.make(reporting=True)
        self.assertEqual(lib.vmemdev_balloon_uninhibit(self.balloon), lib.VMEMDEV_E_STATE)
        self.assertEqual(lib.vmemdev_balloon_inhibit(self.balloon), 0)
        self.assertEqual(lib.vmemdev_balloon_uninhibit(self.balloon), 0)
        self.assertEqual(lib.vmemdev_balloon_allow_reports(self.balloon, 1 << 20), 0)

    def test_tracks_remember_nothing_at_first(self):
        count = lib.vmemdev_balloon_track_words(RAM_SIZE, 16)
        self.assertEqual(count, RAM_SIZE // PAGE // 64)
        words = ffi.new("uint64_t[]", [(1 << 64) - 1] * count)
        track = ffi.new("struct vmemdev_balloon_track *",
                        {"len": RAM_SIZE, "words": words, "frame_shift": 16})
        self.make(tracks=track, track_count=1, must_tell_host=True)
        self.assertEqual(list(words), [0] * count)
        given = ffi.new("struct vmemdev_range *")
        self.assertFalse(lib.vmemdev_balloon_given(self.balloon, 0, given))

    def test_errors_have_a_text(self):
        error = lib.vmemdev_balloon_set_target(self.balloon, 1)
        self.assertEqual(error, lib.VMEMDEV_E_ALIGN)
        self.assertIn(b"aligned", ffi.string(lib.vmemdev_strerror(error)))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

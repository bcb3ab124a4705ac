# SPDX-License-Identifier: BSD-3-Clause
"""A balloon made and read from Python. Usage: test_vmemdev.py LIBRARY INCLUDE_DIR"""
import sys
import unittest

import vmemdev

ffi, lib = vmemdev.load(sys.argv[1], sys.argv[2])
RAM_SIZE = 1 << 20


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
        self.ops = ffi.new("struct vmemdev_balloon_ops *", {"inflate": self.inflate})
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

    def test_errors_have_a_text(self):
        error = lib.vmemdev_balloon_set_target(self.balloon, 1)
        self.assertEqual(error, lib.VMEMDEV_E_ALIGN)
        self.assertIn(b"aligned", ffi.string(lib.vmemdev_strerror(error)))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VMEMDEV_VMEMDEV_H
#define VMEMDEV_VMEMDEV_H
/**
 * @file vmemdev.h - everything that needs no operating system.
 *
 * Purpose, trust and threads are those of the headers it includes. Hosts on Linux
 * may add linux.h.
 */
#include <vmemdev/balloon.h>
#include <vmemdev/base.h>
#include <vmemdev/device.h>
#include <vmemdev/guest.h>
#include <vmemdev/mem.h>
#include <vmemdev/mem_resize.h>
#include <vmemdev/mem_slots.h>
#include <vmemdev/mmio.h>
#include <vmemdev/pmem.h>
#include <vmemdev/virtqueue.h>

#endif /* VMEMDEV_VMEMDEV_H */

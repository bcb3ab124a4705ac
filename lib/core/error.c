/* SPDX-License-Identifier: BSD-3-Clause */
#include <vmemdev/base.h>

const char *vmemdev_strerror(int err)
{
	switch (err) {
	case VMEMDEV_OK:
		return "success";
	case VMEMDEV_LATER:
		return "the work goes on and its end will be reported";
	case VMEMDEV_E_INVAL:
		return "an argument is outside its documented values";
	case VMEMDEV_E_ABI:
		return "a struct's size is not the library's: header and library differ";
	case VMEMDEV_E_STATE:
		return "the call does not fit the object's present state";
	case VMEMDEV_E_NOSPC:
		return "a buffer of the caller's is too small";
	case VMEMDEV_E_SIZE:
		return "a size is zero, too large, or not the multiple it must be";
	case VMEMDEV_E_ALIGN:
		return "an address or amount is not aligned as documented";
	case VMEMDEV_E_OVERLAP:
		return "memory regions overlap or are not in ascending order";
	case VMEMDEV_E_FEATURE:
		return "a feature was asked for that this device cannot keep";
	case VMEMDEV_E_REACH:
		return "guest memory lies beyond what this device can name (a balloon: 16 TiB)";
	case VMEMDEV_E_RECORD:
		return "a saved record is damaged, cut off, or no record of this kind";
	case VMEMDEV_E_VERSION:
		return "a saved record is of a newer version than this library can read";
	case VMEMDEV_E_MISMATCH:
		return "a saved record is of another device, or of one configured otherwise";
	case VMEMDEV_E_GUEST_RING:
		return "guest fault: a ring index or ring address is impossible";
	case VMEMDEV_E_GUEST_CHAIN:
		return "guest fault: a descriptor chain is looped, too long or mis-ordered";
	case VMEMDEV_E_GUEST_ADDR:
		return "guest fault: a needed buffer lies outside guest memory";
	case VMEMDEV_E_GUEST_REPLY:
		return "guest fault: a request has no room for its answer";
	case VMEMDEV_E_HOST:
		return "a host callback failed";
	case VMEMDEV_E_BUSY:
		return "a host callback cannot do it now";
	default:
		return "unknown error number";
	}
}

uint32_t vmemdev_version(void)
{
	return VMEMDEV_VERSION_MAJOR << 16 | VMEMDEV_VERSION_MINOR << 8 | VMEMDEV_VERSION_PATCH;
}

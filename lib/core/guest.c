/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/guest.h"
#include "core/bitmap.h"
#include "core/config.h"

#define PAGE UINT64_C(4096)

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int check_region(const struct vmemdev_region *region)
{
	if (region->host == NULL)
		return VMEMDEV_E_INVAL;
	if (region->flags & ~(uint32_t)(VMEMDEV_REGION_READONLY | VMEMDEV_REGION_KEEP))
		return VMEMDEV_E_INVAL;
	if (region->len == 0 || region->len % PAGE != 0)
		return VMEMDEV_E_SIZE;
	if (region->len - 1 > UINT64_MAX - region->gpa)
		return VMEMDEV_E_SIZE;
	if (region->len > SIZE_MAX)
		return VMEMDEV_E_SIZE;
	if (region->gpa % PAGE != 0 || (uintptr_t)region->host % 16 != 0)
		return VMEMDEV_E_ALIGN;
	if (region->blocks != NULL && (region->block_shift < 12 || region->block_shift > 40))
		return VMEMDEV_E_ALIGN;
	return 0;
}

static int check_table(const struct vmemdev_region *regions, uint32_t count)
{
	int err;

	if (regions == NULL || count == 0)
		return VMEMDEV_E_INVAL;
	for (uint32_t i = 0; i < count; i++) {
		err = check_region(&regions[i]);
		if (err != 0)
			return err;
		if (i > 0 && (regions[i].gpa < regions[i - 1].gpa ||
			      regions[i].gpa - regions[i - 1].gpa < regions[i - 1].len))
			return VMEMDEV_E_OVERLAP;
	}
	return 0;
}

int vmemdev_guest_init(struct vmemdev_guest *guest, size_t guest_size,
		       const struct vmemdev_guest_config *config)
{
	struct vmemdev_guest_config given;
	int err;

	if (guest == NULL)
		return VMEMDEV_E_INVAL;
	if (guest_size != sizeof(*guest))
		return VMEMDEV_E_ABI;
	err = config_take(&given, sizeof(given), sizeof(given), config);
	if (err != 0)
		return err;
	if (given.region_count > 0)
		err = check_table(given.regions, given.region_count);
	else if (given.ops == NULL || given.ops->map == NULL || given.ops->run == NULL)
		err = VMEMDEV_E_INVAL;
	if (err != 0)
		return err;

	guest->regions_ = given.region_count > 0 ? given.regions : NULL;
	guest->region_count_ = given.region_count;
	guest->ops_ = given.ops;
	guest->ctx_ = given.ctx;
	guest->generation_ = 1;
	return 0;
}

int vmemdev_guest_set_regions(struct vmemdev_guest *guest, const struct vmemdev_region *regions,
			      uint32_t count)
{
	int err;

	if (guest == NULL)
		return VMEMDEV_E_INVAL;
	if (guest->regions_ == NULL)
		return VMEMDEV_E_STATE;
	err = check_table(regions, count);
	if (err != 0)
		return err;
	guest->regions_ = regions;
	guest->region_count_ = count;
	vmemdev_guest_changed(guest);
	return 0;
}

void vmemdev_guest_changed(struct vmemdev_guest *guest)
{
	guest->generation_++;
}

/* The last region that starts at or below @gpa, or the first one. */
static const struct vmemdev_region *nearest(const struct vmemdev_guest *guest, uint64_t gpa)
{
	const struct vmemdev_region *base = guest->regions_;

	for (uint32_t n = guest->region_count_; n > 1;) {
		uint32_t half = n / 2;

		if (base[half].gpa <= gpa)
			base += half;
		n -= half;
	}
	return base;
}

static bool covers(const struct vmemdev_region *region, uint64_t gpa)
{
	return gpa >= region->gpa && gpa - region->gpa < region->len;
}

/*
 * Bytes from @offset into @region on, at most @len, that are all memory or all not;
 * @present says which. A region without blocks is all memory.
 */
static uint64_t alike(const struct vmemdev_region *region, uint64_t offset, uint64_t len,
		      bool *present)
{
	uint64_t first, end;

	len = min64(len, region->len - offset);
	*present = true;
	if (region->blocks == NULL)
		return len;
	first = offset >> region->block_shift;
	end = ((offset + len - 1) >> region->block_shift) + 1;
	*present = region->blocks[first >> 6] >> (first & 63) & 1;
	end = bitmap_run_end(region->blocks, first, end, *present);
	return min64(len, (end << region->block_shift) - offset);
}

/*
 * Host address of the bytes from @gpa on; *len, at least 1, is cut to what is
 * contiguous there. NULL if the first byte is not memory open to @access.
 */
static uint8_t *piece(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t *len,
		      enum vmemdev_access access)
{
	const struct vmemdev_region *region;
	uint8_t *host;
	bool present;

	if (guest->regions_ == NULL) {
		host = guest->ops_->map(guest->ctx_, gpa, *len, access);
		if (host == NULL && *len > PAGE - gpa % PAGE) {
			*len = PAGE - gpa % PAGE;
			host = guest->ops_->map(guest->ctx_, gpa, *len, access);
		}
		return host;
	}
	region = nearest(guest, gpa);
	if (!covers(region, gpa))
		return NULL;
	if (access == VMEMDEV_WRITE && (region->flags & VMEMDEV_REGION_READONLY))
		return NULL;
	*len = alike(region, gpa - region->gpa, *len, &present);
	return present ? (uint8_t *)region->host + (gpa - region->gpa) : NULL;
}

static bool wraps(uint64_t gpa, uint64_t len)
{
	return len > 0 && len - 1 > UINT64_MAX - gpa;
}

uint8_t *guest_map(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len,
		   enum vmemdev_access access)
{
	uint64_t got = len;
	uint8_t *host;

	if (wraps(gpa, len))
		return NULL;
	host = piece(guest, gpa, &got, access);
	return got == len ? host : NULL;
}

bool guest_check(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len,
		 enum vmemdev_access access)
{
	uint64_t got;

	if (wraps(gpa, len))
		return false;
	for (; len > 0; len -= got, gpa += got) {
		got = len;
		if (piece(guest, gpa, &got, access) == NULL)
			return false;
	}
	return true;
}

int guest_read(const struct vmemdev_guest *guest, uint64_t gpa, void *dst, uint64_t len)
{
	const uint8_t *host;
	uint8_t *to = dst;
	uint64_t got;

	if (wraps(gpa, len))
		return VMEMDEV_E_GUEST_ADDR;
	for (; len > 0; len -= got, gpa += got, to += got) {
		got = len;
		host = piece(guest, gpa, &got, VMEMDEV_READ);
		if (host == NULL)
			return VMEMDEV_E_GUEST_ADDR;
		guest_copy_in(to, host, (size_t)got);
	}
	return 0;
}

int guest_write(const struct vmemdev_guest *guest, uint64_t gpa, const void *src, uint64_t len)
{
	const uint8_t *from = src;
	uint8_t *host;
	uint64_t got;

	if (wraps(gpa, len))
		return VMEMDEV_E_GUEST_ADDR;
	for (; len > 0; len -= got, gpa += got, from += got) {
		got = len;
		host = piece(guest, gpa, &got, VMEMDEV_WRITE);
		if (host == NULL)
			return VMEMDEV_E_GUEST_ADDR;
		guest_copy_out(host, from, (size_t)got);
		guest_dirty(guest, gpa, got);
	}
	return 0;
}

/* As guest_run(), but it may stop where a region ends or a callback likes to. */
static uint64_t run_piece(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len,
			  bool *discardable)
{
	const struct vmemdev_region *region, *end;

	*discardable = false;
	if (guest->regions_ == NULL) {
		uint64_t got = guest->ops_->run(guest->ctx_, gpa, len, discardable);

		if (got == 0)
			*discardable = false;
		return got > 0 ? min64(got, len) : len;
	}
	region = nearest(guest, gpa);
	if (covers(region, gpa)) {
		len = alike(region, gpa - region->gpa, len, discardable);
		if (region->flags & (VMEMDEV_REGION_KEEP | VMEMDEV_REGION_READONLY))
			*discardable = false;
		return len;
	}
	end = guest->regions_ + guest->region_count_;
	if (region->gpa <= gpa)
		region++;
	return region < end ? min64(len, region->gpa - gpa) : len;
}

uint64_t guest_run(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len, bool *discardable)
{
	uint64_t done = run_piece(guest, gpa, len, discardable), got;
	bool same;

	while (done < len) {
		got = run_piece(guest, gpa + done, len - done, &same);
		if (same != *discardable)
			break;
		done += got;
	}
	return done;
}

bool guest_reaches(const struct vmemdev_guest *guest, uint64_t gpa)
{
	const uint32_t kept = VMEMDEV_REGION_KEEP | VMEMDEV_REGION_READONLY;

	for (uint32_t i = 0; guest->regions_ != NULL && i < guest->region_count_; i++) {
		const struct vmemdev_region *region = &guest->regions_[i];

		if (!(region->flags & kept) && region->gpa + (region->len - 1) >= gpa)
			return true;
	}
	return false;
}

void guest_dirty(const struct vmemdev_guest *guest, uint64_t gpa, uint64_t len)
{
	if (guest->ops_ != NULL && guest->ops_->dirty != NULL)
		guest->ops_->dirty(guest->ctx_, gpa, len);
}

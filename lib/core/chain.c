/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The chain cursor: descriptors of either format, direct or in an indirect table, each
 * fetched once.
 */
#include "core/guest.h"
#include "core/vq.h"

/* Entries that the 16-bit next field of a split descriptor can name. */
#define LINKS_MAX 65536

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags; /* packed: a fetched head's flags, else as read */
	uint16_t next;	/* split only */
	uint16_t id;	/* packed only */
};

void chain_start(struct vmemdev_chain *chain, struct vmemdev_vq *vq, uint16_t first)
{
	memset(chain, 0, sizeof(*chain));
	chain->vq_ = vq;
	chain->table_ = vq->desc_;
	chain->table_gpa_ = vq->layout_.desc;
	chain->table_size_ = vq->size_;
	chain->generation_ = vq->generation_;
	chain->next_ = first;
	chain->left_ = vq->size_;
	chain->order_ = vq->order_popped_++;
}

bool chain_at_end(const struct vmemdev_chain *chain)
{
	return chain->ended_ && chain->len_ == 0;
}

/* The table is used in place where the host shows it in one piece, else by copies. */
static bool locate(struct vmemdev_chain *chain)
{
	const struct vmemdev_guest *guest = chain->vq_->guest_;
	uint64_t len = (uint64_t)DESC_SIZE * chain->table_size_;

	chain->generation_ = guest->generation_;
	chain->table_ = guest_map(guest, chain->table_gpa_, len, VMEMDEV_READ);
	return chain->table_ != NULL || guest_check(guest, chain->table_gpa_, len, VMEMDEV_READ);
}

static int fetch(struct vmemdev_chain *chain, struct desc *desc)
{
	const struct vmemdev_guest *guest = chain->vq_->guest_;
	uint32_t at = DESC_SIZE * chain->next_;
	uint8_t raw[DESC_SIZE];

	if (chain->generation_ != guest->generation_ && !locate(chain))
		return VMEMDEV_E_GUEST_CHAIN;
	if (chain->table_ != NULL)
		guest_copy_in(raw, chain->table_ + at, sizeof(raw));
	else if (guest_read(guest, chain->table_gpa_ + at, raw, sizeof(raw)) != 0)
		return VMEMDEV_E_GUEST_CHAIN;
	desc->addr = load_le64(raw);
	desc->len = load_le32(raw + 8);
	if (chain->vq_->packed_) {
		desc->id = load_le16(raw + 12);
		desc->flags = load_le16(raw + 14);
		desc->next = 0;
	} else {
		desc->flags = load_le16(raw + 12);
		desc->next = load_le16(raw + 14);
		desc->id = 0;
	}
	if (chain->head_) {
		/* The pop has fetched and judged these; memory may say otherwise by now. */
		desc->flags = chain->flags_;
		chain->head_ = 0;
	}
	return 0;
}

static int enter_indirect(struct vmemdev_chain *chain, const struct desc *desc)
{
	uint32_t size;

	if (!chain->vq_->indirect_ || chain->in_indirect_ || (desc->flags & DESC_NEXT))
		return VMEMDEV_E_GUEST_CHAIN;
	if (desc->len == 0 || desc->len % DESC_SIZE != 0)
		return VMEMDEV_E_GUEST_CHAIN;
	size = desc->len / DESC_SIZE;
	/* All of a packed table is used; of a split one, what 16-bit links can reach. */
	if (chain->vq_->packed_ && size > chain->vq_->size_)
		return VMEMDEV_E_GUEST_CHAIN;
	chain->in_indirect_ = 1;
	chain->table_gpa_ = desc->addr;
	chain->table_size_ = size < LINKS_MAX ? size : LINKS_MAX;
	chain->next_ = 0;
	return locate(chain) ? 0 : VMEMDEV_E_GUEST_CHAIN;
}

/* Split: links lead on, in the ring and in a table alike (2.7.5). */
static int follow_split(struct vmemdev_chain *chain, const struct desc *desc)
{
	if (!(desc->flags & DESC_NEXT)) {
		chain->ended_ = 1;
		return 0;
	}
	if (desc->next >= chain->table_size_)
		return VMEMDEV_E_GUEST_CHAIN;
	chain->next_ = desc->next;
	return 0;
}

/*
 * Packed: the next slot leads on while NEXT is set, and the last one's ID names the
 * buffer (2.8.6); a table has no links and is used up to its end (2.8.7).
 */
static void follow_packed(struct vmemdev_chain *chain, const struct desc *desc)
{
	chain->next_++;
	if (chain->next_ >= chain->table_size_) {
		chain->next_ = 0;
		chain->ended_ = chain->in_indirect_;
	}
	if (chain->in_indirect_)
		return;
	chain->slots_++;
	chain->id_ = desc->id;
	chain->ended_ = !(desc->flags & DESC_NEXT);
}

/* Make @desc the present buffer (2.7.4.2, 2.7.5.2). */
static int take_buffer(struct vmemdev_chain *chain, const struct desc *desc)
{
	if (desc->flags & DESC_WRITE) {
		chain->writing_ = 1;
		chain->writable_ += desc->len;
	} else if (chain->writing_) {
		return VMEMDEV_E_GUEST_CHAIN;
	}
	chain->total_ += desc->len;
	if (chain->total_ > UINT64_C(1) << 32)
		return VMEMDEV_E_GUEST_CHAIN;
	chain->gpa_ = desc->addr;
	chain->len_ = desc->len;
	return 0;
}

/* Go to the next descriptor that is a buffer. Returns 1, 0 at the end, or an error. */
static int advance(struct vmemdev_chain *chain)
{
	bool packed = chain->vq_->packed_;
	struct desc desc;
	int err;

	chain->len_ = 0;
	if (chain->ended_)
		return 0;
	err = fetch(chain, &desc);
	if (err != 0)
		return err;
	/* In a packed table only WRITE has a meaning (2.8.7); in a split one the rest counts. */
	if ((desc.flags & DESC_INDIRECT) && !(packed && chain->in_indirect_)) {
		if (packed && chain->slots_ > 0)
			return VMEMDEV_E_GUEST_CHAIN;
		chain->id_ = packed ? desc.id : chain->id_;
		chain->slots_ = 1;
		err = enter_indirect(chain, &desc);
		if (err == 0)
			err = fetch(chain, &desc);
		if (err != 0)
			return err;
		if (!packed && (desc.flags & DESC_INDIRECT))
			return VMEMDEV_E_GUEST_CHAIN;
	}
	if (chain->left_ == 0)
		return VMEMDEV_E_GUEST_CHAIN;
	chain->left_--;
	err = take_buffer(chain, &desc);
	if (err != 0)
		return err;
	if (!packed)
		err = follow_split(chain, &desc);
	else
		follow_packed(chain, &desc);
	return err != 0 ? err : 1;
}

/* What each step of a cursor begins with, and the latching of its end. */
static int go_on(struct vmemdev_chain *chain)
{
	int got;

	if (chain->vq_->broken_ != 0)
		return chain->vq_->broken_;
	got = advance(chain);
	return got < 0 ? vq_break(chain->vq_, got) : got;
}

int vmemdev_chain_next(struct vmemdev_chain *chain, struct vmemdev_buf *buf)
{
	int got;

	while (chain->len_ == 0) {
		got = go_on(chain);
		if (got <= 0)
			return got;
	}
	buf->gpa = chain->gpa_;
	buf->len = chain->len_;
	buf->writable = chain->writing_;
	chain->len_ = 0;
	return 1;
}

static void consume(struct vmemdev_chain *chain, uint32_t len)
{
	chain->gpa_ += len;
	chain->len_ -= len;
}

int32_t vmemdev_chain_read(struct vmemdev_chain *chain, void *dst, uint32_t len)
{
	const struct vmemdev_guest *guest = chain->vq_->guest_;
	uint8_t *to = dst;
	uint32_t done = 0, part;
	int got;

	while (done < len) {
		if (chain->len_ == 0) {
			got = go_on(chain);
			if (got < 0)
				return got;
			if (got == 0)
				break;
		}
		if (chain->writing_)
			break;
		part = len - done < chain->len_ ? len - done : chain->len_;
		if (to != NULL && guest_read(guest, chain->gpa_, to + done, part) != 0)
			return VMEMDEV_E_GUEST_ADDR;
		consume(chain, part);
		done += part;
	}
	return (int32_t)done;
}

/* Go to the writable part. Returns 1 at a byte of it, 0 at the end, or an error. */
static int seek_writable(struct vmemdev_chain *chain)
{
	int got;

	while (chain->len_ == 0 || !chain->writing_) {
		got = go_on(chain);
		if (got <= 0)
			return got;
	}
	return 1;
}

int32_t vmemdev_chain_write(struct vmemdev_chain *chain, const void *src, uint32_t len)
{
	const struct vmemdev_guest *guest = chain->vq_->guest_;
	const uint8_t *from = src;
	uint32_t done = 0, part;
	int got;

	while (done < len) {
		got = seek_writable(chain);
		if (got < 0)
			return got;
		if (got == 0)
			break;
		part = len - done < chain->len_ ? len - done : chain->len_;
		if (guest_write(guest, chain->gpa_, from + done, part) != 0)
			return VMEMDEV_E_GUEST_ADDR;
		consume(chain, part);
		done += part;
	}
	return (int32_t)done;
}

int32_t vmemdev_chain_reserve(struct vmemdev_chain *chain, struct vmemdev_reply *reply,
			      uint32_t len)
{
	const struct vmemdev_guest *guest = chain->vq_->guest_;
	uint32_t part;
	int got;

	if (len == 0 || len > VMEMDEV_REPLY_MAX)
		return VMEMDEV_E_INVAL;
	memset(reply, 0, sizeof(*reply));
	while (reply->len < len) {
		got = seek_writable(chain);
		if (got < 0)
			return got;
		if (got == 0)
			break;
		part = len - reply->len < chain->len_ ? len - reply->len : chain->len_;
		if (!guest_check(guest, chain->gpa_, part, VMEMDEV_WRITE))
			return VMEMDEV_E_GUEST_ADDR;
		reply->seg[reply->segs].gpa = chain->gpa_;
		reply->seg[reply->segs].len = part;
		reply->segs++;
		reply->len += part;
		consume(chain, part);
	}
	return (int32_t)reply->len;
}

int vmemdev_reply_write(struct vmemdev_guest *guest, const struct vmemdev_reply *reply,
			const void *src, uint32_t len)
{
	const uint8_t *from = src;
	uint64_t part;

	if (len > reply->len || reply->segs > VMEMDEV_REPLY_MAX)
		return VMEMDEV_E_INVAL;
	for (uint32_t i = 0; i < reply->segs && len > 0; i++) {
		part = reply->seg[i].len < len ? reply->seg[i].len : len;
		if (guest_write(guest, reply->seg[i].gpa, from, part) != 0)
			return VMEMDEV_E_GUEST_ADDR;
		from += part;
		len -= (uint32_t)part;
	}
	return 0;
}

int vmemdev_chain_finish(struct vmemdev_chain *chain, struct vmemdev_held *held)
{
	struct vmemdev_vq *vq = chain->vq_;
	int got;

	if (!vq->open_)
		return vq->broken_ != 0 ? vq->broken_ : VMEMDEV_E_STATE;
	do {
		got = go_on(chain);
	} while (got > 0);
	if (got == 0 && vq->packed_) {
		got = packed_finish(vq, chain);
		if (got != 0)
			vq_break(vq, got);
	}
	if (got != 0)
		return got;
	vq->open_ = 0;
	held->writable = chain->writable_;
	held->id = chain->id_;
	held->slots = chain->slots_;
	held->order = chain->order_;
	held->pad_ = 0;
	return 0;
}

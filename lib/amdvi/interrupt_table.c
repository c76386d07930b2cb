/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupt messages of devices: interrupt tables, 2.2.5. Runs on device threads,
 * inside a section. Entries are read for each message and kept nowhere, so that an
 * invalidation has only to wait for messages that are on their way.
 */
#include "amdvi/amdvi.h"
#include "base/bits.h"

/* What an entry says, of either size. */
struct target {
	unsigned type;
	uint32_t destination;
	uint8_t vector;
	bool logical;
};

static vi_reason check_words(const uint64_t words[2])
{
	if (words[0] & AMDVI_DTE_RSVD2 || words[1] & AMDVI_DTE_RSVD3 ||
	    vi_field(words[0], AMDVI_DTE_INT_CTL) > AMDVI_INT_CTL_REMAP ||
	    vi_field(words[0], AMDVI_DTE_INT_TAB_LEN) > AMDVI_INT_TAB_LEN_MOST)
		return VI_AMDVI_DTE_INTERRUPT_RESERVED;
	return 0;
}

/* Bits that both sizes have. */
static vi_reason check_entry(uint64_t lo, struct vi_message *io_message)
{
	if (!(lo & AMDVI_IRTE_REMAP_EN)) {
		io_message->silent |= (lo & AMDVI_IRTE_SUP_IOPF) != 0;
		return VI_AMDVI_INTERRUPT_NOT_ENABLED;
	}
	if (lo & AMDVI_IRTE_GUEST_MODE || vi_field(lo, AMDVI_IRTE_INT_TYPE) > AMDVI_INT_TYPE_LAST)
		return VI_AMDVI_INTERRUPT_RESERVED;
	return 0;
}

static vi_reason decode_small(uint32_t entry, struct vi_message *io_message, struct target *ret)
{
	vi_reason reason = check_entry(entry, io_message);

	if (reason)
		return reason;
	if (entry & AMDVI_IRTE_RSVD)
		return VI_AMDVI_INTERRUPT_RESERVED;
	ret->destination = (uint32_t)vi_field(entry, AMDVI_IRTE_DEST);
	ret->vector = (uint8_t)vi_field(entry, AMDVI_IRTE_VECTOR);
	return 0;
}

/* Without XTEn a destination has 8 bits. */
static vi_reason decode_large(const uint64_t words[2], bool extended, struct vi_message *io_message,
			      struct target *ret)
{
	vi_reason reason = check_entry(words[0], io_message);

	if (reason)
		return reason;
	if (words[0] & AMDVI_IRTE128_RSVD_LO || words[1] & AMDVI_IRTE128_RSVD_HI)
		return VI_AMDVI_INTERRUPT_RESERVED;
	ret->destination = (uint32_t)(vi_field(words[0], AMDVI_IRTE128_DEST_LO) |
				      vi_field(words[1], AMDVI_IRTE128_DEST_HI) << 24);
	if (!extended)
		ret->destination &= 0xff;
	ret->vector = (uint8_t)vi_field(words[1], AMDVI_IRTE128_VECTOR);
	return 0;
}

/* Small entries are read by the aligned word of 8 bytes that they are half of. */
static vi_reason read_entry(const struct vi_amdvi *m, uint64_t root, unsigned index,
			    struct vi_message *io_message, struct target *ret)
{
	uint64_t control = vi_amdvi_control(m), words[2], gpa = root + (uint64_t)index * AMDVI_IRTE_SIZE;
	vi_reason reason;

	if (control & AMDVI_CONTROL_GA_EN) {
		if (!vi_guestmem_load128(&m->unit->mem, root + (uint64_t)index * AMDVI_IRTE128_SIZE, words))
			return VI_AMDVI_INTERRUPT_TABLE_ACCESS;
		reason = decode_large(words, control & AMDVI_CONTROL_XT_EN, io_message, ret);
	} else {
		if (!vi_guestmem_load64(&m->unit->mem, vi_align_down(gpa, 8), &words[0]))
			return VI_AMDVI_INTERRUPT_TABLE_ACCESS;
		words[0] = (uint32_t)(words[0] >> (gpa % 8 * 8));
		reason = decode_small((uint32_t)words[0], io_message, ret);
	}
	ret->type = (unsigned)vi_field(words[0], AMDVI_IRTE_INT_TYPE);
	ret->logical = words[0] & AMDVI_IRTE_DM;
	return reason;
}

static vi_reason remap(const struct vi_amdvi *m, uint64_t word, struct vi_message *io_message)
{
	unsigned index = (unsigned)vi_field(io_message->data, AMDVI_MESSAGE_INDEX);
	struct target to = {.type = 0};
	vi_reason reason;

	if (index >= 1u << vi_field(word, AMDVI_DTE_INT_TAB_LEN))
		return VI_AMDVI_INTERRUPT_BEYOND_TABLE;
	reason = read_entry(m, word & AMDVI_DTE_INT_ROOT, index, io_message, &to);
	if (reason)
		return reason;
	io_message->address = VI_MESSAGE_FIRST | (to.destination & 0xff) << 12 | (to.logical ? 4 : 0) |
			      (uint64_t)(to.destination & ~UINT32_C(0xff)) << 32;
	io_message->data = to.vector | to.type << 8;
	return 0;
}

/* What word 2 of the entry says of messages that are neither fixed nor arbitrated: by delivery mode, the bit
 * that lets them pass. */
static const uint64_t passes[8] = {
	[4] = AMDVI_DTE_NMI_PASS, [5] = AMDVI_DTE_INIT_PASS, [7] = AMDVI_DTE_EINT_PASS};

static vi_reason judge(const struct vi_amdvi *m, uint64_t word, struct vi_message *io_message)
{
	unsigned mode = (unsigned)vi_field(io_message->data, AMDVI_MESSAGE_MODE);

	/* Bits 10..8 are part of the index where fixed and arbitrated messages are remapped. */
	if (vi_field(word, AMDVI_DTE_INT_CTL) == AMDVI_INT_CTL_REMAP)
		return remap(m, word, io_message);
	if (mode > AMDVI_INT_TYPE_LAST)
		return word & passes[mode] ? 0 : VI_AMDVI_INTERRUPT_ABORTED;
	return vi_field(word, AMDVI_DTE_INT_CTL) == AMDVI_INT_CTL_FORWARD ? 0 : VI_AMDVI_INTERRUPT_ABORTED;
}

vi_reason vi_amdvi_remap(void *state, uint16_t rid, struct vi_message *io_message)
{
	const struct vi_amdvi *m = state;
	uint64_t entry, words[2];
	vi_reason reason;

	if (!(atomic_load_explicit(&m->control, memory_order_acquire) & AMDVI_CONTROL_IOMMU_EN))
		return 0;
	if (!vi_amdvi_find_entry(m, rid, &entry))
		return VI_AMDVI_INTERRUPT_BEYOND_DEVICE_TABLE;
	if (!vi_guestmem_load128(&m->unit->mem, entry + 16, words))
		return VI_AMDVI_DTE_INTERRUPT_ACCESS;
	if (!(words[0] & AMDVI_DTE_IV))
		return 0;
	io_message->silent = words[0] & AMDVI_DTE_IG;
	reason = check_words(words);
	return reason ? reason : judge(m, words[0], io_message);
}

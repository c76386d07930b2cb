/* SPDX-License-Identifier: BSD-3-Clause */
/* Regions of the device: what there is, and access by message. */
#include <errno.h>
#include <string.h>

#include "vfio_user/server_state.h"

int vfu_handle_device_info(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_device_info info, *out;

	memcpy(&info, m->payload, sizeof(info));
	if (info.argsz < sizeof(info))
		return -EINVAL;
	out = vfu_reply_payload(reply, sizeof(*out));
	if (!out)
		return -ENOMEM;
	out->argsz = sizeof(*out);
	out->flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI;
	out->num_regions = VFU_NUM_REGIONS;
	out->num_irqs = VFU_NUM_IRQS;
	return 0;
}

static uint32_t region_flags(const struct vfu_region *r)
{
	if (!r->size)
		return 0;
	return (r->readable ? VFIO_REGION_INFO_FLAG_READ : 0) |
	       (r->writable ? VFIO_REGION_INFO_FLAG_WRITE : 0) |
	       (r->fd >= 0 ? VFIO_REGION_INFO_FLAG_MMAP : 0);
}

static void fill_sparse_areas(const struct vfu_region *r, void *to)
{
	struct vfio_region_info_cap_sparse_mmap *cap = to;
	size_t i;

	cap->header.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP;
	cap->header.version = 1;
	cap->nr_areas = (uint32_t)r->area_count;
	for (i = 0; i < r->area_count; i++) {
		cap->areas[i].offset = r->areas[i].offset;
		cap->areas[i].size = r->areas[i].size;
	}
}

static size_t capability_size(const struct vfu_region *r)
{
	if (!r->size || r->fd < 0 || !r->area_count)
		return 0;
	return sizeof(struct vfio_region_info_cap_sparse_mmap) +
	       r->area_count * sizeof(struct vfio_region_sparse_mmap_area);
}

/* When the capabilities do not fit, argsz says what would be needed, and no fd goes along. */
int vfu_handle_region_info(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_region_info info, *out;
	const struct vfu_region *r;
	size_t caps;
	bool fits;

	memcpy(&info, m->payload, sizeof(info));
	if (info.argsz < sizeof(info) || info.index >= VFU_NUM_REGIONS)
		return -EINVAL;
	r = &s->regions[info.index];
	caps = capability_size(r);
	fits = info.argsz >= sizeof(info) + caps;
	out = vfu_reply_payload(reply, sizeof(info) + (fits ? caps : 0));
	if (!out)
		return -ENOMEM;
	out->argsz = (uint32_t)(sizeof(info) + caps);
	out->flags = region_flags(r);
	out->index = info.index;
	out->size = r->size;
	if (out->flags & VFIO_REGION_INFO_FLAG_MMAP) {
		out->offset = r->fd_offset;
		reply->fd = fits ? r->fd : -1;
	}
	if (caps) {
		out->flags |= VFIO_REGION_INFO_FLAG_CAPS;
		/* Also when they do not fit: QEMU refuses the flag without an offset, before it asks again.
		 */
		out->cap_offset = sizeof(info);
		if (fits)
			fill_sparse_areas(r, out + 1);
	}
	return 0;
}

/* There are none: every access that is not mapped comes as a message. */
int vfu_handle_region_io_fds(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_region_io_fds info, *out;

	memcpy(&info, m->payload, sizeof(info));
	if (info.argsz < sizeof(info) || info.flags || info.index >= VFU_NUM_REGIONS)
		return -EINVAL;
	out = vfu_reply_payload(reply, sizeof(*out));
	if (!out)
		return -ENOMEM;
	out->argsz = sizeof(*out);
	out->index = info.index;
	return 0;
}

static int check_access(const struct vfu_server *s, uint32_t index, uint64_t offset, uint32_t count,
			bool write)
{
	const struct vfu_region *r;

	if (index >= VFU_NUM_REGIONS || !count || count > VFIO_USER_DEFAULT_MAX_DATA_XFER)
		return -EINVAL;
	r = &s->regions[index];
	if (offset >= r->size || count > r->size - offset)
		return -EINVAL;
	return (write ? r->writable : r->readable) ? 0 : -EPERM;
}

/* A callback that returns something positive must not look like success, nor like an errno of nobody. */
static int device_error(int err)
{
	return err > 0 ? -EIO : err;
}

int vfu_handle_region_read(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_region_access access, *out;
	int err;

	memcpy(&access, m->payload, sizeof(access));
	err = check_access(s, access.region, access.offset, access.count, false);
	if (err)
		return err;
	out = vfu_reply_payload(reply, sizeof(*out) + access.count);
	if (!out)
		return -ENOMEM;
	*out = access;
	return device_error(
		s->ops.region_read(s->device, access.region, access.offset, out + 1, access.count));
}

int vfu_handle_region_write(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_region_access access, *out;
	int err;

	memcpy(&access, m->payload, sizeof(access));
	if (m->payload_size - sizeof(access) != access.count)
		return -EINVAL;
	err = check_access(s, access.region, access.offset, access.count, true);
	if (err)
		return err;
	out = vfu_reply_payload(reply, sizeof(*out));
	if (!out)
		return -ENOMEM;
	*out = access;
	return device_error(s->ops.region_write(s->device, access.region, access.offset,
						m->payload + sizeof(access), access.count));
}

static int write_one(struct vfu_server *s, const uint8_t *at)
{
	struct vfio_user_write_one one;
	int err;

	memcpy(&one, at, sizeof(one));
	if (one.count > sizeof(one.data))
		return -EINVAL;
	err = check_access(s, one.region, one.offset, one.count, true);
	if (err)
		return err;
	return device_error(s->ops.region_write(s->device, one.region, one.offset, one.data, one.count));
}

/* In order, up to the first that fails. A message holds 43,690 of them at most, each of which traps. */
int vfu_handle_region_write_multi(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_write_multi multi, *out;
	size_t room = m->payload_size - sizeof(multi);
	const uint8_t *at = m->payload + sizeof(multi);

	memcpy(&multi, m->payload, sizeof(multi));
	if (multi.count > room / sizeof(struct vfio_user_write_one) ||
	    multi.count * sizeof(struct vfio_user_write_one) != room)
		return -EINVAL;
	for (; reply->done < multi.count; reply->done++) {
		int err;

		if (vfu_turn_is_over(s))
			return VFU_UNFINISHED;
		vfu_turn_spend(s, 1);
		err = write_one(s, at + reply->done * sizeof(struct vfio_user_write_one));
		if (err)
			return err;
	}
	out = vfu_reply_payload(reply, sizeof(*out));
	if (!out)
		return -ENOMEM;
	out->count = multi.count;
	return 0;
}

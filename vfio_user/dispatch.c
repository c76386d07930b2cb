/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of the client: which there are, and how each is answered. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfio_user/server_state.h"

void *vfu_reply_payload(struct vfu_reply *reply, size_t size)
{
	size += sizeof(struct vfio_user_header);
	if (size > sizeof(reply->small)) {
		reply->bytes = calloc(1, size);
		if (!reply->bytes) {
			reply->bytes = reply->small;
			return NULL;
		}
	} else {
		memset(reply->small, 0, size);
	}
	reply->size = size;
	return reply->bytes + sizeof(struct vfio_user_header);
}

/* After the reply to VERSION: nothing of ours may come before it. */
static void begin_session(struct vfu_server *s)
{
	pthread_mutex_lock(&s->lock);
	s->connected = !s->doomed;
	pthread_mutex_unlock(&s->lock);
	if (s->ops.connected)
		s->ops.connected(s->device);
}

static int format_version(struct vfu_server *s, const struct vfu_capabilities *peer, struct vfu_reply *reply)
{
	const struct vfu_capabilities own = {
		.max_msg_fds = VFU_MAX_MSG_FDS,
		.max_data_xfer_size = VFIO_USER_DEFAULT_MAX_DATA_XFER,
		.max_dma_maps = s->max_dma_maps,
		.pgsizes = VFIO_USER_PAGE_SIZE,
		/* Only what the client knows of: an answer is a subset of the proposal. */
		.write_multiple = peer->write_multiple,
	};
	char text[VFU_CAPABILITIES_MAX];
	size_t size = vfu_capabilities_format(&own, text);
	struct vfio_user_version *out = vfu_reply_payload(reply, sizeof(*out) + size);

	if (!out)
		return -ENOMEM;
	out->major = VFIO_USER_MAJOR;
	out->minor = VFIO_USER_MINOR;
	memcpy(out + 1, text, size);
	return 0;
}

static int handle_version(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	struct vfio_user_version version;
	struct vfu_capabilities peer;
	int err;

	memcpy(&version, m->payload, sizeof(version));
	if (version.major != VFIO_USER_MAJOR)
		return -EPROTONOSUPPORT;
	err = vfu_capabilities_parse((const char *)m->payload + sizeof(version),
				     m->payload_size - sizeof(version), &peer);
	if (!err)
		err = format_version(s, &peer, reply);
	if (err)
		return err;
	pthread_mutex_lock(&s->lock);
	s->peer = peer;
	pthread_mutex_unlock(&s->lock);
	s->negotiated = reply->begin_session = true;
	return 0;
}

static int handle_reset(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	if (s->ops.reset)
		s->ops.reset(s->device);
	return 0;
}

/* None is supported, and the answer is the one that VFIO gives for a feature it does not know. */
static int handle_device_feature(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	const uint32_t get_set = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
	const uint32_t known = VFIO_DEVICE_FEATURE_MASK | get_set | VFIO_DEVICE_FEATURE_PROBE;
	struct vfio_user_device_feature feature;

	memcpy(&feature, m->payload, sizeof(feature));
	if (feature.argsz < sizeof(feature) || (feature.flags & ~known) ||
	    !(feature.flags & (known & ~0xffffu)))
		return -EINVAL;
	if ((feature.flags & get_set) == get_set && !(feature.flags & VFIO_DEVICE_FEATURE_PROBE))
		return -EINVAL;
	return -ENOTTY;
}

/* Migration and dirty pages: their commands are known, and not supported. */
static int handle_unsupported(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply)
{
	return -ENOTSUP;
}

static const struct command {
	const char *name;
	size_t min_size; /* of the payload */
	unsigned max_fds;
	int (*handle)(struct vfu_server *s, struct vfu_message *m, struct vfu_reply *reply);
} commands[] = {
	[VFIO_USER_VERSION] = {"VERSION", sizeof(struct vfio_user_version), 0, handle_version},
	[VFIO_USER_DMA_MAP] = {"DMA_MAP", sizeof(struct vfio_user_dma_map), 1, vfu_handle_dma_map},
	[VFIO_USER_DMA_UNMAP] = {"DMA_UNMAP", sizeof(struct vfio_user_dma_unmap), 0, vfu_handle_dma_unmap},
	[VFIO_USER_DEVICE_GET_INFO] = {"DEVICE_GET_INFO", sizeof(struct vfio_user_device_info), 0,
				       vfu_handle_device_info},
	[VFIO_USER_DEVICE_GET_REGION_INFO] = {"DEVICE_GET_REGION_INFO", sizeof(struct vfio_user_region_info),
					      0, vfu_handle_region_info},
	[VFIO_USER_DEVICE_GET_REGION_IO_FDS] = {"DEVICE_GET_REGION_IO_FDS",
						sizeof(struct vfio_user_region_io_fds), 0,
						vfu_handle_region_io_fds},
	[VFIO_USER_DEVICE_GET_IRQ_INFO] = {"DEVICE_GET_IRQ_INFO", sizeof(struct vfio_user_irq_info), 0,
					   vfu_handle_irq_info},
	[VFIO_USER_DEVICE_SET_IRQS] = {"DEVICE_SET_IRQS", sizeof(struct vfio_user_irq_set), VFU_MAX_MSG_FDS,
				       vfu_handle_set_irqs},
	[VFIO_USER_REGION_READ] = {"REGION_READ", sizeof(struct vfio_user_region_access), 0,
				   vfu_handle_region_read},
	[VFIO_USER_REGION_WRITE] = {"REGION_WRITE", sizeof(struct vfio_user_region_access), 0,
				    vfu_handle_region_write},
	[VFIO_USER_DEVICE_RESET] = {"DEVICE_RESET", 0, 0, handle_reset},
	[VFIO_USER_DIRTY_PAGES] = {"DIRTY_PAGES", 0, 0, handle_unsupported},
	[VFIO_USER_REGION_WRITE_MULTI] = {"REGION_WRITE_MULTI", sizeof(struct vfio_user_write_multi), 0,
					  vfu_handle_region_write_multi},
	[VFIO_USER_DEVICE_FEATURE] = {"DEVICE_FEATURE", sizeof(struct vfio_user_device_feature), 0,
				      handle_device_feature},
	[VFIO_USER_MIG_DATA_READ] = {"MIG_DATA_READ", 0, 0, handle_unsupported},
	[VFIO_USER_MIG_DATA_WRITE] = {"MIG_DATA_WRITE", 0, 0, handle_unsupported},
};

static const struct command *find_command(uint16_t opcode)
{
	if (opcode >= sizeof(commands) / sizeof(commands[0]) || !commands[opcode].handle)
		return NULL;
	return &commands[opcode];
}

static int run(struct vfu_server *s, const struct command *c, struct vfu_message *m, struct vfu_reply *reply)
{
	if (m->error)
		return m->error;
	if ((m->header.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_COMMAND)
		return -EINVAL;
	if (!c)
		return -ENOTSUP;
	/* VERSION comes first, and once. */
	if ((m->header.command == VFIO_USER_VERSION) == s->negotiated)
		return -EINVAL;
	if (m->fds_lost)
		return -EMFILE;
	if (m->fd_excess || m->fd_count > c->max_fds || m->payload_size < c->min_size)
		return -EINVAL;
	return c->handle(s, m, reply);
}

static void send_reply(struct vfu_server *s, const struct vfu_message *m, struct vfu_reply *reply, int error)
{
	struct vfio_user_header header = {
		.id = m->header.id,
		.command = m->header.command,
		.size = (uint32_t)(error ? sizeof(header) : reply->size),
		.flags = VFIO_USER_TYPE_REPLY | (error ? VFIO_USER_ERROR : 0),
		.error = (uint32_t)-error,
	};
	int err;

	memcpy(reply->bytes, &header, sizeof(header));
	pthread_mutex_lock(&s->lock);
	err = vfu_connection_send(&s->connection, reply->bytes, header.size, error ? -1 : reply->fd,
				  VFU_MAX_QUEUED_BYTES);
	if (err)
		vfu_server_doom(s, err == -ENOBUFS ? "the client does not read its answers" : strerror(-err));
	pthread_mutex_unlock(&s->lock);
}

static void log_refusal(struct vfu_server *s, const struct command *c, const struct vfu_message *m, int error)
{
	const char *why =
		m->fds_lost ? "file descriptors that came with it were lost: this process has as many as "
			      "it may have (RLIMIT_NOFILE), or a security module kept them back"
			    : strerror(-error);

	vfu_server_log(s, "%s (command %u, %u bytes, %u fds) refused: %s", c ? c->name : "unknown",
		       m->header.command, m->header.size, m->fd_count, why);
}

static void begin_reply(struct vfu_reply *reply)
{
	*reply = (struct vfu_reply){.size = sizeof(struct vfio_user_header), .fd = -1};
	reply->bytes = reply->small;
}

static void free_reply(struct vfu_reply *reply)
{
	if (reply->bytes != reply->small)
		free(reply->bytes);
}

static void finish_request(struct vfu_server *s, const struct command *c, struct vfu_message *m, int err)
{
	struct vfu_reply *reply = &s->reply;

	if (err && err != -ENOTTY)
		log_refusal(s, c, m, err);
	/* Before the reply: once the client has that, nothing of its message is left with us. */
	vfu_message_close_fds(m);
	if (!(m->header.flags & VFIO_USER_NO_REPLY) || m->fatal)
		send_reply(s, m, reply, err);
	free_reply(reply);
	if (reply->begin_session)
		begin_session(s);
	if (!m->fatal && !reply->end_session)
		return;
	pthread_mutex_lock(&s->lock);
	vfu_server_doom(s, m->fatal ? "the client sent what is no message"
				    : "an unmap could not be carried out");
	pthread_mutex_unlock(&s->lock);
}

static bool dispatch_request(struct vfu_server *s, struct vfu_message *m)
{
	const struct command *c = find_command(m->header.command);
	int err;

	if (!s->unfinished)
		begin_reply(&s->reply);
	err = run(s, c, m, &s->reply);
	s->unfinished = err == VFU_UNFINISHED;
	s->reply.resumed = true;
	if (!s->unfinished)
		finish_request(s, c, m, err);
	return !s->unfinished;
}

bool vfu_dispatch(struct vfu_server *s, struct vfu_message *m)
{
	/* Once: of the turns that follow the handler has all, with the first unit, which is always granted.
	 */
	if (!s->unfinished)
		vfu_turn_spend(s, 1);
	if ((m->header.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_REPLY || !s->negotiated || m->fatal)
		return dispatch_request(s, m);
	vfu_dma_message_reply(s, m);
	return true;
}

void vfu_dispatch_forget(struct vfu_server *s)
{
	if (s->unfinished)
		free_reply(&s->reply);
	s->unfinished = false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/replay/machine.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RID	     0x0008
#define TABLE_GPA    (UINT64_C(1) << 41)
#define TABLES_LEAST (UINT64_C(64) << 20)
#define IOTLB_USUAL  0	/* the library's default */
#define IOTLB_MANY   12 /* entries, as a power of two, when there are many units */
#define MANY_UNITS   8
/*
 * Turns without work after which the sidecore lets others have its core, and turns of the driver that waits
 * for it, likewise. With a core for each, on which others run too, they only meet while both have a time
 * slice, so none gives away the rest of one.
 */
#define IDLE_TURNS	   1024
#define PATIENCE	   256
#define IDLE_TURNS_DIVIDED (1u << 16)
#define PATIENCE_DIVIDED   (1u << 16)
#define STEPS_AT_ONCE	   64

/* --------------------------------------------------------------- polled registers */

static void *register_at(const struct replay_unit *u, uint64_t offset)
{
	return (uint8_t *)u->page + offset;
}

static uint64_t read_page(const struct replay_unit *u, uint64_t offset, unsigned size)
{
	return size == 8 ? __atomic_load_n((uint64_t *)register_at(u, offset), __ATOMIC_ACQUIRE)
			 : __atomic_load_n((uint32_t *)register_at(u, offset), __ATOMIC_ACQUIRE);
}

static void write_page(const struct replay_unit *u, uint64_t offset, unsigned size, uint64_t value)
{
	if (size == 8)
		__atomic_store_n((uint64_t *)register_at(u, offset), value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint32_t *)register_at(u, offset), (uint32_t)value, __ATOMIC_RELEASE);
}

static void rest(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static void *poll_units(void *arg)
{
	struct replay_machine *m = arg;
	unsigned idle = 0, most = m->cores.is_divided ? IDLE_TURNS_DIVIDED : IDLE_TURNS;

	while (!atomic_load_explicit(&m->stop, memory_order_relaxed)) {
		unsigned count = atomic_load_explicit(&m->polled, memory_order_acquire);
		int done = 0;

		for (unsigned i = 0; i < count; i++)
			done |= viommu_process(m->units[i].viommu, STEPS_AT_ONCE);
		idle = done ? 0 : idle + 1;
		if (idle == most) {
			sched_yield();
			idle = 0;
		}
	}
	return NULL;
}

/* -------------------------------------------------------------- trapped registers */

struct access {
	uint64_t offset, value;
	uint32_t size;
	bool write;
};

static void *serve_registers(void *arg)
{
	struct replay_unit *u = arg;
	struct access a;

	while (recv(u->server_end, &a, sizeof(a), 0) == (ssize_t)sizeof(a)) {
		if (a.write)
			viommu_regs_write(u->viommu, a.offset, a.size, a.value);
		else
			viommu_regs_read(u->viommu, a.offset, a.size, &a.value);
		if (send(u->server_end, &a, sizeof(a), MSG_NOSIGNAL) != (ssize_t)sizeof(a))
			break;
	}
	return NULL;
}

/* Without an answer there is no unit: reads are all ones, as on a bus where nobody is. */
static uint64_t trap(const struct replay_unit *u, struct access a)
{
	if (send(u->socket, &a, sizeof(a), MSG_NOSIGNAL) != (ssize_t)sizeof(a) ||
	    recv(u->socket, &a, sizeof(a), 0) != (ssize_t)sizeof(a))
		return UINT64_MAX;
	return a.value;
}

/* ---------------------------------------------------------- what the driver calls */

static uint64_t read_register(void *arg, uint64_t offset, unsigned size)
{
	const struct replay_unit *u = arg;
	uint64_t value = 0;

	if (u->socket >= 0)
		return trap(u, (struct access){.offset = offset, .size = size});
	if (offset < REPLAY_PAGE)
		return read_page(u, offset, size);
	viommu_regs_read(u->viommu, offset, size, &value);
	return value;
}

static void write_register(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	const struct replay_unit *u = arg;

	if (u->socket >= 0)
		trap(u, (struct access){.offset = offset, .size = size, .value = value, .write = true});
	else if (offset < REPLAY_PAGE)
		write_page(u, offset, size, value);
	else
		viommu_regs_write(u->viommu, offset, size, value);
}

/* On a machine whose cores are all busy the sidecore needs this one. */
static bool relax_polled(void *arg)
{
	struct replay_unit *u = arg;

	rest();
	if (++u->turns % u->patience == 0)
		sched_yield();
	return true;
}

/* What a trapped write left to be done. */
static bool relax_trapped(void *arg)
{
	struct replay_unit *u = arg;

	viommu_process(u->viommu, STEPS_AT_ONCE);
	return true;
}

/* -------------------------------------------------------------------------- a unit */

static int add_memory(struct replay_unit *u, const struct replay_memory *memory)
{
	unsigned rights = VIOMMU_MEM_READ | VIOMMU_MEM_WRITE;
	int err = 0;

	if (memory->low_size)
		err = viommu_mem_add(u->viommu, 0, memory->low_size, memory->host, rights);
	if (!err && memory->low_size < memory->size)
		err = viommu_mem_add(u->viommu, REPLAY_HIGH + memory->low_size,
				     memory->size - memory->low_size, memory->host + memory->low_size,
				     rights);
	if (!err && u->shadow)
		err = viommu_mem_add(u->viommu, REPLAY_SHADOW, u->shadow_size, u->shadow, rights);
	return err ? err : viommu_mem_add(u->viommu, TABLE_GPA, u->table_size, u->tables, rights);
}

static int create_unit(struct replay_unit *u, const struct replay_memory *memory, bool is_one_of_many)
{
	struct viommu_host_ops ops = {.sz = sizeof(ops)};
	struct viommu_options options = {.sz = sizeof(options),
					 .model = VIOMMU_MODEL_VTD,
					 .iotlb_lg2 = is_one_of_many ? IOTLB_MANY : IOTLB_USUAL};
	int err;

	u->table_size = TABLES_LEAST + memory->size / 128;
	u->tables = replay_reserve(u->table_size);
	u->shadow = u->shadow_size ? replay_reserve(u->shadow_size) : NULL;
	if (!u->tables || (u->shadow_size && !u->shadow))
		return -ENOMEM;
	err = viommu_create(&ops, NULL, &options, &u->viommu);
	if (!err)
		err = add_memory(u, memory);
	if (!err)
		err = viommu_requester_add(u->viommu, RID, &u->device);
	return err ? err : viommu_thread_create(u->viommu, &u->thread);
}

static int share_page(struct replay_unit *u)
{
	u->page = mmap(NULL, REPLAY_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (u->page == MAP_FAILED)
		u->page = NULL;
	return u->page ? viommu_regs_share(u->viommu, 0, u->page) : -ENOMEM;
}

static int begin_server(struct replay_unit *u, struct replay_cores *cores)
{
	int ends[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	u->socket = ends[0];
	u->server_end = ends[1];
	err = replay_cores_start(cores, &u->server, serve_registers, u);
	u->serves = !err;
	return err;
}

static int create_driver(struct replay_unit *u, enum replay_registers registers)
{
	struct viommu_backing_vtd_options o = {
		.sz = sizeof(o),
		.read = read_register,
		.write = write_register,
		.relax = registers == REPLAY_SIDECORE ? relax_polled : relax_trapped,
		.arg = u,
		.table_memory = u->tables,
		.table_gpa = TABLE_GPA,
		.table_size = u->table_size,
		.rid = RID,
	};

	return viommu_backing_vtd_create(&o, &u->backing);
}

static void finish_unit(struct replay_unit *u)
{
	if (u->serves) {
		shutdown(u->socket, SHUT_RDWR);
		pthread_join(u->server, NULL);
	}
	if (u->socket >= 0) {
		close(u->socket);
		close(u->server_end);
	}
	viommu_thread_destroy(u->thread);
	viommu_destroy(u->viommu);
	if (u->page)
		munmap(u->page, REPLAY_PAGE);
	if (u->tables)
		munmap(u->tables, u->table_size);
	if (u->shadow)
		munmap(u->shadow, u->shadow_size);
}

/* ------------------------------------------------------------------- all of them */

static int begin_unit(struct replay_machine *m, unsigned i, const struct replay_memory *memory)
{
	struct replay_unit *u = &m->units[i];
	int err = create_unit(u, memory, m->count > MANY_UNITS);

	if (err)
		return err;
	u->patience = m->cores.is_divided ? PATIENCE_DIVIDED : PATIENCE;
	err = m->registers == REPLAY_SIDECORE ? share_page(u) : begin_server(u, &m->cores);
	if (err)
		return err;
	atomic_store_explicit(&m->polled, m->registers == REPLAY_SIDECORE ? i + 1 : 0, memory_order_release);
	return create_driver(u, m->registers);
}

static int begin_sidecore(struct replay_machine *m)
{
	int err = replay_cores_start(&m->cores, &m->sidecore, poll_units, m);

	m->polls = !err;
	return err;
}

int replay_machine_init(struct replay_machine *m, unsigned devices, enum replay_registers registers,
			const struct replay_memory *memory, uint64_t shadow_size)
{
	int err = 0;

	*m = (struct replay_machine){.registers = registers, .count = devices};
	if (registers == REPLAY_SIDECORE)
		replay_cores_divide(&m->cores);
	m->units = calloc(devices, sizeof(*m->units));
	if (!m->units)
		return -ENOMEM;
	for (unsigned i = 0; i < devices; i++)
		m->units[i] =
			(struct replay_unit){.socket = -1, .server_end = -1, .shadow_size = shadow_size};
	if (registers == REPLAY_SIDECORE)
		err = begin_sidecore(m);
	for (unsigned i = 0; !err && i < devices; i++)
		err = begin_unit(m, i, memory);
	return err;
}

void replay_machine_finish(struct replay_machine *m)
{
	for (unsigned i = 0; m->units && i < m->count; i++)
		viommu_backing_vtd_destroy(&m->units[i].backing);
	atomic_store(&m->stop, true);
	if (m->polls)
		pthread_join(m->sidecore, NULL);
	for (unsigned i = 0; m->units && i < m->count; i++)
		finish_unit(&m->units[i]);
	free(m->units);
	replay_cores_restore(&m->cores);
	*m = (struct replay_machine){0};
}

bool replay_device_uses(struct replay_unit *u, uint64_t iova, bool reads, bool writes)
{
	uint8_t byte = 0;

	return (!reads || !viommu_read(u->thread, u->device, iova, &byte, 1)) &&
	       (!writes || !viommu_write(u->thread, u->device, iova, &byte, 1));
}

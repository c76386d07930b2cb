/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two VMs on one sidecore: test_fairness VIOMMUD [SHAPE]
 *
 * One maps, reads from its disk, unmaps and invalidates, as fast as it gets
 * answers. The other means harm, in each shape in turn, and the first keeps
 * 90 % of its throughput, its data stays right, and the second works again
 * when it comes to its senses.
 *
 * The hostile one needs no time of a CPU but the sidecore's: what never ends
 * does so by itself. Its wait descriptors write the tail of their own queue,
 * whose register page it has lent as memory, and its controller reads from the
 * disk what its shadow doorbells are to say next. So two CPUs are enough, one
 * for the sidecore and one for the first VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "control/client.h"
#include "control/message.h"
#include "guest.h"
#include "spec/vtd_queue.h"
#include "spec/vtd_registers.h"
#include "spec/vtd_tables.h"

#define ROUNDS	    11 /* alone and beside the other, in turn */
#define ROUND_TURNS 4000
#define ROUND_NS    300000000 /* it lasts at most so long */
#define LEAST_TURNS 200	      /* but on a busy machine, until there is something to judge */
#define LEAST_NS    UINT64_C(3000000000)
#define STOPPED_NS  1000000
#define NUDGE_NS    1000000 /* the hostile one looks whether its work still goes on */
#define ATTEMPTS    6	    /* on a machine that does something else, too */
#define WORK	    4	    /* of the hostile one, to be seen before and after each round */
#define PATIENCE_NS UINT64_C(20000000000)
#define KEPT	    0.90
#define DISK_BLOCKS 8192

#define REGISTERS_GPA UINT64_C(0x40000000) /* where the hostile one lends its register page */
#define HOLE	      UINT64_C(0x80000000)
#define RW	      (VI_PGTABLE_READ | VI_PGTABLE_WRITE)

/* Not mapped by the hostile one's tables, and mapped by a table where no memory is. */
#define UNMAPPED  (UINT64_C(256) << 39)
#define ELSEWHERE (UINT64_C(257) << 39)

/* -------------------------------------------------------------- the two of them */

struct pair {
	char dir[128], disks[2][160], vm_dirs[2][160];
	pid_t pid;
	struct guest a, b;
	uint64_t served, turn;
};

/* What a block of B's disk says. */
static uint64_t pattern(uint64_t block)
{
	return (block + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

/*
 * Blocks of A's disk: block k has the shadow doorbells that go with the command
 * at index k of the queue: the tail is right behind it once around, and of the
 * completions those well before it have been seen.
 */
static void fill_block(unsigned vm, uint64_t block, uint8_t data[GUEST_BLOCK])
{
	uint32_t *shadow = (uint32_t *)(void *)data;

	memset(data, 0, GUEST_BLOCK);
	if (vm == 1) {
		for (unsigned i = 0; i < GUEST_BLOCK; i += 8)
			memcpy(data + i, &(uint64_t){pattern(block)}, 8);
		return;
	}
	shadow[GUEST_SHADOW_TAIL] = (uint32_t)block % GUEST_ENTRIES;
	shadow[GUEST_SHADOW_HEAD] = (uint32_t)(block + GUEST_ENTRIES - 8) % GUEST_ENTRIES;
}

static void make_disk(unsigned vm, const char *path)
{
	uint8_t data[GUEST_BLOCK];
	FILE *f = fopen(path, "w");

	if (!f)
		guest_fail(path, errno);
	for (uint64_t block = 0; block < DISK_BLOCKS; block++) {
		fill_block(vm, block, data);
		if (fwrite(data, sizeof(data), 1, f) != 1)
			guest_fail(path, errno);
	}
	fclose(f);
}

/* Each of the two threads that are measured has a CPU of its own. */
static void choose_cpus(char ret_sidecore[16], cpu_set_t *ret_own)
{
	cpu_set_t allowed;
	int cpus[2] = {0}, count = 0;

	sched_getaffinity(0, sizeof(allowed), &allowed);
	for (int i = 0; i < CPU_SETSIZE && count < 2; i++) {
		if (CPU_ISSET(i, &allowed))
			cpus[count++] = i;
	}
	if (count < 2) {
		printf("skipped: it takes two CPUs\n");
		exit(77);
	}
	snprintf(ret_sidecore, 16, "%d", cpus[0]);
	CPU_ZERO(ret_own);
	CPU_SET(cpus[1], ret_own);
}

static void start_viommud(struct pair *p, const char *viommud)
{
	char sidecore_cpu[16];
	cpu_set_t own;
	char line[256] = "";
	int out[2];
	ssize_t got;

	if (pipe2(out, O_CLOEXEC))
		guest_fail("pipe", errno);
	choose_cpus(sidecore_cpu, &own);
	p->pid = fork();
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that fails leaves nobody behind */
		dup2(out[1], STDOUT_FILENO);
		/* What a guest does wrong is no news here. */
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		execl(viommud, viommud, "--dir", p->dir, "--cpu", sidecore_cpu, "--vm", "a", "--nvme",
		      p->disks[0], "--vm", "b", "--nvme", p->disks[1], NULL);
		_exit(1);
	}
	sched_setaffinity(0, sizeof(own), &own);
	close(out[1]);
	got = read(out[0], line, sizeof(line) - 1);
	if (got <= 0 || strncmp(line, "viommud: ready", 14) != 0)
		guest_fail("viommud does not start", ECHILD);
	close(out[0]);
}

static void begin(struct pair *p, const char *viommud)
{
	snprintf(p->dir, sizeof(p->dir), "/tmp/viommu-test-XXXXXX");
	if (!mkdtemp(p->dir))
		guest_fail("no folder", errno);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(p->disks[i], sizeof(p->disks[i]), "%s/disk%u", p->dir, i);
		snprintf(p->vm_dirs[i], sizeof(p->vm_dirs[i]), "%s/%c", p->dir, "ab"[i]);
		make_disk(i, p->disks[i]);
	}
	start_viommud(p, viommud);
	guest_start(&p->a, p->vm_dirs[0]);
	guest_start(&p->b, p->vm_dirs[1]);
}

static void end(struct pair *p)
{
	int status;

	guest_stop(&p->a);
	guest_stop(&p->b);
	kill(p->pid, SIGTERM);
	if (waitpid(p->pid, &status, 0) != p->pid || !WIFEXITED(status) || WEXITSTATUS(status))
		guest_fail("viommud does not end well", ECHILD);
	for (unsigned i = 0; i < 2; i++) {
		unlink(p->disks[i]);
		rmdir(p->vm_dirs[i]);
	}
	rmdir(p->dir);
}

/* ------------------------------------------------------------------- B's load */

static void check(int err, const char *what)
{
	if (err)
		guest_fail(what, err);
}

/* As a driver in strict mode reads a page. */
static void read_a_page(struct guest *g, uint64_t turn)
{
	uint64_t page = turn % 64, block = turn * 8 % DISK_BLOCKS, iova = GUEST_TABLES + page * 4096,
		 gpa = GUEST_DATA + page * 4096, got;
	struct nvme_sqe sqe = {.opcode = 2, .nsid = 1, .prp1 = iova, .cdw10 = (uint32_t)block, .cdw12 = 7};

	check(vi_driver_map(&g->table, iova, gpa, 4096, RW), "mapping");
	if (guest_io(g, &sqe))
		guest_fail("a read fails", EIO);
	if (vi_driver_unmap(&g->table, iova, 4096) != 4096)
		guest_fail("unmapping", EIO);
	check(vi_driver_vtd_flush_iotlb(&g->driver, VTD_GRANULARITY_SELECTIVE, GUEST_DOMAIN, iova, 0),
	      "invalidating");
	for (uint64_t i = 0; i < 8; i += 7) {
		memcpy(&got, g->ram + gpa + i * GUEST_BLOCK + 8 * i, 8);
		if (got != pattern(block + i))
			guest_fail("a read finds something else than is on the disk", EILSEQ);
	}
}

/* ------------------------------------------------------------- what A does: queues */

/* A ring full of `lo`, `hi`, in which every `step`th descriptor says that the ring is full. */
static void fill_ring(struct guest *g, uint64_t lo, uint64_t hi, unsigned step)
{
	for (uint32_t at = 0; at < g->driver.queue_size; at += VTD_QI_SIZE) {
		bool moves = at / VTD_QI_SIZE % step == 0;

		vi_driver_store64(&g->memory, g->driver.queue + at,
				  moves ? VTD_QI_WAIT | VTD_QI_WAIT_SW | vi_to_field(VTD_QI_WAIT_DATA, at)
					: lo);
		vi_driver_store64(&g->memory, g->driver.queue + at + 8, moves ? REGISTERS_GPA + VTD_IQT : hi);
	}
}

static void run_ring(struct guest *g, uint64_t lo, uint64_t hi, unsigned step)
{
	uint64_t head = vi_driver_vtd_read64(&g->driver, VTD_IQH);

	fill_ring(g, lo, hi, step);
	vi_driver_vtd_write64(&g->driver, VTD_IQT,
			      (head + g->driver.queue_size - VTD_QI_SIZE) % g->driver.queue_size);
}

static void queue_of_global(struct guest *g)
{
	run_ring(g, VTD_QI_IOTLB | vi_to_field(VTD_QI_GRANULARITY, VTD_GRANULARITY_GLOBAL), 0, 16);
}

static void queue_of_contexts(struct guest *g)
{
	run_ring(g, VTD_QI_CONTEXT_CACHE | vi_to_field(VTD_QI_GRANULARITY, VTD_GRANULARITY_GLOBAL), 0, 16);
}

static void queue_of_pages(struct guest *g)
{
	run_ring(g,
		 VTD_QI_IOTLB | vi_to_field(VTD_QI_GRANULARITY, VTD_GRANULARITY_SELECTIVE) |
			 vi_to_field(VTD_QI_IOTLB_DID, GUEST_DOMAIN),
		 GUEST_DATA | 5, 16);
}

static void queue_of_waits(struct guest *g)
{
	run_ring(g, 0, 0, 1);
}

/* --------------------------------------------------------- what A does: its controller */

static struct nvme_sqe pump(unsigned index)
{
	return (struct nvme_sqe){.opcode = 2, .nsid = 1, .prp1 = GUEST_SHADOW, .cdw10 = index};
}

/* Each 8th command makes the queue full again, the others are made by `make`. */
static void run_controller(struct guest *g, struct nvme_sqe (*make)(unsigned index))
{
	for (unsigned i = 0; i < GUEST_ENTRIES; i++) {
		struct nvme_sqe sqe = i % 8 ? make(i) : pump(i);

		sqe.cid = (uint16_t)i;
		guest_put(g, i, &sqe);
	}
	guest_show_tail(g, g->tail += GUEST_ENTRIES - 1);
}

/* In case that completions came in another order than the pump counts on: all are taken, and the queue is
 * full. */
static void nudge_controller(struct guest *g)
{
	const struct nvme_cqe *entries = (const struct nvme_cqe *)(const void *)(g->ram + GUEST_CQ);
	unsigned tail = 0;
	uint32_t *shadow = (uint32_t *)(void *)(g->ram + GUEST_SHADOW);

	while (tail < GUEST_ENTRIES - 1 && (entries[tail].status & 1) == (entries[tail + 1].status & 1))
		tail++;
	tail = (tail + 1) % GUEST_ENTRIES;
	__atomic_store_n(&shadow[GUEST_SHADOW_HEAD], tail, __ATOMIC_SEQ_CST);
	guest_show_tail(g, entries[(tail + GUEST_ENTRIES - 1) % GUEST_ENTRIES].sq_head + GUEST_ENTRIES - 1);
}

static struct nvme_sqe write_from(uint64_t iova)
{
	return (struct nvme_sqe){.opcode = 1, .nsid = 1, .prp1 = iova, .cdw10 = 4096, .cdw12 = 0};
}

/* Entries 1 to 255 of the topmost table lead to that table itself, which is each level then, and the data. */
static struct nvme_sqe from_circles(unsigned i)
{
	uint64_t indexes[4] = {1 + i % 61, 1 + i * 7 % 61, 1 + i * 5 % 61, 1 + i * 3 % 61};

	return write_from(indexes[0] << 39 | indexes[1] << 30 | indexes[2] << 21 | indexes[3] << 12);
}

static struct nvme_sqe from_nowhere(unsigned i)
{
	return write_from((i & 1 ? UNMAPPED : ELSEWHERE) + i * UINT64_C(4096));
}

static struct nvme_sqe of_pages(unsigned i)
{
	return (struct nvme_sqe){
		.opcode = 2, .nsid = 1, .prp1 = GUEST_DATA + i * UINT64_C(4096), .cdw10 = 1024, .cdw12 = 7};
}

/* Half a MiB each, into a list of pages. */
static struct nvme_sqe of_megabytes(unsigned i)
{
	return (struct nvme_sqe){.opcode = 2,
				 .nsid = 1,
				 .prp1 = GUEST_DATA,
				 .prp2 = GUEST_DATA - 4096,
				 .cdw10 = 1024 + (i & 1),
				 .cdw12 = 1023};
}

static void spoil_tables(struct guest *g)
{
	uint64_t root = g->table.table.root;

	for (unsigned i = 1; i < 256; i++)
		vi_driver_store64(&g->memory, root + i * 8, root | VTD_SS_R | VTD_SS_W);
	vi_driver_store64(&g->memory, root + 257 * 8, HOLE | VTD_SS_R | VTD_SS_W);
	for (unsigned i = 0; i < 128; i++)
		memcpy(g->ram + GUEST_DATA - 4096 + i * 8, &(uint64_t){GUEST_DATA + (i + 1) * UINT64_C(4096)},
		       8);
}

static void circles(struct guest *g)
{
	run_controller(g, from_circles);
}

static void faults(struct guest *g)
{
	run_controller(g, from_nowhere);
}

static void pages(struct guest *g)
{
	run_controller(g, of_pages);
}

static void megabytes(struct guest *g)
{
	run_controller(g, of_megabytes);
}

/* Tables walked anew for each access, as all that is cached is dropped all the time. */
static void walks_without_end(struct guest *g)
{
	queue_of_global(g);
	run_controller(g, from_circles);
}

/* The controller writes the ring that the unit reads. */
static struct nvme_sqe into_the_ring(unsigned i)
{
	return (struct nvme_sqe){.opcode = 2,
				 .nsid = 1,
				 .prp1 = GUEST_DATA + (uint64_t)(i % 2) * 2048,
				 .cdw10 = 4096 + i % 2 * 4,
				 .cdw12 = 3};
}

static void run_changing_ring(struct guest *g)
{
	struct nvme_sqe sqe = {.opcode = 1, .nsid = 1, .prp1 = GUEST_DATA, .cdw10 = 4096, .cdw12 = 7};

	/* The ring is moved to where the device can write, and is on the disk, a part of it changed. */
	queue_of_pages(g);
	memcpy(g->ram + GUEST_DATA, g->ram + g->driver.queue, 4096);
	for (unsigned i = 0; i < 4096; i += 32) /* pages become the domain; not in those that move the tail */
		g->ram[GUEST_DATA + i] ^=
			i % 256 ? (VTD_GRANULARITY_SELECTIVE ^ VTD_GRANULARITY_DOMAIN) << 4 : 0;
	if (guest_io(g, &sqe))
		guest_fail("a write fails", EIO);
	check(vi_driver_vtd_disable_queue(&g->driver), "the queue does not stop");
	vi_driver_vtd_write64(&g->driver, VTD_IQA, GUEST_DATA);
	vi_driver_vtd_write64(&g->driver, VTD_IQT, 0);
	check(vi_driver_vtd_command(&g->driver, VTD_GCMD_QIE, true), "the queue does not start");
	vi_driver_vtd_write64(&g->driver, VTD_IQT, g->driver.queue_size - VTD_QI_SIZE);
	run_controller(g, into_the_ring);
}

/* ----------------------------------------------------------------------- shapes */

static const struct shape {
	const char *name;
	void (*start)(struct guest *g);
	bool controller;     /* it runs in circles, too */
	const char *counter; /* shows that something happened */
} shapes[] = {
	{"queue without end: all pages", queue_of_global, false, "queue_descriptors"},
	{"queue without end: contexts", queue_of_contexts, false, "queue_descriptors"},
	{"queue without end: page ranges", queue_of_pages, false, "queue_descriptors"},
	{"queue without end: waits", queue_of_waits, false, "queue_waits"},
	{"tables in circles", circles, true, "bytes_read"},
	{"tables in circles, walked each time", walks_without_end, true, "walks"},
	{"faults without end, tables elsewhere", faults, true, "blocked"},
	{"descriptors that change", run_changing_ring, true, "queue_descriptors"},
	{"DMA without end: pages", pages, true, "bytes_written"},
	{"DMA without end: half MiBs", megabytes, true, "bytes_written"},
};

static uint64_t counter(const struct guest *g, const char *name)
{
	struct json_object *reply, *counters, *one;
	uint64_t value = 0;

	check(control_ask(g->dir, "counters", 20000, &reply), "asking for counters");
	if (!json_object_object_get_ex(reply, "counters", &counters) ||
	    !json_object_object_get_ex(counters, name, &one))
		guest_fail(name, ENOENT);
	value = control_get_u64(one, "value", 0);
	json_object_put(reply);
	return value;
}

/* A comes to its senses: it is reset, and reads what is on its disk. */
static void recover(struct pair *p)
{
	uint8_t want[GUEST_BLOCK];
	struct nvme_sqe sqe = {.opcode = 2, .nsid = 1, .prp1 = GUEST_DATA, .cdw10 = 7};

	guest_restart(&p->a);
	fill_block(0, 7, want);
	if (guest_io(&p->a, &sqe) || memcmp(p->a.ram + GUEST_DATA, want, sizeof(want)) != 0)
		guest_fail("the hostile VM does not work any more", EIO);
	check(vi_driver_vtd_flush_iotlb(&p->a.driver, VTD_GRANULARITY_GLOBAL, 0, 0, 0), "invalidating");
}

/*
 * Reads of B in a second: by the clock, and as if the turns in which one of the
 * two threads had no CPU had not been. What A does in one step takes less.
 */
struct speed {
	double clock, running;
};

static struct speed run_b(struct pair *p, const struct shape *s)
{
	uint64_t began = guest_now_ns(), now = began, before, nudged = began, running = 0, count = 0, all = 0;

	while (count < ROUND_TURNS && now - began < (count < LEAST_TURNS ? LEAST_NS : ROUND_NS)) {
		before = now;
		read_a_page(&p->b, p->turn++);
		now = guest_now_ns();
		all++;
		if (now - before < STOPPED_NS) {
			count++;
			running += now - before;
		}
		if (s && s->controller && now - nudged > NUDGE_NS) {
			nudge_controller(&p->a);
			now = nudged = guest_now_ns();
		}
	}
	return (struct speed){.clock = (double)all * 1e9 / (double)(now - began),
			      .running = running ? (double)count * 1e9 / (double)running : 0};
}

static int compare(const void *x, const void *y)
{
	double a = *(const double *)x, b = *(const double *)y;

	return (a > b) - (a < b);
}

static double median(const struct speed *speeds, size_t field)
{
	double values[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++)
		memcpy(&values[i], (const char *)&speeds[i] + field, sizeof(values[i]));
	qsort(values, ROUNDS, sizeof(*values), compare);
	return values[ROUNDS / 2];
}

#define MEDIAN(speeds, field) median(speeds, offsetof(struct speed, field))

/*
 * Work of A goes on while B rests. Beside B it may do none for a whole round:
 * its debt can be longer, and on a busy machine it has no CPU. What is seen to
 * go on before the round and after it was there in between.
 */
static void await_work(struct pair *p, const struct shape *s)
{
	uint64_t before = counter(&p->a, s->counter), end = guest_now_ns() + PATIENCE_NS, nudged = 0;

	while (counter(&p->a, s->counter) - before < WORK) {
		if (guest_now_ns() > end)
			guest_fail("the hostile VM does nothing", ETIMEDOUT);
		if (s->controller && guest_now_ns() - nudged > NUDGE_NS) {
			nudge_controller(&p->a);
			nudged = guest_now_ns();
		}
	}
}

static uint64_t attack(struct pair *p, const struct shape *s, struct speed *ret_speed)
{
	uint64_t before, happened;

	spoil_tables(&p->a);
	s->start(&p->a);
	await_work(p, s);
	before = counter(&p->a, s->counter);
	*ret_speed = run_b(p, s);
	happened = counter(&p->a, s->counter) - before;
	await_work(p, s);
	recover(p);
	return happened;
}

/* What B keeps of its throughput, as its median beside A of that alone. */
static double measure(struct pair *p, const struct shape *s)
{
	struct speed alone[ROUNDS], beside[ROUNDS];
	uint64_t happened = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		alone[i] = run_b(p, NULL);
		happened += attack(p, s, &beside[i]);
	}
	printf("     reads a second, alone and beside it: %.0f, %.0f by the clock; %.0f, %.0f while it ran; "
	       "%s: %llu\n",
	       MEDIAN(alone, clock), MEDIAN(beside, clock), MEDIAN(alone, running), MEDIAN(beside, running),
	       s->counter, (unsigned long long)happened);
	return MEDIAN(alone, running) > 0 ? MEDIAN(beside, running) / MEDIAN(alone, running) : 0;
}

static bool keeps(struct pair *p, const struct shape *s)
{
	double kept = 0;

	for (unsigned i = 0; i < ATTEMPTS && kept < KEPT; i++)
		kept = measure(p, s);
	printf("%s %s: %.1f %%\n", kept < KEPT ? "FAIL" : "ok  ", s->name, kept * 100);
	fflush(stdout);
	return kept >= KEPT;
}

int main(int argc, char **argv)
{
	unsigned count = 0, failed = 0;
	struct pair p = {0};

	if (argc < 2)
		guest_fail("usage: test_fairness VIOMMUD [SHAPE]", EINVAL);
	begin(&p, argv[1]);
	check(vfu_client_dma_map(p.a.iommu, REGISTERS_GPA, 4096, p.a.register_fd, 0, true, true),
	      "lending the registers");
	for (unsigned i = 0; i < VI_ARRAY_SIZE(shapes); i++) {
		if (argc > 2 && !strstr(shapes[i].name, argv[2]))
			continue;
		count++;
		failed += !keeps(&p, &shapes[i]);
	}
	end(&p);
	printf("%u passed, %u failed\n", count - failed, failed);
	return failed ? 1 : 0;
}

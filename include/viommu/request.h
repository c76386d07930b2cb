/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests: how a guest speaks to a paravirtual unit, VIOMMU_MODEL_VIRTIO
 * (virtio 1.3, section 5.13), in place of registers.
 *
 * The program has the transport: virtqueues, notifications, the PCI function.
 * It hands each request of the guest over as bytes and gets the bytes of the answer
 * back when the guest may see it. No pointer into guest memory comes to the
 * library, and every byte may be hostile.
 *
 *	while there is a request in the ring, and viommu_request_submit() takes it
 *		;
 *	viommu_process()
 *	while viommu_request_answer() has one
 *		write it to the guest, and put its buffer into the used ring
 *	while there is an event buffer, and viommu_event_take() has an event
 *		the same
 *
 * An answer is a barrier: when it is there no access goes on by what the request
 * took away (UNMAP, DETACH, ATTACH of an endpoint that was elsewhere), and a mapping is seen
 * by the next access. Answers come in the order of the requests.
 *
 * viommu_save() carries out what was submitted, and has events that wait, but no answers in its state: take
 * those, and return them to the guest's rings, before its memory is saved.
 *
 * Threads: any, as for viommu.h. viommu_request_submit(), viommu_request_answer(), viommu_event_take() and
 * viommu_driver_reset() wait for no other call of the unit, as viommu_process() does not: where one is
 *inside, which may itself wait for accesses in flight (viommu_mem_remove()), they change nothing and return
 *-EBUSY, or VIOMMU_PROCESS_PENDING, and the program comes again. The others here wait for it.
 *
 * viommu_reset() and viommu_restore() forget requests with their tokens, their answers, and a driver's reset
 * that is under way; the first forgets events, too, and the second has those of the state.
 *
 * An endpoint is a requester of the unit; its endpoint id is (segment << 16) + requester id.
 */
#ifndef VIOMMU_REQUEST_H
#define VIOMMU_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <viommu/viommu.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* ------------------------------------------------- features and configuration */

/*
 * The device's own feature bits that the unit offers (INPUT_RANGE, DOMAIN_RANGE,
 * MAP_UNMAP, PROBE, MMIO, BYPASS_CONFIG); those of the transport are the program's.
 * 0 for a model that takes no requests. The same for as long as the unit lives.
 */
uint64_t viommu_features_offered(const struct viommu *v);

/*
 * Which of them the driver has accepted: with FEATURES_OK. Without MAP_UNMAP a MAP or an UNMAP is answered
 * with UNSUPP, without MMIO and BYPASS_CONFIG their flags are unknown ones, and the field `bypass` is not
 * written. A request goes by what was accepted when it was submitted. After a reset of the unit or the driver
 * none is accepted.
 *
 * -EINVAL: a bit that is not offered. -ENOTSUP: the model takes no requests.
 */
int viommu_features_accept(struct viommu *v, uint64_t features);

/*
 * Read and write `length` bytes at `offset` of the device's configuration space,
 * 40 bytes: an access of the guest. Bytes behind it read as 0. Of what is written the
 * field `bypass` alone is taken, when it is 0 or 1 and BYPASS_CONFIG was accepted: with
 * 1 an endpoint that is in no domain reaches all memory, with 0 it is blocked. New accesses
 * go by it when the call returns; those that had begun are over when viommu_process()
 * returns no VIOMMU_PROCESS_PENDING, or the next request is answered.
 *
 * -ENOTSUP: the model takes no requests.
 */
int viommu_config_read(struct viommu *v, size_t offset, void *buf, size_t length);
int viommu_config_write(struct viommu *v, size_t offset, const void *buf, size_t length);

/* ------------------------------------------------------------------ requests */

#define VIOMMU_REQUESTS_MOST 256 /* requests that the unit has at a time, answered or not */
#define VIOMMU_REQUEST_BYTES 72	 /* no request has more device-readable bytes that mean something */
#define VIOMMU_ANSWER_BYTES  516 /* no answer is longer */

/*
 * Take one request: its `length` device-readable bytes, in a row, of which the first
 * VIOMMU_REQUEST_BYTES suffice, and how many device-writable bytes (`room`) the driver
 * has for the answer. The bytes are copied. `token` means nothing to the library: it
 * comes back with the answer.
 *
 * Nothing is carried out before viommu_process(), which carries requests out in order and counts
 * against its budget each request, and each mapping that a request takes away or that a domain had which has
 * ended.
 *
 * -EAGAIN: the unit has VIOMMU_REQUESTS_MOST, or viommu_driver_reset() has not returned 0 yet; leave the
 * request in the ring until an answer was taken, or the reset is over. -EBUSY: another call is inside.
 * -ENOTSUP: the model takes no requests.
 */
int viommu_request_submit(struct viommu *v, uint64_t token, const void *request, size_t length, size_t room);

/*
 * Take the answer to the oldest request, when it may be given: the bytes for the
 * device-writable part, from its beginning. *ret_token is that of the request. `size` is at least
 * VIOMMU_ANSWER_BYTES, or as many bytes as the request had room.
 *
 * Returns how many bytes they are, the length for the used ring. 0: the request
 * could not be understood, or had no room for an answer, and the specification wants its buffer back
 * unwritten.
 *
 * -EAGAIN: none may be given now; where viommu_process() returned VIOMMU_PROCESS_PENDING it
 * may be after another call of that. -EBUSY: another call is inside. -ENOSPC: `size` is smaller than the
 * answer, which stays. -ENOTSUP: the model takes no requests.
 */
int64_t viommu_request_answer(struct viommu *v, uint64_t *ret_token, void *buf, size_t size);

/*
 * The driver resets the device (status 0), or the transport does. Requests that were not
 * answered are forgotten, with their tokens, and so are events that wait and the features accepted. `bypass`
 * stays.
 *
 * Endpoints are in no domain afterwards, as the specification says. With `keep`, where that would let them
 * reach all memory (`bypass` is 1), they stay where they are: a stock Linux resets its IOMMU at shutdown
 * before the devices behind it, which go on using addresses that mean something else then. No number finds
 * those domains any more: a MAP or an UNMAP is answered with NOENT, a DETACH with INVAL. Their mappings count
 * until they end. Each endpoint leaves with its own ATTACH; all of them leave when `bypass` becomes 0, with a
 * reset without `keep`, and with viommu_reset().
 *
 * Returns 0 when it is done, else VIOMMU_PROCESS_PENDING: accesses are in flight, or another call is inside.
 * Then call it again, with viommu_process() in between, until it returns 0; the driver should not read status
 * 0 before. One call without `keep` among them suffices for nothing to be kept.
 *
 * -ENOTSUP: the model takes no requests.
 */
int viommu_driver_reset(struct viommu *v, bool keep);

/* -------------------------------------------------------------------- events */

#define VIOMMU_EVENT_BYTES 24 /* how long an event is */
#define VIOMMU_EVENTS_MOST 64 /* events that wait for a buffer */

/*
 * Take the next event (a blocked access), for a buffer of the event queue of `size` bytes. viommu_process()
 * makes them. Where VIOMMU_EVENTS_MOST wait for buffers, further ones are dropped and counted
 * (`faults_lost`).
 *
 * Returns how many bytes were written.
 *
 * -EAGAIN: there is none. -EBUSY: another call is inside. -ENOSPC: `size` is less than VIOMMU_EVENT_BYTES (so
 * that with `buf` NULL and 0 it tells whether an event waits); the event waits for another buffer. -ENOTSUP:
 * the model takes no requests.
 */
int64_t viommu_event_take(struct viommu *v, void *buf, size_t size);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif

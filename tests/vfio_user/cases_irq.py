# SPDX-License-Identifier: BSD-3-Clause
"""SET_IRQS: eventfds, masks and triggers."""

import errno
import os
import select
import struct

from protocol_client import (
    BOOL, EVENTFD, INTX, MASK, MSI, MSIX, NONE, PAGE, SET_IRQS, TRIGGER, UNMASK, equal, eventfd, irq_payload, libc,
    memfd, signalled)
from runner import case, cases


@case("irqs: an eventfd is signalled")
def _(s):
    with s.connect() as c:
        fds = [eventfd() for _ in range(4)]
        c.irqs(MSIX, 10, 4, EVENTFD | TRIGGER, fds=fds)
        equal(c.trigger(MSIX, 12), 1, "trigger")
        equal([signalled(fd) for fd in fds], [0, 0, 1, 0], "eventfds")
        equal([c.trigger(MSIX, 9), c.trigger(MSIX, 14), c.trigger(MSI, 0)], [0, 0, 0], "not set")
        equal([c.trigger(MSIX, 64), c.trigger(5, 0), c.trigger(1000, 1000)], [0, 0, 0], "not there")
        for fd in fds:
            os.close(fd)


@case("irqs: replaced and taken away, without a leak")
def _(s):
    with s.connect() as c:
        a, b = eventfd(), eventfd()
        before = s.fd_count()
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[a])
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[b])
        equal(s.fd_count(), before + 1, "descriptors")
        c.trigger(MSIX, 0)
        equal([signalled(a), signalled(b)], [0, 1], "eventfds")
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER)
        equal(c.trigger(MSIX, 0), 0, "after it was taken away")
        equal(s.fd_count(), before, "descriptors")
        os.close(a)
        os.close(b)


@case("irqs: all 64 taken away with one message without descriptors")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        before = s.fd_count()
        for i in range(0, 64, 16):
            c.irqs(MSIX, i, 16, EVENTFD | TRIGGER, fds=[fd] * 16)
        equal(s.fd_count(), before + 64, "descriptors")
        c.irqs(MSIX, 0, 64, EVENTFD | TRIGGER)
        equal(s.fd_count(), before, "descriptors")
        os.close(fd)


@case("irqs: count 0 switches an index off")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        before = s.fd_count()
        c.irqs(MSIX, 0, 16, EVENTFD | TRIGGER, fds=[fd] * 16)
        c.irqs(MSI, 0, 8, EVENTFD | TRIGGER, fds=[fd] * 8)
        c.irqs(MSIX, 0, 0, NONE | TRIGGER)
        equal(s.fd_count(), before + 8, "descriptors")
        equal([c.trigger(MSIX, 0), c.trigger(MSI, 7)], [0, 1], "triggers")
        os.close(fd)


@case("irqs: VFIO's array with -1 in it")
def _(s):
    with s.connect() as c:
        a, b = eventfd(), eventfd()
        c.irqs(MSIX, 0, 4, EVENTFD | TRIGGER, struct.pack("<iiii", -1, 5, -1, 6), fds=[a, b])
        equal([c.trigger(MSIX, i) for i in range(4)], [0, 1, 0, 1], "triggers")
        equal([signalled(a), signalled(b)], [1, 1], "eventfds")
        c.irqs(MSIX, 0, 2, EVENTFD | TRIGGER, struct.pack("<ii", -1, -1))
        equal([c.trigger(MSIX, i) for i in range(4)], [0, 0, 0, 1], "triggers")
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER, struct.pack("<ii", 1, -1)), fds=[a, b])
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER, struct.pack("<ii", 1, 1)), fds=[a])
        os.close(a)
        os.close(b)


@cases("set irqs refused", {
    "index 5": (errno.EINVAL, irq_payload(5, 0, 1, NONE | TRIGGER)),
    "index -1": (errno.EINVAL, irq_payload(0xffffffff, 0, 1, NONE | TRIGGER)),
    "start out of range": (errno.EINVAL, irq_payload(MSIX, 65, 0, NONE | TRIGGER)),
    "range over the end": (errno.EINVAL, irq_payload(MSIX, 60, 5, NONE | TRIGGER)),
    "count 2^32 - 1": (errno.EINVAL, irq_payload(MSIX, 1, 0xffffffff, NONE | TRIGGER)),
    "start + count wraps": (errno.EINVAL, irq_payload(MSIX, 0xffffffff, 2, NONE | TRIGGER)),
    "two kinds of data": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE | BOOL | TRIGGER, b"\1")),
    "no kind of data": (errno.EINVAL, irq_payload(MSIX, 0, 1, TRIGGER)),
    "two actions": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE | TRIGGER | MASK)),
    "no action": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE)),
    "unknown flag": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE | TRIGGER | 64)),
    "argsz 19": (errno.EINVAL, irq_payload(MSIX, 0, 1, NONE | TRIGGER, argsz=19)),
    "bools missing": (errno.EINVAL, irq_payload(MSIX, 0, 4, BOOL | TRIGGER, b"\1\1\1")),
    "count 0 with mask": (errno.EINVAL, irq_payload(MSIX, 0, 0, NONE | MASK)),
    "count 0 with bool": (errno.EINVAL, irq_payload(MSIX, 0, 0, BOOL | TRIGGER)),
    "count 0 with eventfd": (errno.EINVAL, irq_payload(MSIX, 0, 0, EVENTFD | TRIGGER)),
    "count 0 with start": (errno.EINVAL, irq_payload(MSIX, 3, 0, NONE | TRIGGER)),
    "mask eventfd of MSI-X": (errno.ENOTTY, irq_payload(MSIX, 0, 1, EVENTFD | MASK)),
})
def _(s, error, payload):
    with s.connect() as c:
        c.refused(error, SET_IRQS, payload)
        c.alive()


@case("set irqs refuses descriptors that are no eventfds, too many and too few, and closes them")
def _(s):
    with s.connect() as c:
        r, w = os.pipe()
        good, mem, epoll = eventfd(), memfd(PAGE), select.epoll()
        before = s.fd_count()
        for bad in (r, w, mem, epoll.fileno()):
            c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER), fds=[good, bad])
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER), fds=[good])
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, EVENTFD | TRIGGER), fds=[good] * 3)
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 2, NONE | TRIGGER), fds=[good])
        c.refused(errno.EINVAL, SET_IRQS, irq_payload(MSIX, 0, 17, EVENTFD | TRIGGER), fds=[good] * 16)
        equal(s.fd_count(), before, "descriptors")
        equal(c.trigger(MSIX, 0), 0, "half of a refused request")
        for fd in (r, w, good, mem):
            os.close(fd)
        epoll.close()


@case("irqs: a full eventfd does not stop the device")
def _(s):
    with s.connect() as c:
        fd = libc.eventfd(0, os.O_CLOEXEC)  # blocking
        os.write(fd, struct.pack("<Q", (1 << 64) - 2))
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        equal(c.trigger(MSIX, 0), 1, "trigger")
        c.alive()
        os.close(fd)


@case("irqs: masked ones wait, and come once at the unmask")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        c.irqs(MSIX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        c.irqs(MSIX, 0, 1, NONE | MASK)
        equal([c.trigger(MSIX, 0), c.trigger(MSIX, 0), signalled(fd)], [1, 1, 0], "while masked")
        c.irqs(MSIX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 1, "after the unmask")
        c.irqs(MSIX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 0, "after another")
        os.close(fd)


@case("irqs: the device hears of masks, in runs")
def _(s):
    with s.connect() as c:
        calls = c.reg("mask_calls")
        c.irqs(MSIX, 4, 8, NONE | MASK)
        equal((c.reg("mask_calls") - calls, c.reg("last_mask") & (1 << 64) - 1), (1, MSIX | 4 << 8 | 8 << 32 | 1 << 63), "mask")
        c.irqs(MSIX, 10, 6, BOOL | UNMASK, b"\1\1\0\0\1\0")
        equal((c.reg("mask_calls") - calls, c.reg("last_mask")), (3, MSIX | 14 << 8 | 1 << 32), "unmask")


@case("irqs: the client triggers them itself")
def _(s):
    with s.connect() as c:
        fds = [eventfd() for _ in range(4)]
        c.irqs(MSI, 0, 4, EVENTFD | TRIGGER, fds=fds)
        c.irqs(MSI, 0, 4, BOOL | TRIGGER, b"\0\1\0\1")
        equal([signalled(fd) for fd in fds], [0, 1, 0, 1], "eventfds")
        c.irqs(MSI, 0, 4, NONE | TRIGGER)
        equal([signalled(fd) for fd in fds], [1, 1, 1, 1], "eventfds")
        for fd in fds:
            os.close(fd)


@case("INTx masks itself when it is triggered")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        c.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        equal([c.trigger(INTX, 0), c.trigger(INTX, 0), signalled(fd)], [1, 1, 1], "two triggers, one interrupt")
        c.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 1, "the second, after the unmask")
        c.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 0, "no third")
        # A line that is still up when it is unmasked: the device triggers again, and that is not doubled.
        c.set_reg("retrigger", 1)
        c.trigger(INTX, 0)
        c.trigger(INTX, 0)
        equal(signalled(fd), 1, "interrupt")
        c.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 1, "again")
        c.irqs(INTX, 0, 1, NONE | UNMASK)
        equal(signalled(fd), 0, "and no more")
        os.close(fd)


@case("INTx: mask and unmask by eventfd")
def _(s):
    with s.connect() as c:
        before = s.fd_count()
        trigger, mask, unmask = eventfd(), eventfd(), eventfd()
        c.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[trigger])
        c.irqs(INTX, 0, 1, EVENTFD | MASK, fds=[mask])
        c.irqs(INTX, 0, 1, EVENTFD | UNMASK, fds=[unmask])
        c.irqs(INTX, 0, 1, EVENTFD | UNMASK, fds=[unmask])
        equal(s.fd_count(), before + 3, "descriptors")
        os.write(mask, struct.pack("<Q", 1))
        s.wait_for(lambda: c.reg("last_mask") & (1 << 64) - 1 == 1 << 32 | 1 << 63, "not masked")
        c.trigger(INTX, 0)
        equal(signalled(trigger), 0, "while masked")
        os.write(unmask, struct.pack("<Q", 1))
        equal(signalled(trigger, 5), 1, "after the unmask")
        c.irqs(INTX, 0, 0, NONE | TRIGGER)
        equal(s.fd_count(), before, "descriptors")
        for fd in (trigger, mask, unmask):
            os.close(fd)


@case("irqs: a new eventfd starts unmasked")
def _(s):
    with s.connect() as c:
        fd = eventfd()
        c.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        c.trigger(INTX, 0)
        c.irqs(INTX, 0, 1, EVENTFD | TRIGGER, fds=[fd])
        c.trigger(INTX, 0)
        equal(signalled(fd), 2, "interrupts")
        os.close(fd)

# SPDX-License-Identifier: BSD-3-Clause
"""A message that makes the server do much is done in turns: others are served in between, and nobody sees a seam."""

import errno
import struct
import time

from protocol_client import (
    BAR0, BAR1, BAR2, CMD_DISCONNECT, DMA_MAP, DMA_UNMAP, ERROR, MAX_XFER, NO_REPLY, PAGE, REGION_READ, REGS,
    UNMAP_ALL, WRITE_MULTI, check, equal, map_payload, memfd, multi_payload, region_payload, unmap_payload)
from runner import case

MOST_CALLS = 256 + 1  # of the device, for one vfu_server_process()
MANY = (MAX_XFER - 8) // 24  # writes that one message holds
MAPS = 20000


def many_writes(*last):
    """The i-th writes i, all to one place."""
    return multi_payload([(BAR0, 8, struct.pack("<Q", i)) for i in range(MANY - len(last))] + list(last))


def check_turns(s):
    """In another session, as this one's have ended then."""
    with s.connect() as c:
        check(c.reg("most_calls") <= MOST_CALLS, "%d calls of the device in one turn" % c.reg("most_calls"))
        c.set_reg("most_calls", 0)


@case("turns: 43,690 writes in a message, and the replies to what comes behind keep their order")
def _(s):
    check_turns(s)
    with s.connect() as c:
        read = region_payload(BAR0, 8, 8)
        ids = [c.send(REGION_READ, read), c.send(WRITE_MULTI, many_writes()), c.send(REGION_READ, read),
               c.send(WRITE_MULTI, many_writes((BAR0, 8, b"the last"))), c.send(REGION_READ, read)]
        replies = [c.recv_reply() for _ in ids]
        equal([header[0] for header, _ in replies], ids, "ids of the replies")
        equal(replies[1][1], struct.pack("<Q", MANY), "writes done")
        equal(replies[2][1][16:], struct.pack("<Q", MANY - 1), "after the first message")
        equal(replies[4][1][16:], b"the last", "after the second")
    check_turns(s)


@case("turns: a write that fails at the end of many is told, and what comes behind is served")
def _(s):
    with s.connect() as c:
        c.refused(errno.EPERM, WRITE_MULTI, many_writes((BAR1, 0, b"no"), (BAR0, 8, b"not done")))
        equal(c.read(BAR0, 8, 8), struct.pack("<Q", MANY - 3), "up to the one that failed")
        c.send(WRITE_MULTI, many_writes((BAR0, 8, b"posted")), flags=NO_REPLY)
        equal(c.read(BAR0, 8, 6), b"posted", "no reply was asked for")
    check_turns(s)


@case("turns: a client that goes in the middle of many writes leaves nothing behind")
def _(s):
    for _ in range(20):
        c = s.connect()
        c.send(WRITE_MULTI, many_writes())
        c.close()
        with s.connect() as c:
            c.alive()


@case("turns: the device ends the session in the middle of many writes")
def _(s):
    with s.connect() as c:
        before = c.reg("disconnects")
        writes = [(BAR0, 8, b"a")] * (MANY // 2) + [(BAR2, REGS["command"], struct.pack("<Q", CMD_DISCONNECT))]
        c.send(WRITE_MULTI, multi_payload(writes + [(BAR0, 8, b"b")] * (MANY - len(writes))))
        check(c.gone(), "still connected")
    with s.connect() as c:
        equal(c.reg("disconnects"), before + 1, "sessions that ended")
    check_turns(s)


def map_many(c, fd=None):
    # Answers are not waited for one by one, but read, or the server would hold back.
    for first in range(0, MAPS, 500):
        for page in range(first, first + 500):
            c.send(DMA_MAP, map_payload(2 * page * PAGE, PAGE, page * PAGE if fd else 0), fds=[fd] if fd else ())
        for _ in range(500):
            header, _ = c.recv_reply()
            equal(header[3] & ERROR, 0, "a map was refused")
    equal(c.reg("mapped_bytes"), MAPS * PAGE, "bytes mapped")


@case("turns: an unmap of 20,000 ranges, in part, with cuts, and at once")
def _(s):
    fd = memfd(MAPS * PAGE)
    check_turns(s)
    with s.connect() as c:
        map_many(c, fd)
        middle = (MAPS // 2) * 2 * PAGE
        ids = [c.send(DMA_UNMAP, unmap_payload(0, middle)), c.send(DMA_MAP, map_payload(0, PAGE)),
               c.send(DMA_UNMAP, unmap_payload(0, 0, UNMAP_ALL)), c.send(DMA_UNMAP, unmap_payload(0, 0, UNMAP_ALL))]
        replies = [c.recv_reply() for _ in ids]
        equal([header[0] for header, _ in replies], ids, "ids of the replies")
        equal([header[3] & ERROR for header, _ in replies], [0] * 4, "refused")
        sizes = [struct.unpack("<IIQQ", payload)[3] // PAGE for _, payload in replies if len(payload) == 24]
        equal(sizes, [MAPS // 2, MAPS // 2 + 1, 0], "pages that were unmapped")
        equal(c.reg("mapped_bytes"), 0, "bytes mapped")
    check_turns(s)


@case("turns: a client that goes and leaves 20,000 ranges, and one that goes while they are unmapped")
def _(s):
    for unmap in (False, True):
        with s.connect() as c:
            map_many(c)
            if unmap:
                c.send(DMA_UNMAP, unmap_payload(0, 0, UNMAP_ALL))
        start = time.monotonic()
        with s.connect() as c:
            equal(c.reg("mapped_bytes"), 0, "bytes that are left")
            equal(c.reg("connects"), c.reg("disconnects") + 1, "sessions")
        check(time.monotonic() - start < 20, "it takes %d s" % (time.monotonic() - start))
    check_turns(s)

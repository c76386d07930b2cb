# SPDX-License-Identifier: BSD-3-Clause
"""The guest's half of a virtio-iommu unit, over vfio-user: virtqueues in the memory that served.Nvme lends."""
import os
import struct
import time

from served import BAR0, CONFIG, DEADLINE, PAGE, RAM, RAM_SIZE, check

COMMON, DEVICE, NOTIFY = 0, 0x2000, 0x3000
DEVICE_SELECT, DEVICE_FEATURE, DRIVER_SELECT, DRIVER_FEATURE, CONFIG_VECTOR, STATUS = 0, 4, 8, 0xc, 0x10, 0x14
QUEUE_SELECT, QUEUE_SIZE, QUEUE_VECTOR, QUEUE_ENABLE, QUEUE_AREAS = 0x16, 0x18, 0x1a, 0x1c, 0x20
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET = 1, 2, 4, 8, 64
VERSION_1, INDIRECT = 1 << 32, 1 << 28
INPUT_RANGE, DOMAIN_RANGE, MAP_UNMAP, BYPASS, PROBE, MMIO, BYPASS_CONFIG = (1 << n for n in range(7))
REQUESTS, EVENTS = 0, 1
NEXT, WRITE_FLAG, INDIRECT_FLAG = 1, 2, 4
ATTACH, DETACH, MAP, UNMAP, PROBE_REQUEST = 1, 2, 3, 4, 5
OK, IOERR, UNSUPP, DEVERR, INVAL, RANGE, NOENT, FAULT, NOMEM = range(9)
READ, WRITE = 1, 2
AREAS = RAM + 0x80 * PAGE  # of the queues: 8 pages each
BUFFERS = RAM + 0xa0 * PAGE
SIZE = 16  # of a queue
EVENT_BYTES = 24


class Queue:
    """Descriptor table, available ring and used ring, a page each."""

    def __init__(self, ram, number):
        self.ram, self.number = ram, number
        self.descriptors, self.driver, self.device = (AREAS + (8 * number + n) * PAGE for n in range(3))
        self.made = self.seen = 0
        os.pwrite(ram, bytes(3 * PAGE), self.descriptors - RAM)

    def describe(self, number, address, length, flags, following=0, table=None):
        os.pwrite(self.ram, struct.pack("<QIHH", address, length, flags, following), (table or self.descriptors) + 16 * number - RAM)

    def offer(self, *heads):
        for head in heads:
            os.pwrite(self.ram, struct.pack("<H", head), self.driver + 4 + 2 * (self.made % SIZE) - RAM)
            self.made = (self.made + 1) & 0xffff
        os.pwrite(self.ram, struct.pack("<H", self.made), self.driver + 2 - RAM)

    def used(self):
        """(flags, index) of the used ring."""
        return struct.unpack("<HH", os.pread(self.ram, 4, self.device - RAM))

    def take(self):
        """(head, length) of the next buffer that comes back."""
        end = time.monotonic() + DEADLINE
        while self.used()[1] == self.seen:
            check(time.monotonic() < end, "no buffer comes back")
        at = self.device + 4 + 8 * (self.seen % SIZE) - RAM
        self.seen = (self.seen + 1) & 0xffff
        return struct.unpack("<II", os.pread(self.ram, 8, at))


class Virtio:
    """A driver that has begun: status DRIVER_OK, both queues enabled."""

    features = VERSION_1 | INDIRECT | INPUT_RANGE | DOMAIN_RANGE | MAP_UNMAP | PROBE | BYPASS_CONFIG

    def __init__(self, nvme, endpoint=0x11 << 3):
        self.client, self.ram, self.endpoint = nvme.unit, nvme.ram, endpoint
        self.client.write(CONFIG, 4, struct.pack("<H", 6))
        self.begin()

    def begin(self):
        self.put("<B", STATUS, ACKNOWLEDGE | DRIVER)
        for half in range(2):
            self.put("<I", DRIVER_SELECT, half)
            self.put("<I", DRIVER_FEATURE, self.features >> 32 * half & 0xffffffff)
        self.put("<B", STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK)
        check(self.get("<B", STATUS) & FEATURES_OK, "features are not accepted")
        self.queues = [self.enable(number) for number in (REQUESTS, EVENTS)]
        self.put("<B", STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    def enable(self, number):
        queue = Queue(self.ram, number)
        self.put("<H", QUEUE_SELECT, number)
        self.put("<H", QUEUE_SIZE, SIZE)
        self.put("<H", QUEUE_VECTOR, number + 1)
        for n, area in enumerate((queue.descriptors, queue.driver, queue.device)):
            self.put("<I", QUEUE_AREAS + 8 * n, area & 0xffffffff)
            self.put("<I", QUEUE_AREAS + 8 * n + 4, area >> 32)
        self.put("<H", QUEUE_ENABLE, 1)
        return queue

    def reset(self):
        self.put("<B", STATUS, 0)
        end = time.monotonic() + DEADLINE
        while self.get("<B", STATUS):
            check(time.monotonic() < end, "the reset does not end")

    def get(self, form, offset):
        return struct.unpack(form, self.client.read(BAR0, offset, struct.calcsize(form)))[0]

    def put(self, form, offset, value):
        self.client.write(BAR0, offset, struct.pack(form, value))

    def config(self, form, offset):
        return self.get(form, DEVICE + offset)

    def kick(self, number=REQUESTS):
        """As a driver does: only where the device asks for it."""
        if not self.queues[number].used()[0] & 1:
            self.put("<H", NOTIFY + 4 * number, number)

    # ------------------------------------------------------------------ requests

    def lay(self, slot, request, room=4):
        """The buffer number `slot` of the request queue; returns where its answer comes."""
        at, queue = BUFFERS + slot * PAGE, self.queues[REQUESTS]
        os.pwrite(self.ram, request + b"\xee" * room, at - RAM)
        queue.describe(2 * slot, at, len(request), NEXT, 2 * slot + 1)
        queue.describe(2 * slot + 1, at + len(request), room, WRITE_FLAG)
        return at + len(request)

    def ask(self, request, room=4):
        """The bytes of the answer."""
        answer = self.lay(0, request, room)
        self.queues[REQUESTS].offer(0)
        self.kick()
        head, length = self.queues[REQUESTS].take()
        check(head == 0, "head %d" % head)
        return os.pread(self.ram, length, answer - RAM)

    def status(self, request):
        answer = self.ask(request)
        check(len(answer) == 4 and answer[1:] == b"\0\0\0", "answer %s" % answer)
        return answer[0]

    def attach(self, domain=1, endpoint=None, flags=0):
        return self.status(struct.pack("<B3xIIII", ATTACH, domain, self.endpoint if endpoint is None else endpoint, flags, 0))

    def detach(self, domain=1):
        return self.status(struct.pack("<B3xII8x", DETACH, domain, self.endpoint))

    @staticmethod
    def map_request(iova, gpa, size, flags=READ | WRITE, domain=1):
        return struct.pack("<B3xIQQQI", MAP, domain, iova, iova + size - 1, gpa, flags)

    @staticmethod
    def unmap_request(iova, size, domain=1):
        return struct.pack("<B3xIQQ4x", UNMAP, domain, iova, iova + size - 1)

    def map(self, iova, gpa, size=PAGE, flags=READ | WRITE, domain=1):
        return self.status(self.map_request(iova, gpa, size, flags, domain))

    def unmap(self, iova, size=PAGE, domain=1):
        return self.status(self.unmap_request(iova, size, domain))

    def protect(self, domain=1):
        """All that NVMe uses is mapped to itself, and then the device is attached. Returns self."""
        check(self.attach(domain) == OK, "attach")
        check(self.map(RAM, RAM, RAM_SIZE // 2, domain=domain) == OK, "map")
        return self

    # -------------------------------------------------------------------- events

    def offer_events(self, count=4, length=EVENT_BYTES):
        queue = self.queues[EVENTS]
        for slot in range(count):
            queue.describe(slot, BUFFERS + 0x10 * PAGE + 64 * slot, length, WRITE_FLAG)
        queue.offer(*range(count))
        self.kick(EVENTS)

    def event(self):
        """(reason, flags, endpoint, address) of the next one."""
        head, length = self.queues[EVENTS].take()
        check(length == EVENT_BYTES, "%d bytes" % length)
        reason, flags, endpoint, _, address = struct.unpack("<B3xIIIQ", os.pread(self.ram, EVENT_BYTES, BUFFERS + 0x10 * PAGE + 64 * head - RAM))
        return reason, flags, endpoint, address

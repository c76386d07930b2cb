# SPDX-License-Identifier: BSD-3-Clause
"""VERSION: the negotiation, and what it refuses."""

import errno
import json
import os
import struct

from protocol_client import MAX_XFER, PAGE, VERSION, check, equal, memfd, version_payload
from runner import case, cases


@case("version: the answer has our capabilities, in a text that ends with NUL")
def _(s):
    with s.connect(negotiate=False) as c:
        reply = c.ok(VERSION, version_payload())
        equal(struct.unpack_from("<HH", reply), (0, 0), "version")
        equal(reply[-1:], b"\0", "last byte")
        check(len(reply) <= len(version_payload()), "longer than QEMU's buffer, which is as large as its request")
        caps = json.loads(reply[4:-1])["capabilities"]
        equal(caps, {"max_msg_fds": 16, "max_data_xfer_size": MAX_XFER, "pgsizes": 4096, "max_dma_maps": 65535,
                     "write_multiple": True}, "capabilities")


@case("version: without JSON")
def _(s):
    with s.connect(negotiate=False) as c:
        reply = c.ok(VERSION, version_payload(text=b""))
        check("write_multiple" not in json.loads(reply[4:-1])["capabilities"], "more than the client knows of")
        c.alive()


@case("version: a higher minor gets ours")
def _(s):
    with s.connect(negotiate=False) as c:
        equal(struct.unpack_from("<HH", c.ok(VERSION, version_payload(minor=7))), (0, 0), "version")


@cases("version refused, and the client may try again", {
    "another major": (errno.EPROTONOSUPPORT, version_payload(major=1)),
    "text without NUL": (errno.EINVAL, version_payload(text=b"{}")),
    "no JSON": (errno.EINVAL, version_payload(text=b"hello\0")),
    "half a JSON": (errno.EINVAL, version_payload(text=b'{"capabilities":{\0')),
    "only NUL": (errno.EINVAL, version_payload(text=b"\0")),
    "an array": (errno.EINVAL, version_payload(text=b"[]\0")),
    "capabilities a number": (errno.EINVAL, version_payload({"capabilities": 5})),
    "max_msg_fds a text": (errno.EINVAL, version_payload({"capabilities": {"max_msg_fds": "x"}})),
    "max_msg_fds negative": (errno.EINVAL, version_payload({"capabilities": {"max_msg_fds": -1}})),
    "max_data_xfer_size 0": (errno.EINVAL, version_payload({"capabilities": {"max_data_xfer_size": 0}})),
    "max_data_xfer_size 1.5": (errno.EINVAL, version_payload({"capabilities": {"max_data_xfer_size": 1.5}})),
    "write_multiple a number": (errno.EINVAL, version_payload({"capabilities": {"write_multiple": 1}})),
    "nested too deep": (errno.EINVAL, version_payload(text=b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"\0")),
    "a text of 1 MiB": (errno.EINVAL, version_payload(text=b" " * (1 << 20) + b"\0")),
})
def _(s, error, payload):
    with s.connect(negotiate=False) as c:
        c.refused(error, VERSION, payload)
        c.ok(VERSION, version_payload())
        c.alive()


@case("version: unknown capabilities are passed over")
def _(s):
    with s.connect(negotiate=False) as c:
        c.ok(VERSION, version_payload({"x": 1, "capabilities": {"twin_socket": {"supported": True}, "y": [1]}}))
        c.alive()


@case("version: a second one is refused")
def _(s):
    with s.connect() as c:
        c.refused(errno.EINVAL, VERSION, version_payload())
        c.alive()


@case("version: with a descriptor is refused")
def _(s):
    with s.connect(negotiate=False) as c:
        fd = memfd(PAGE)
        c.refused(errno.EINVAL, VERSION, version_payload(), fds=[fd])
        os.close(fd)
        c.ok(VERSION, version_payload())

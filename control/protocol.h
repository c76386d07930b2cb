/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control protocol: one JSON object per line over a UNIX stream socket.
 *
 *   request  {"command": "status", ...}
 *   reply    {"ok": true, ...}  or  {"error": "a sentence for a person"}
 *
 * A client may send any number of requests over one connection; replies come
 * in their order.
 */
#ifndef CONTROL_PROTOCOL_H
#define CONTROL_PROTOCOL_H

#define CONTROL_SOCKET_NAME "control.sock" /* in the daemon's directory */
#define DMAR_FILE_NAME	    "dmar.bin"	   /* what viommu leaves beside it while QEMU runs: */
#define IVRS_FILE_NAME	    "ivrs.bin"
#define VIOT_FILE_NAME	    "viot.bin" /* firmware tables */
#define CONTROL_REQUEST_MAX 8192       /* bytes of one request with its newline */
#define CONTROL_REPLY_MAX   (4u << 20) /* bytes of one reply with its newline */
#define CONTROL_CLIENTS_MAX 8	       /* at a time; one more pushes out the one that was silent longest */
#define CONTROL_SILENCE_MS  10000      /* a client that moves no byte for so long is dropped */
#define CONTROL_JSON_DEPTH  8	       /* nesting of a request */

#endif

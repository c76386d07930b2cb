#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""vfio-user, one line per protocol case: test_protocol.py VFU_TEST_SERVER [NAME-PART ...]"""

import sys

# Each adds its cases to the runner's; they run in this order.
import cases_version
import cases_framing
import cases_information
import cases_region
import cases_dma
import cases_irq
import cases_server_to_client
import cases_session
import cases_turns
import cases_own_server
import runner

if __name__ == "__main__":
    sys.exit(runner.run(sys.argv[1], sys.argv[2:]))

# SPDX-License-Identifier: BSD-3-Clause
"""The models that a guest can be behind: what it is given, and what its driver says."""

from rig import DEVICE

SLOT = int(DEVICE.split(":")[1].split(".")[0], 16)


class Vtd:
    name = "vtd"
    options = []  # of viommu run
    on = "intel_iommu=on"  # on the kernel's command line
    mapped = "paged"  # how viommu calls a device whose DMA is translated
    tells = ("reg_base_addr", "Using Queued invalidation")  # lines of the kernel about each unit
    tells_once = ("Virtualization Technology",)
    found = ("IOMMU enabled", "DRHD base: 0x", "Using Queued invalidation",
             "Intel(R) Virtualization Technology for Directed I/O")

    expected = ()  # complaints of the driver that cannot be avoided

    @staticmethod
    def qemu(_rig):
        """What QEMU is given."""
        return []

    @staticmethod
    def fault(direction, address):
        """The whole line that tells of one, as a regular expression; Read or Write."""
        reason = {"Write": r"\[fault reason 0x05\] PTE Write", "Read": r"\[fault reason 0x06\] PTE Read"}[direction]
        return rf"DMAR: \[DMA {direction}( NO_PASID)?\] Request device \[(0000:)?{DEVICE}\] fault addr {address} {reason} access is not set"

    @staticmethod
    def faults(lines):
        # What Linux reads of a record that it has cleared, before the sidecore has looked, is its own write: no unit records reason 0.
        return [line for line in lines if "[DMA " in line and not line.endswith("[fault reason 0x00] Software")]

    @staticmethod
    def entries_are_good(tables):
        """What `viommu dump` tells of the device's entries."""
        return tables["levels"] in (3, 4) and tables["root_entry"]["low"] & 1 and tables["context_entry"]["low"] & 1


class AmdVi(Vtd):
    name = "amdvi"
    options = ["--iommu", "amdvi"]
    on = ""
    tells = ("Extended features",)
    tells_once = ()
    found = ("AMD-Vi: Extended features",)
    # An IO-APIC in the table would make Linux remap interrupts, which QEMU's own IO-APIC does not do.
    expected = ("AMD-Vi: [Firmware Bug]: : IOAPIC[0] not in IVRS table", "AMD-Vi: [Firmware Bug]: : No southbridge IOAPIC found",
                "AMD-Vi: Disabling interrupt remapping")

    @staticmethod
    def qemu(rig):
        return rig.debian_args()

    @staticmethod
    def fault(direction, address):
        flags = {"Write": "0x0020", "Read": "0x0000"}[direction]
        return rf"nvme 0000:{DEVICE}: AMD-Vi: Event logged \[IO_PAGE_FAULT domain=0x[0-9a-f]{{4}} address={address} flags={flags}\]"

    @staticmethod
    def faults(lines):
        # A late sidecore shows Linux its own write of the status: "Event log restarting", which nothing has stopped.
        return [line for line in lines if "Event logged" in line]

    @staticmethod
    def entries_are_good(tables):
        return tables["levels"] in (3, 4) and tables["device_table_entry"]["low"] & 3 == 3


class VirtioIommu(Vtd):
    name = "virtio"
    options = ["--iommu", "virtio"]
    on = ""
    mapped = "mapped"
    tells = ("input address",)
    tells_once = ()
    found = ("input address: 48 bits",)

    @staticmethod
    def qemu(rig):
        return rig.module_args()

    @staticmethod
    def fault(direction, address):
        return rf"virtio_iommu virtio\d+: page fault from EP {SLOT << 3} at {address} \[{direction[0]}\]"

    @staticmethod
    def faults(lines):
        return [line for line in lines if " fault from EP " in line]

    @staticmethod
    def entries_are_good(tables):
        return tables["domain"] >= 0 and "root_entry" not in tables


MODELS = {model.name: model for model in (Vtd, AmdVi, VirtioIommu)}

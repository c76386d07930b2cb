# A thin front of meson and the scripts. 'make help' says what there is.

BUILD := build
# The model of the demo's IOMMUs, vtd, amdvi or virtio, and how many they are.
IOMMU := vtd
UNITS := 1

# Standard input may be closed; nothing below may take a file for it.
.PHONY: all demo check install clean help setup configure links

all: configure
	@ninja -C $(BUILD) </dev/null
	@$(MAKE) -s links

demo: configure
	@echo 'demo: building viommu and viommud ...'
	@ninja -C $(BUILD) --quiet cli/viommu daemon/viommud </dev/null
	@$(MAKE) -s links
	@scripts/demo --iommu $(IOMMU) --units $(UNITS) </dev/null

check:
	@scripts/install-packages --check </dev/null
	@scripts/check </dev/null

setup:
	@scripts/install-packages </dev/null

# What meson finds out is in build/meson-logs; here it would only be in the way.
configure: setup
	@[ -f $(BUILD)/build.ninja ] || out=$$(meson setup $(BUILD) 2>&1 </dev/null) || { echo "$$out"; exit 1; }

# Side by side, so that each program finds the other.
links:
	@mkdir -p $(BUILD)/bin
	@ln -sfn ../cli/viommu $(BUILD)/bin/viommu
	@ln -sfn ../daemon/viommud $(BUILD)/bin/viommud
	@ln -sfn ../bench/viommu-bench $(BUILD)/bin/viommu-bench
	@ln -sfn ../bench/viommu-bench-strategies $(BUILD)/bin/viommu-bench-strategies
	@ln -sfn $(CURDIR)/bench/guest/viommu-bench-guest $(BUILD)/bin/viommu-bench-guest
	@ln -sfn $(CURDIR)/scripts/fetch-qemu $(BUILD)/bin/viommu-fetch-qemu
	@ln -sfn docs/man $(BUILD)/man

# DESTDIR is meson's own. PREFIX, once given, is kept.
install: all
	@$(if $(PREFIX),meson configure $(BUILD) -Dprefix=$(PREFIX) </dev/null)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) </dev/null

clean:
	rm -rf $(BUILD)

help:
	@echo 'make          build/bin/viommu and build/bin/viommud'
	@echo 'make demo     a stock Linux behind the IOMMU, about a minute; UNITS=2: behind two,'
	@echo '              IOMMU=amdvi or virtio: of that model'
	@echo 'make check    everything that must hold, under 30 minutes'
	@echo 'make install  as PREFIX=/usr/local and DESTDIR= say'
	@echo 'make clean    remove the build folder'
	@echo
	@echo 'Missing Debian packages are installed when run as root; otherwise the'
	@echo 'apt-get line is printed. A guest kernel, and a QEMU when that of the'
	@echo 'machine is too old, are kept in VIOMMU_CACHE (default: ~/.cache/viommu).'

# Heliostat: the words a newcomer types. `make` lists them.

SHELL := /bin/bash
comma := ,
CARGO ?= cargo
SETUP := hil-tests/scripts/setup.sh

.PHONY: help
help:
	@echo 'make demo     boot two terminals through their firmware, insert cards, meet your desktop'
	@echo 'make try      the same session and terminal in a window, in seconds, without firmware'
	@echo 'make test     everything continuous integration checks'
	@echo 'make check    format, lints and the shape of the workspace'
	@echo 'make unit     the tests that need no virtual machine'
	@echo 'make image    build the netboot image into target/image'
	@echo 'make install  build and install the server parts (PREFIX=/usr/local); make uninstall'
	@echo 'make bench    the benches: tiles, and whole desktops'
	@echo 'make bench-peers  whole desktops beside TigerVNC, wayvnc, waypipe, Xpra, FreeRDP and weston (an hour)'
	@echo 'make bench-links  a day's work over slow and lossy links, beside TigerVNC and waypipe (one to two hours)'
	@echo 'make figures  measure the figures, one JSON line each (ONLY=name,… for some)'
	@echo 'make scenarios  every scenario of the rig (long)'
	@echo 'make zero-copy  films on the planes of a real display, in a virtual machine (SCENARIOS=word,… for some)'
	@echo 'make setup    install the Debian packages all of this needs'

.PHONY: setup
setup:
	@$(SETUP) build desktop image rig cards

.PHONY: demo
demo:
	@$(SETUP) build desktop image rig $(if $(filter auto,$(DEMO)),,$(if $(DISPLAY)$(WAYLAND_DISPLAY),windows))
	@echo 'demo: building (the first time takes a few minutes)'
	@$(CARGO) build --release --workspace --bins
	@target/release/heliostat-demo

.PHONY: try
try:
	@$(SETUP) build desktop
	@echo 'try: building (the first time takes a few minutes)'
	@$(CARGO) build --release --workspace --bins
	@target/release/heliostat-try

.PHONY: check
check:
	@$(SETUP) build desktop cards image rig
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p heliostat-session --no-default-features --all-targets -- -D warnings
	$(CARGO) run -q -p xtask -- check

# Programs, libraries and tests in one go: one after the other, a part of all crates would be built
# twice, as tests want more features of them than programs do.
build_for_tests := $(CARGO) build --workspace --lib --bins --tests

.PHONY: unit
unit:
	@$(SETUP) build desktop programs cards image rig va
	$(build_for_tests)
	HELIOSTAT_SKIPS=fail $(CARGO) test --workspace

.PHONY: test
test: check unit
	target/debug/heliostat-scenarios
	@HELIOSTAT_SKIPS=fail $(MAKE) --no-print-directory zero-copy

.PHONY: scenarios
scenarios:
	@$(SETUP) build desktop image rig
	$(build_for_tests)
	target/debug/heliostat-scenarios --all

.PHONY: zero-copy
zero-copy:
	@$(SETUP) build desktop planes
	$(build_for_tests)
	target/debug/heliostat-zero-copy $(if $(SCENARIOS),--only $(SCENARIOS))

.PHONY: image
image:
	@[ '$(origin SITE_KEY)' = undefined ] || [ -n '$(SITE_KEY)' ] || \
	    { echo 'image: SITE_KEY is empty; does heliostat-broker site-key print one?' >&2; exit 1; }
	@$(SETUP) build image
	$(CARGO) build --profile dist -p heliostat-terminal -p heliostat-image
	target/dist/heliostat-image build --profile $(or $(PROFILE),desk-x86) \
	    $(if $(SITE_KEY),--site-key $(SITE_KEY)) \
	    --terminal target/dist/heliostat-terminal --out target/image

PREFIX ?= /usr/local
INSTALLED := heliostat-broker heliostat-session heliostat-greeter heliostat-leave heliostatctl heliostat-image heliostat-pxe heliostat-terminal
# Documents are installed as they lie here, so that their links lead on.
DOCUMENTS := docs docs/adr docs/book/src image/profiles protocol/tiles hil-tests/gpu-rig hil-tests/va-driver
as_root := $(if $(DESTDIR),,$(if $(filter 0,$(shell id -u)),,sudo))

.PHONY: install
install:
	@$(SETUP) build desktop image netboot
	$(CARGO) build --profile dist $(foreach bin,$(INSTALLED),--bin $(bin))
	$(as_root) install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system \
	    $(DESTDIR)$(PREFIX)/share/heliostat/desktop $(DESTDIR)$(PREFIX)/lib/sysusers.d \
	    $(DESTDIR)/etc/heliostat $(DESTDIR)/etc/pam.d
	$(as_root) install $(foreach bin,$(INSTALLED),target/dist/$(bin)) $(DESTDIR)$(PREFIX)/bin
	@for folder in $(DOCUMENTS); do $(as_root) install -D -m 644 \
	    -t $(DESTDIR)$(PREFIX)/share/doc/heliostat/$$folder $$folder/*.md || exit 1; done
	@for unit in server/packaging/heliostat-broker.service pxe/packaging/heliostat-pxe.service; do \
	    sed 's|@bindir@|$(PREFIX)/bin|; s|/usr/share/doc|$(PREFIX)/share/doc|' $$unit | $(as_root) install -m 644 /dev/stdin \
	        $(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/} || exit 1; done
	@for file in $(filter-out %/session.toml,$(wildcard server/desktop/*)); do \
	    sed 's|@desktop@|$(PREFIX)/share/heliostat/desktop|g' $$file | $(as_root) install -m 644 /dev/stdin \
	        $(DESTDIR)$(PREFIX)/share/heliostat/desktop/$${file##*/} || exit 1; done
	@to=$(DESTDIR)/etc/heliostat/session.toml; if [ -e $$to ]; then echo "$$to stays as it is"; else \
	    sed 's|@desktop@|$(PREFIX)/share/heliostat/desktop|g' server/desktop/session.toml | $(as_root) install -m 644 /dev/stdin $$to; fi
	@for file in server/packaging/broker.toml server/packaging/policy.toml pxe/packaging/pxe.toml; do \
	    to=$(DESTDIR)/etc/heliostat/$${file##*/}; \
	    if [ -e $$to ]; then echo "$$to stays as it is"; else $(as_root) install -m 644 $$file $$to; fi; done
	@for file in server/packaging/pam/*; do to=$(DESTDIR)/etc/pam.d/$${file##*/}; \
	    if [ -e $$to ]; then echo "$$to stays as it is"; else $(as_root) install -m 644 $$file $$to; fi; done
	$(as_root) install -m 644 server/packaging/heliostat.sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/heliostat.conf
	@$(if $(DESTDIR),echo 'users: systemd-sysusers makes them where this is unpacked (heliostat-greeter, heliostat-kiosk)', \
	    for user in heliostat-greeter heliostat-kiosk; do getent passwd $$user >/dev/null || \
	    $(as_root) useradd --system --user-group --home-dir /var/lib/$$user --shell /usr/sbin/nologin $$user || exit 1; done)
	@$(if $(DESTDIR),:,$(as_root) $(PREFIX)/bin/heliostat-broker check || true)
	@echo 'installed; next: docs/book/src/first-site.md'

.PHONY: uninstall
uninstall:
	$(as_root) rm -rf $(foreach bin,$(INSTALLED),$(DESTDIR)$(PREFIX)/bin/$(bin)) \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system/heliostat-broker.service \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system/heliostat-pxe.service \
	    $(DESTDIR)$(PREFIX)/lib/sysusers.d/heliostat.conf $(DESTDIR)$(PREFIX)/share/doc/heliostat \
	    $(DESTDIR)$(PREFIX)/share/heliostat
	@echo 'what stays: /etc/heliostat, /etc/pam.d/heliostat*, /var/lib/heliostat, /var/lib/heliostat-pxe, the users'
	@echo 'heliostat-greeter and heliostat-kiosk (userdel removes them), and Debian packages'

.PHONY: bench
bench:
	@$(SETUP) build desktop
	$(CARGO) bench -q -p heliostat-tiles --bench tiles
	$(CARGO) bench -q -p heliostat-session --bench content
	$(CARGO) build --profile dist $(BENCHED)
	@mkdir -p target/bench
	@HELIOSTAT_LOG=error target/dist/hil-bench --systems heliostat \
	    --json target/bench/heliostat.json --table target/bench/heliostat.md
	@HELIOSTAT_LOG=error target/dist/hil-bench --systems heliostat --workloads scroll,drag,video720 --pin \
	    --json target/bench/pinned.json --table target/bench/pinned.md

BENCHED := -p heliostat-broker -p heliostat-session -p heliostatctl -p heliostat-terminal -p hil-bench

.PHONY: bench-peers
bench-peers:
	@$(SETUP) build desktop peers
	$(CARGO) build --profile dist $(BENCHED)
	@mkdir -p target/bench
	@HELIOSTAT_LOG=error target/dist/hil-bench $(if $(SYSTEMS),--systems $(SYSTEMS)) \
	    $(if $(WORKLOADS),--workloads $(WORKLOADS)) $(if $(PIN),--pin) --json target/bench/peers.json --table target/bench/peers.md

LINKED := typing$(comma)typing-photos$(comma)scroll$(comma)drag$(comma)menu$(comma)switch
LINKED := $(LINKED)$(comma)video360$(comma)photo$(comma)connect$(comma)reattach-kept

.PHONY: bench-links
bench-links:
	@$(SETUP) build desktop peers
	$(CARGO) build --profile dist $(BENCHED)
	@mkdir -p target/bench
	@HELIOSTAT_LOG=error target/dist/hil-bench --systems $(or $(SYSTEMS),heliostat$(comma)tigervnc$(comma)waypipe) \
	    --workloads $(or $(WORKLOADS),$(LINKED)) \
	    --links $(or $(LINKS),100mbit$(comma)20mbit$(comma)5mbit$(comma)2mbit) \
	    --json target/bench/links.json --table target/bench/links.md

.PHONY: figures
figures:
	@$(SETUP) build desktop image rig cards
	@$(CARGO) build --profile dist --workspace --bins
	@$(CARGO) build --profile dist -p hil-va-driver
	@target/dist/hil-figures $(if $(ONLY),--only $(ONLY))

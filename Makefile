# Heliostat: the words a newcomer types. `make` lists them.

SHELL := /bin/bash
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
	@echo 'make bench    the benches'
	@echo 'make figures  measure the figures, one JSON line each (ONLY=name,… for some)'
	@echo 'make scenarios  every scenario of the rig (long)'
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
	$(CARGO) run -q -p xtask -- check

.PHONY: unit
unit:
	@$(SETUP) build desktop cards image rig
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace

.PHONY: test
test: check unit
	target/debug/heliostat-scenarios

.PHONY: scenarios
scenarios:
	@$(SETUP) build desktop image rig
	$(CARGO) build --workspace --bins
	target/debug/heliostat-scenarios --all

.PHONY: image
image:
	@$(SETUP) build image
	$(CARGO) build --release -p heliostat-terminal -p heliostat-image
	target/release/heliostat-image build --profile $(or $(PROFILE),desk-x86) \
	    $(if $(SITE_KEY),--site-key $(SITE_KEY)) \
	    --terminal target/release/heliostat-terminal --out target/image

.PHONY: bench
bench:
	@$(SETUP) build desktop
	$(CARGO) bench -q -p heliostat-tiles --bench tiles

.PHONY: figures
figures:
	@$(SETUP) build desktop image rig
	@$(CARGO) build --release --workspace --bins
	@target/release/hil-figures $(if $(ONLY),--only $(ONLY))

# make build | demo | check | conformance | bench | install | fmt | clean — see CONTRIBUTING.md.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build
.PHONY: build release demo images check conformance lint unit plain $(addprefix check-,bookworm trixie sid vm) bench install clean fmt setup setup-vm setup-bench tools

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
SUITES ?= bookworm trixie sid
# The suite of the virtual machine, and what runs in it.
VM ?= trixie
vm_tests := enforced_limits labels validator
# Where the benchmark runs.
BENCH ?= trixie-bench

target_dir := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
triple := $(shell rustc -vV | sed -n 's/^host: //p')
debug := $(target_dir)/$(triple)/debug
optimised := $(target_dir)/$(triple)/release
runner := CARGO_TARGET_$(shell echo $(triple) | tr a-z- A-Z_)_RUNNER
programs := rkt actool stage1 init app-exec
export RKT_DEMO_IMAGES := $(target_dir)/demo

# What demo and check need besides Rust: PACKAGE=A FILE THAT TELLS THAT IT IS THERE.
needs := gcc=/usr/bin/gcc pkg-config=/usr/bin/pkg-config make=/usr/bin/make \
  busybox-static=/bin/busybox debootstrap=/usr/sbin/debootstrap systemd-container=/usr/bin/systemd-nspawn \
  appc-spec=/usr/bin/actool jq=/usr/bin/jq openssl=/usr/bin/openssl xz-utils=/usr/bin/xz zstd=/usr/bin/zstd bzip2=/usr/bin/bzip2 strace=/usr/bin/strace \
  skopeo=/usr/bin/skopeo umoci=/usr/bin/umoci buildah=/usr/bin/buildah podman=/usr/bin/podman docker-registry=/usr/bin/docker-registry \
  gnupg=/usr/bin/gpg nginx=/usr/sbin/nginx dpkg-dev=/usr/bin/dpkg-deb util-linux=/usr/bin/nsenter iproute2=/usr/sbin/ip \
  nftables=/usr/sbin/nft iptables=/usr/sbin/iptables containernetworking-plugins=/usr/lib/cni/bridge

## build: all programs, for development
build:
	$(CARGO) build --workspace --locked

## release: all programs, optimised
release:
	$(CARGO) build --workspace --locked --release --bins

# What the virtual machine and the benchmark need besides.
setup-vm: needs := qemu-system-x86=/usr/bin/qemu-system-x86_64 kmod=/usr/sbin/depmod binutils=/usr/bin/objcopy e2fsprogs=/usr/sbin/mke2fs secilc=/usr/bin/secilc
setup-bench: needs := hyperfine=/usr/bin/hyperfine linux-perf=/usr/bin/perf

## setup: installs from apt what is missing (as root; otherwise says what to install)
setup setup-vm setup-bench:
	@missing=$$(for need in $(needs); do [ -e "$${need#*=}" ] || echo "$${need%%=*}"; done | paste -sd' '); \
	[ -n "$$missing" ] || exit 0; \
	command="apt-get install -y --no-install-recommends $$missing"; \
	if [ "$$(id -u)" != 0 ]; then echo "missing programs; as root: $$command" >&2; exit 1; fi; \
	echo "installing: $$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	$$command || { apt-get update -qq && $$command; }

## tools: builds the cargo commands that check needs, where they are missing
tools:
	@$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-nextest
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny

## images: the demonstration's two images, out of Debian packages
images: setup build
	tests/demo/images "$(debug)/actool" "$(RKT_DEMO_IMAGES)"

## demo: a pod of two apps, nginx and a client, from images made on the spot
demo: images
	tests/demo/demo "$(debug)/rkt" "$(RKT_DEMO_IMAGES)"

## check: everything that must be green
check: setup tools lint unit plain $(addprefix check-,$(SUITES)) check-vm
	@echo "check: all green on the plain machine, in $(SUITES), and in the virtual machine"

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) deny --all-features check licenses bans sources
	@# The advisories come from a server that not every machine reaches; what they say must hold where it answers.
	@if timeout 60 $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny check advisories; \
	else echo "lint: advisories skipped: their database cannot be fetched from here"; fi

unit: build
	$(CARGO) nextest run --workspace --locked --exclude rkt-tests
	$(CARGO) test --workspace --locked --doc --quiet

# The functional tests on this machine, with the launcher that needs no systemd.
plain: images
	@# For the test that starts a machine anew.
	tests/testbed/make-root trixie-reboot
	RKT_TEST_SUPERVISOR=direct $(CARGO) nextest run --locked --profile functional -p rkt-tests

# The same against the systemd of each suite. One after the other: each booted system wants both processors.
$(addprefix check-,bookworm trixie sid): check-%: images
	tests/testbed/testbed boot $*
	status=0; \
	RKT_TEST_SUPERVISOR=systemd $(runner)="$(CURDIR)/tests/testbed/testbed run $* --" \
	    $(CARGO) nextest run --locked --profile $* -p rkt-tests || status=$$?; \
	tests/testbed/testbed stop $*; \
	exit $$status

# What only a kernel with all controllers can show, on both launchers.
check-vm: setup setup-vm build
	$(CARGO) test --no-run --locked --package rkt-tests $(vm_tests:%=--test %) --message-format=json \
	    | jq -r 'select(.executable != null and (.target.kind | index("test"))) | .executable' \
	    | xargs tests/testbed/vm $(VM) "$(debug)"

## conformance: writes docs/conformance.md from the list of requirements and from what tests say that they show
conformance:
	$(CARGO) run --quiet --locked --package rkt-tests --example conformance

## bench: rkt beside its peers, in one run; writes the numbers of docs/performance.md
bench: setup setup-bench release
	tests/testbed/testbed boot $(BENCH)
	status=0; tests/bench/bench "$(BENCH)" "$(optimised)" "$(target_dir)/bench" || status=$$?; \
	tests/testbed/testbed stop $(BENCH); \
	exit $$status

## install: programs, helpers, completions, manual pages and documentation below DESTDIR/PREFIX
share := $(DESTDIR)$(PREFIX)/share
install: release
	install -D -m 0755 -t "$(DESTDIR)$(PREFIX)/bin" "$(optimised)/rkt" "$(optimised)/actool"
	install -D -m 0755 -t "$(DESTDIR)$(PREFIX)/lib/rkt/stage1" "$(optimised)/stage1"
	install -D -m 0755 -t "$(DESTDIR)$(PREFIX)/lib/rkt/stage2" "$(optimised)/init" "$(optimised)/app-exec"
	install -D -m 0644 -t "$(share)/doc/rkt" README.md CHANGELOG.md LICENSE docs/*.md
	install -D -m 0644 -t "$(share)/doc/rkt/examples" units/examples/*
	install -D -m 0644 -t "$(DESTDIR)$(PREFIX)/lib/systemd/network" units/10-rkt.network
	install -D -m 0644 units/bus-limits.conf "$(DESTDIR)/etc/dbus-1/system.d/rkt.conf"
	"$(optimised)/rkt" man "$(share)/man/man1"
	install -d "$(share)/bash-completion/completions" "$(share)/zsh/site-functions" "$(share)/fish/vendor_completions.d"
	"$(optimised)/rkt" completion bash >"$(share)/bash-completion/completions/rkt"
	"$(optimised)/rkt" completion zsh >"$(share)/zsh/site-functions/_rkt"
	"$(optimised)/rkt" completion fish >"$(share)/fish/vendor_completions.d/rkt.fish"

fmt:
	$(CARGO) fmt --all

clean:
	for suite in $(SUITES) $(BENCH); do tests/testbed/testbed stop $$suite; done
	rm -rf --one-file-system "$(target_dir)/testbed" "$(RKT_DEMO_IMAGES)" "$(target_dir)/bench"
	$(CARGO) clean

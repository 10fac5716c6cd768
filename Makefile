# SPDX-License-Identifier: Apache-2.0
# make, make test, make check, make test T=name, make demo, make bench, make lint
# Variables: SAN=1 (AddressSanitizer and UBSan; what they find lies in build/san/reports),
# SAN=thread (ThreadSanitizer), CC=clang, V=1, T=name.

CC      ?= cc
V       ?=
Q       := $(if $(V),,@)
TSAN    := $(filter thread,$(SAN))
O       := build$(if $(SAN),/$(if $(TSAN),t)san)$(if $(filter clang%,$(CC)),/clang)
VERSION := 0.1.0

LIBS_ENGINE := yaml-0.1 libssh libgit2 lua5.4 jansson libssl libcrypto libzstd libxxhash ext2fs com_err libcurl zlib liblzma smartcols
LIBS_AGENT  := jansson libssl libcrypto libzstd libxxhash ext2fs com_err zlib liblzma

comma   := ,
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
HARDEN  := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE
SANFLAGS := -fsanitize=$(if $(TSAN),thread,address$(comma)undefined -fno-sanitize-recover=undefined) -fno-omit-frame-pointer
CFLAGS  ?= -O2 -g -ffunction-sections -fdata-sections
ALLFLAGS := -std=c11 -D_GNU_SOURCE -I. -I$(O) $(WARN) $(CFLAGS) $(if $(SAN),$(SANFLAGS),$(HARDEN)) \
	-DDROVER_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(LIBS_ENGINE) 2>/dev/null)
LDENGINE := $(if $(SAN),$(SANFLAGS),-pie -Wl,-z,relro,-z,now) $(shell pkg-config --libs $(LIBS_ENGINE) 2>/dev/null) -lpthread
LDAGENT  := $(if $(SAN),$(SANFLAGS) $(shell pkg-config --libs $(LIBS_AGENT) 2>/dev/null),\
	-static -Wl,--gc-sections -Wl,--no-warnings $(shell pkg-config --static --libs $(LIBS_AGENT) 2>/dev/null)) -lpthread

MODULES  := $(filter-out modules/lib/%,$(wildcard modules/*/*.c))
MODLIB   := $(wildcard modules/lib/*.c modules/reconfigure/rules/*.c)
SHARED   := $(wildcard engine/base/*.c engine/wire/*.c modules/*.c) $(MODULES) $(MODLIB)
AGENT    := $(filter-out engine/agent/main.c,$(wildcard engine/agent/*.c))
ENGINE   := $(filter-out engine/cli/main.c,$(wildcard $(addprefix engine/,plan/*.c graph/*.c host/*.c state/*.c hook/*.c run/*.c cli/*.c)))
obj       = $(patsubst %.c,$(O)/%.o,$(1))

# As many jobs as there are cores, unless -j says otherwise.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

all: $(O)/drover

$(O)/drover: $(call obj,engine/cli/main.c) $(O)/agent_blob.o $(O)/data.o $(O)/libdrover.a
	@echo "  LINK $@"
	$(Q)$(CC) -o $@ $^ $(LDENGINE)

$(O)/drover-agent: $(call obj,engine/agent/main.c) $(O)/libagent.a
	@echo "  LINK $@"
	$(Q)$(CC) -o $@.tmp $^ $(LDAGENT)
	$(Q)$(if $(SAN),,strip $@.tmp &&) mv $@.tmp $@

$(O)/libagent.a: $(call obj,$(SHARED) $(AGENT)) $(O)/module_table.o
	$(Q)rm -f $@ && ar rcs $@ $^
$(O)/libdrover.a: $(call obj,$(SHARED) $(AGENT) $(ENGINE)) $(O)/module_table.o
	$(Q)rm -f $@ && ar rcs $@ $^

# The table of all modules, from the tree.
$(O)/module_table.c: $(MODULES) Makefile
	@mkdir -p $(@D)
	$(Q){ echo '#include "modules/module.h"'; \
	  for m in $(sort $(MODULES)); do n=$${m#modules/}; n=$${n%.c}; echo "extern const struct module module_$$(echo $$n | tr /- __);"; done; \
	  echo 'const struct module *const modules[] = {'; \
	  for m in $(sort $(MODULES)); do n=$${m#modules/}; n=$${n%.c}; echo "	&module_$$(echo $$n | tr /- __),"; done; \
	  echo '	NULL'; echo '};'; } > $@
$(O)/module_table.o: $(O)/module_table.c
	$(Q)$(CC) $(ALLFLAGS) -c -o $@ $<

# The agent travels inside the engine, as it is and packed for hosts that have zstd (empty where we have none).
$(O)/drover-agent.zst: $(O)/drover-agent
	$(Q)if command -v zstd >/dev/null; then zstd -q -5 -f -o $@ $<; else : >$@; fi
$(O)/agent_blob.o: $(O)/drover-agent $(O)/drover-agent.zst
	$(Q)printf '.section .rodata\n.global drover_agent_blob,drover_agent_blob_end,drover_agent_packed,drover_agent_packed_end\n.balign 16\ndrover_agent_blob:\n.incbin "%s"\ndrover_agent_blob_end:\ndrover_agent_packed:\n.incbin "%s"\ndrover_agent_packed_end:\n.section .note.GNU-stack,"",@progbits\n' $^ > $(O)/agent_blob.s
	$(Q)$(CC) -c -o $@ $(O)/agent_blob.s

# Recipes and the Lua library too: name, text.
DATA := $(sort $(wildcard plans/*.yaml lua/*.lua))
$(O)/data.o: $(DATA) Makefile
	@mkdir -p $(@D)
	$(Q){ i=0; echo '.section .rodata'; for f in $(DATA); do echo "n$$i: .asciz \"$$f\""; echo "t$$i: .incbin \"$$f\""; echo ".byte 0"; i=$$((i+1)); done; \
	  echo '.section .data.rel.ro,"aw"'; echo '.balign 8'; echo '.global drover_data'; echo 'drover_data:'; \
	  i=0; for f in $(DATA); do echo ".quad n$$i, t$$i"; i=$$((i+1)); done; echo '.quad 0, 0'; echo '.section .note.GNU-stack,"",@progbits'; } > $(O)/data.s
	$(Q)$(CC) -c -o $@ $(O)/data.s

$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(ALLFLAGS) -MMD -MP -c -o $@ $<

$(O)/engine/base/mem.o: ALLFLAGS += $(if $(SAN),-DDROVER_REPORTS='"$(abspath $(O))/reports"')

-include $(shell find $(O) -name '*.d' 2>/dev/null)

# ---- packages ------------------------------------------------------------------

deps-%:
	$(Q)./tools/deps $*

# ---- tests ---------------------------------------------------------------------

UNIT    := $(patsubst tests/unit/%.c,$(O)/tests/%,$(wildcard tests/unit/test_*.c))
TESTLIB := $(call obj,$(filter-out $(wildcard tests/unit/test_*.c),$(wildcard tests/unit/*.c)))
$(O)/tests/%: $(O)/tests/unit/%.o $(TESTLIB) $(O)/agent_blob.o $(O)/data.o $(O)/libdrover.a
	@mkdir -p $(@D)
	@echo "  LINK $@"
	$(Q)$(CC) -o $@ $^ $(LDENGINE) -lcmocka
.SECONDARY:

units: $(UNIT)

# The other compiler's opinion of every file.
OBJECTS := $(call obj,$(SHARED) $(AGENT) $(ENGINE) engine/agent/main.c engine/cli/main.c $(wildcard tests/unit/*.c tests/fuzz/*.c))
objects: $(OBJECTS)
clang-check:
	$(Q)$(MAKE) --no-print-directory CC=clang SAN= O=build/clang objects

# All tests; T=name runs one (a file, or a test in it, * allowed), SAN=1 under the sanitizers.
# The first make installs what is missing; the second sees the libraries it installed.
test: deps-test
	$(Q)$(MAKE) --no-print-directory $(O)/drover $(O)/drover-agent units lint $(if $(T),,clang-check)
	$(Q)O=$(O) SAN=$(SAN) T='$(T)' ./tests/run all
check: deps-test
	$(Q)$(MAKE) --no-print-directory $(O)/drover $(O)/drover-agent units lint
	$(Q)O=$(O) SAN=$(SAN) T='$(T)' ./tests/run quick
lint:
	$(Q)./tests/lint
# What comes from outside, under libFuzzer; FUZZ_S seconds each, FUZZ="yaml ext" for some.
fuzz: deps-test
	$(Q)$(MAKE) --no-print-directory CC=clang SAN=1 O=build/fuzz CFLAGS="-O1 -g -fsanitize=fuzzer-no-link" build/fuzz/fuzz
	$(Q)tests/fuzz/run build/fuzz/fuzz $(FUZZ)
$(O)/fuzz: $(O)/tests/fuzz/fuzz.o $(O)/agent_blob.o $(O)/data.o $(O)/libdrover.a
	@echo "  LINK $@"
	$(Q)$(CC) -fsanitize=fuzzer -o $@ $^ $(LDENGINE)
demo: deps-demo
	$(Q)$(MAKE) --no-print-directory $(O)/drover
	$(Q)DROVER=$(abspath $(O)/drover) ./examples/demo/demo
# A shell beside the demo's server, to try things by hand (README, the tour).
tour: deps-demo
	$(Q)$(MAKE) --no-print-directory $(O)/drover
	$(Q)DROVER=$(abspath $(O)/drover) ./examples/demo/demo shell
bench: deps-bench
	$(Q)$(MAKE) --no-print-directory $(O)/drover $(O)/drover-agent
	$(Q)O=$(O) ./tests/bench/run
# The data plane beside those who copy disks; takes long (SIZE=1024 is shorter).
bench-stream: deps-bench
	$(Q)$(MAKE) --no-print-directory $(O)/drover $(O)/drover-agent
	$(Q)O=$(O) ./tests/bench/run data
	$(Q)O=$(O) ./tests/bench/run far
# Passes that read what was written, and the downtime of a cutover: half an hour (SIZES=4 is shorter).
bench-cutover: deps-bench
	$(Q)$(MAKE) --no-print-directory $(O)/drover $(O)/drover-agent
	$(Q)O=$(O) ./tests/bench/run passes
	$(Q)O=$(O) ./tests/bench/run downtime

PREFIX ?= /usr/local
install: $(O)/drover
	install -D -m 755 $(O)/drover $(DESTDIR)$(PREFIX)/bin/drover
	for p in docs/man/*.[1-9]; do install -D -m 644 $$p $(DESTDIR)$(PREFIX)/share/man/man$${p##*.}/$${p##*/}; done
clean:
	rm -rf build

.PHONY: all units objects clang-check test check lint fuzz demo tour bench bench-stream bench-cutover install clean

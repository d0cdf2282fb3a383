# Eaves.  `make run` starts a combined server; `make check` proves the tree.  docs/building.md has
# the other targets.  FLAVOUR: release (default), asan, tsan, oom, fuzz; each has its own build folder.

FLAVOUR ?= release
CC_release := gcc
CC_asan := gcc
CC_tsan := gcc
CC_fuzz := clang
CC := $(or $(CC_$(FLAVOUR)),gcc)
B := build/$(FLAVOUR)

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wpointer-arith -Werror
FLAGS_release := -O2
FLAGS_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan := -O1 -fsanitize=thread -fno-omit-frame-pointer
FLAGS_fuzz := -O1 -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
HARDEN := -fstack-protector-strong -fPIE
CFLAGS := -std=gnu11 -g -D_GNU_SOURCE -pthread $(WARN) $(HARDEN) $(FLAGS_$(FLAVOUR)) $(EXTRA)
CPPFLAGS := -I. -I$(B)
LDFLAGS := -pthread -pie -Wl,--as-needed -Wl,-z,relro,-z,now $(FLAGS_$(FLAVOUR))
LDLIBS = -lzmq -lhiredis -losipparser2 -levent_core -levent_extra -levent_openssl -levent_pthreads -lcares -lssl -lcrypto \
	-lsqlite3 -lcyaml -lyaml -lprotobuf-c -lm

# One archive an area, and what each may stand on: the floors of the house, at link time too
# (tests/lint/floors has them for includes).
NEEDS_common/base :=
NEEDS_proto :=
NEEDS_common/sip := common/base
NEEDS_common/loop := common/base
NEEDS_common/conf := common/sip common/base
NEEDS_common/metrics := common/base
NEEDS_common/net := common/poison common/sip common/loop common/base
NEEDS_common/dns := common/loop common/base
NEEDS_common/store := common/loop common/base
NEEDS_common/txn := common/sip common/base
NEEDS_common/auth := common/sip common/base
NEEDS_common/records := common/store common/loop common/metrics common/base
NEEDS_common/directory := common/records common/auth proto common/store common/metrics common/sip common/base
NEEDS_common/bus := common/loop common/base
NEEDS_common/cluster := common/bus common/records proto common/store common/metrics common/loop common/base
NEEDS_common/phones := common/cluster common/records proto common/bus common/store common/metrics common/loop common/sip common/base
NEEDS_common/flow := common/sip common/base
NEEDS_common/poison := common/base
NEEDS_common/locate := common/dns common/sip common/loop common/base
NEEDS_common/admin := common/metrics common/loop common/base
NEEDS_common/proxy := common/locate common/txn common/dns common/loop common/poison common/sip common/base
NEEDS_common/journal := common/proxy proto $(NEEDS_common/proxy)
NEEDS_common/stack := common/net common/poison common/dns $(NEEDS_common/proxy) common/proxy
NEEDS_common/app := common/phones common/cluster common/bus common/directory proto common/stack common/flow common/admin common/conf common/records common/store common/auth common/metrics \
	$(NEEDS_common/stack)
NEEDS_home/registrar := common/records common/flow proto common/store common/metrics common/sip common/base
NEEDS_home := home/registrar common/journal common/directory proto common/app $(NEEDS_common/app)
NEEDS_edge := common/app $(NEEDS_common/app)
AREAS := $(patsubst NEEDS_%,%,$(filter NEEDS_%,$(.VARIABLES)))

PROTO_SRC := $(wildcard proto/*.proto)
PROTO_GEN := $(PROTO_SRC:proto/%.proto=$(B)/proto/%.pb-c.c)
src_of = $(filter-out common/app/main.c common/admin/eavesctl.c,$(wildcard $(1)/*.c))
obj_of = $(patsubst %.c,$(B)/%.o,$(call src_of,$(1))) $(if $(filter proto,$(1)),$(PROTO_GEN:.c=.o))
lib_of = $(B)/lib/$(subst /,_,$(1)).a

.PHONY: all run cluster check unit clean FORCE
.SECONDARY:
.DELETE_ON_ERROR:
all: $(B)/eaves-combined $(B)/eaves-edge $(B)/eaves-home $(B)/eavesctl

# A combined server with two demo users, in the foreground.
run:
	@deploy/deps.sh run
	@$(MAKE) --no-print-directory -s -j2 all
	@deploy/demo.sh $(B)

# Redis, two edges and two pairs of homes on loopback, two phones and a call; Ctrl-C stops it.
cluster:
	@deploy/deps.sh cluster
	@$(MAKE) --no-print-directory -s -j2 all $(B)/bench/sipload
	@deploy/cluster.sh $(B)

define area_rules
$(call lib_of,$(1)): $(call obj_of,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach a,$(AREAS),$(eval $(call area_rules,$(a))))

$(B)/%.o: %.c | $(PROTO_GEN:.c=.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
# A tag or a commit: its one file is compiled anew when it is another.
VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),unknown)
$(B)/version: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' >$@
$(B)/common/base/version.o: $(B)/version
$(B)/common/base/version.o: CPPFLAGS += -DEAVES_VERSION='"$(VERSION)"'
$(B)/proto/%.pb-c.o: CFLAGS := $(filter-out -Werror,$(CFLAGS))
$(B)/proto/%.pb-c.o: $(B)/proto/%.pb-c.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(B)/proto/%.pb-c.c $(B)/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	protoc-c --proto_path=proto --c_out=$(B)/proto $<

LIBS_ALL := $(foreach a,$(AREAS),$(call lib_of,$(a)))
# Roles register themselves (common/app/role.h): they are linked whole.
ROLES_eaves-combined := edge home
ROLES_eaves-edge := edge
ROLES_eaves-home := home
define program_rules
$(B)/$(1): $(B)/common/app/main.o $(LIBS_ALL)
	$$(CC) $$(LDFLAGS) -o $$@ $$< -Wl,--whole-archive $(foreach r,$(ROLES_$(1)),$(call lib_of,$(r))) -Wl,--no-whole-archive \
		-Wl,--start-group $(LIBS_ALL) -Wl,--end-group $$(LDLIBS)
endef
$(foreach p,eaves-combined eaves-edge eaves-home,$(eval $(call program_rules,$(p))))
$(B)/eavesctl: $(B)/common/admin/eavesctl.o $(call lib_of,common/base)
	$(CC) $(LDFLAGS) -o $@ $^

export TSAN_OPTIONS ?= suppressions=$(CURDIR)/tests/tsan.supp

# Unit tests: tests/unit/<area>/test_x.c is one program, linked with its area and what that needs.
TESTS := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c))
define test_rules
$(B)/tests/$(1): area := $(patsubst %/,%,$(dir $(1)))
$(B)/tests/$(1): $(B)/tests/unit/$(1).o $(foreach a,$(patsubst %/,%,$(dir $(1))) $(NEEDS_$(patsubst %/,%,$(dir $(1)))),$(call lib_of,$(a)))
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LDLIBS) -lcheck -lsubunit -lrt -lm
endef
$(foreach t,$(TESTS),$(eval $(call test_rules,$(t))))
$(B)/tests/unit/%.o: tests/unit/%.c | $(PROTO_GEN:.c=.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# unit: all of them; unit-common/txn: those of one area.
unit: $(addprefix $(B)/tests/,$(TESTS))
	@r=0; for t in $^; do echo "== $$t"; $$t || r=1; done; exit $$r
define unit_area_rule
.PHONY: unit-$(1)
unit-$(1): $(addprefix $(B)/tests/,$(filter $(1)/test_%,$(TESTS)))
	@r=0; for t in $$^; do echo "== $$$$t"; $$$$t || r=1; done; exit $$$$r
endef
$(foreach a,$(AREAS),$(eval $(call unit_area_rule,$(a))))

clean:
	rm -rf build

include $(wildcard tests/*.mk tests/*/*.mk)
-include $(shell find $(B) -name '*.d' 2>/dev/null)

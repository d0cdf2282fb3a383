# System tests: real processes on loopback, driven by Debian's pytest.  FLAVOUR=asan and tsan run
# the same against those builds.  T=-k\ words picks some.

EAVES_TIMEOUT_asan := 15
EAVES_TIMEOUT_tsan := 20

.PHONY: system next
# The node's programs as of a next version of the bus's protocol (tests of mixed clusters).
NEXT_OBJ := $(patsubst %.c,$(B)/next/%.o,$(wildcard common/cluster/*.c))
NEXT_LIBS := $(filter-out $(call lib_of,common/cluster),$(LIBS_ALL)) $(B)/next/common_cluster.a
$(B)/next/%.o: %.c | $(PROTO_GEN:.c=.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DCLUSTER_VERSION=3 $(CFLAGS) -MMD -MP -c -o $@ $<
$(B)/next/common_cluster.a: $(NEXT_OBJ)
	@rm -f $@
	ar rcs $@ $^
define next_rules
$(B)/next/$(1): $(B)/common/app/main.o $(NEXT_LIBS)
	$$(CC) $$(LDFLAGS) -o $$@ $$< -Wl,--whole-archive $(foreach r,$(ROLES_$(1)),$(call lib_of,$(r))) -Wl,--no-whole-archive \
		-Wl,--start-group $(NEXT_LIBS) -Wl,--end-group $$(LDLIBS)
endef
$(foreach p,eaves-edge eaves-home,$(eval $(call next_rules,$(p))))
next: $(B)/next/eaves-edge $(B)/next/eaves-home

system: all
	EAVES_BIN=$(B) EAVES_TIMEOUT=$(or $(EAVES_TIMEOUT_$(FLAVOUR)),5) \
		/usr/bin/python3 -m pytest -q -p no:cacheprovider tests/system $(T)

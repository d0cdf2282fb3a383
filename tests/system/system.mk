# System tests: real processes on loopback, driven by Debian's pytest.  FLAVOUR=asan and tsan run
# the same against those builds.  T=-k\ words picks some.

EAVES_TIMEOUT_asan := 15
EAVES_TIMEOUT_tsan := 20

.PHONY: system next old
# Tests of mixed clusters: the node's programs as of the next version of the bus's protocol ...
NEXT_VERSION = $(shell awk '$$2 == "CLUSTER_VERSION" && $$3 { print $$3 + 1 }' common/cluster/cluster_priv.h)
NEXT_OBJ := $(patsubst %.c,$(B)/next/%.o,$(wildcard common/cluster/*.c))
NEXT_LIBS := $(filter-out $(call lib_of,common/cluster),$(LIBS_ALL)) $(B)/next/common_cluster.a
$(B)/next/%.o: %.c | $(PROTO_GEN:.c=.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -DCLUSTER_VERSION=$(NEXT_VERSION) $(CFLAGS) -MMD -MP -c -o $@ $<
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

# ... and as they were: the last commit with the version of the protocol before ours.  Whatever the
# FLAVOUR is they are plain ones.  Where the commit is missing (a shallow clone, no clone at all)
# there are none, and the tests that want them are skipped with what is said here.
UPGRADE_FROM := fc3bcac0e37f2fd42d6767162c208fc0b6b667f6
OLD := build/old
OLD_PROGRAMS := build/release/eaves-edge build/release/eaves-home
old:
	@if git cat-file -e '$(UPGRADE_FROM)^{commit}' 2>/dev/null; then \
		$(MAKE) --no-print-directory $(OLD)/$(UPGRADE_FROM); \
	else \
		rm -rf $(OLD); \
		echo 'commit $(UPGRADE_FROM) is not in this clone (git fetch --unshallow): no old programs'; \
	fi
$(OLD)/$(UPGRADE_FROM):
	@rm -rf $(OLD)
	@mkdir -p $(OLD)/src
	git archive -o $(OLD)/src.tar $(UPGRADE_FROM) Makefile common edge home proto
	tar -xf $(OLD)/src.tar -C $(OLD)/src
	$(MAKE) -C $(OLD)/src FLAVOUR=release EXTRA= VERSION=$$(git describe --tags --always $(UPGRADE_FROM)) $(OLD_PROGRAMS)
	cp $(addprefix $(OLD)/src/,$(OLD_PROGRAMS)) $(OLD)
	@rm $(OLD)/src.tar
	@touch $@

system: all
	EAVES_BIN=$(B) EAVES_TIMEOUT=$(or $(EAVES_TIMEOUT_$(FLAVOUR)),5) \
		/usr/bin/python3 -m pytest -q -rs -p no:cacheprovider tests/system $(T)

# make oom: every scenario (tests/oom/oom_*.c, one program each) with each allocation failing in
# turn, under ASan and UBSan.  make oom-one T=txn: one.  OOM_TRACE=n shows where the n-th is.
.PHONY: oom oom-one oom-run

OOM := $(patsubst tests/oom/oom_%.c,%,$(wildcard tests/oom/oom_*.c))
OOM_WRAP := malloc calloc realloc reallocarray posix_memalign aligned_alloc free strdup strndup asprintf vasprintf

define oom_rules
$(B)/oom/$(1): $(B)/tests/oom/oom_$(1).o $(B)/tests/oom/fail.o $(call libs_of,tests/oom/oom_$(1).c)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) $(foreach f,$(OOM_WRAP),-Wl,--wrap=$(f)) -o $$@ $$(filter %.o,$$^) \
		-Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LDLIBS)
endef
$(foreach t,$(OOM),$(eval $(call oom_rules,$(t))))

oom:
	@$(MAKE) --no-print-directory FLAVOUR=asan oom-run
oom-one:
	@$(MAKE) --no-print-directory FLAVOUR=asan oom-run OOM=$(T)
oom-run: $(OOM:%=$(B)/oom/%)
	@r=0; for t in $^; do $$t || r=1; done; exit $$r

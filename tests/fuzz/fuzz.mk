# make fuzz SECONDS=60: each target for its share of the time, by libFuzzer with ASan and UBSan;
# what it finds new is kept in build/fuzz/corpus, a crash in build/fuzz/crash-*.
# make fuzz-replay: the corpus of the tree through each target, under gcc's ASan and UBSan.
# make fuzz-one T=msg SECONDS=600: one target.  A target is linked with the areas that it includes.
.PHONY: fuzz fuzz-one fuzz-replay fuzz-run fuzz-run-one fuzz-replay-run

FUZZ := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS = $(or $(SECONDS),60)

# Areas that a C file of the tests includes, with what these need.
areas_of = $(foreach a,$(shell sed -n 's/^.include "\(common\|home\|edge\)\(\/[^"]*\)\?\/[^"\/]*"/\1\2/p' $(1) | sort -u),$(a) $(NEEDS_$(a)))
libs_of = $(foreach a,$(sort $(call areas_of,$(1))),$(call lib_of,$(a)))

define fuzz_rules
$(B)/fuzz/$(1): $(B)/tests/fuzz/fuzz_$(1).o $(call libs_of,tests/fuzz/fuzz_$(1).c)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -fsanitize=fuzzer -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LDLIBS)
$(B)/fuzz-replay/$(1): $(B)/tests/fuzz/fuzz_$(1).o $(B)/tests/fuzz/replay_main.o $(call libs_of,tests/fuzz/fuzz_$(1).c)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LDLIBS)
endef
$(foreach t,$(FUZZ),$(eval $(call fuzz_rules,$(t))))

fuzz:
	@$(MAKE) --no-print-directory FLAVOUR=fuzz fuzz-run FUZZ_SECONDS=$(FUZZ_SECONDS)
fuzz-one:
	@$(MAKE) --no-print-directory FLAVOUR=fuzz fuzz-run FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ=$(T)
fuzz-replay:
	@$(MAKE) --no-print-directory FLAVOUR=asan fuzz-replay-run

FUZZ_OPTIONS = -max_len=4096 -timeout=5 -rss_limit_mb=1024 -artifact_prefix=$(B)/crash- -print_final_stats=1 -verbosity=0
fuzz-run: $(FUZZ:%=$(B)/fuzz/%)
	@set -e; n=$(words $(FUZZ)); each=$$(( ($(FUZZ_SECONDS) + n - 1) / n )); \
	for t in $(FUZZ); do \
		mkdir -p $(B)/corpus/$$t; \
		extra=; test -f tests/fuzz/$$t.dict && extra=-dict=tests/fuzz/$$t.dict; \
		echo "== fuzz $$t, $$each s"; \
		$(B)/fuzz/$$t $(FUZZ_OPTIONS) $$extra -max_total_time=$$each $(B)/corpus/$$t tests/fuzz/corpus/$$t \
			2>&1 | tee $(B)/$$t.log | grep -E "^(==[0-9]|SUMMARY|artifact|stat::number_of_exec|stat::average)" || true; \
		! grep -qE 'ERROR: |SUMMARY: ' $(B)/$$t.log; \
	done
fuzz-replay-run: $(FUZZ:%=$(B)/fuzz-replay/%)
	@r=0; for t in $(FUZZ); do $(B)/fuzz-replay/$$t tests/fuzz/corpus/$$t || r=1; done; exit $$r

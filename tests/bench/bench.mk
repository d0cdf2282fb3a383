# Benchmarks: run.py's head says how.  A whole run takes some 40 minutes, `tiers` and `scale` some
# 10 each.

.PHONY: bench
# BENCH: run.py's options, as in make bench BENCH="--quick".
bench: $(B)/eaves-combined $(B)/eaves-edge $(B)/eaves-home $(B)/eavesctl $(B)/bench/sipload $(B)/bench/floor
	python3 tests/bench/run.py --build $(B) $(BENCH)

$(B)/bench/sipload: $(wildcard tests/bench/sipload/*.c) $(wildcard tests/bench/sipload/*.h)
	@mkdir -p $(@D)
	cc -std=gnu11 -D_GNU_SOURCE -O2 $(WARN) -I. -o $@ $(filter %.c,$^) -lcrypto
$(B)/bench/floor: tests/bench/floor.c
	@mkdir -p $(@D)
	cc -std=gnu11 -D_GNU_SOURCE -O2 $(WARN) -o $@ $<

# Instructions a message over a fixed replay, against tests/bench/instructions.txt.  The counts
# depend on compiler and C library (Debian 12's): `make bench-instructions BASELINE=--write`.
.PHONY: bench-instructions
bench-instructions: $(B)/bench/instructions
	tests/bench/instructions.sh $< tests/bench/instructions.txt $(BASELINE)

$(B)/bench/instructions: $(B)/tests/bench/instructions.o $(call lib_of,common/proxy) $(foreach a,$(NEEDS_common/proxy),$(call lib_of,$(a)))
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)
$(B)/tests/bench/%.o: tests/bench/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

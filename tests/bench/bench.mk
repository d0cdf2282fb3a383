# Benchmarks against Kamailio: run.py's head says how.  A whole run takes some 20 minutes.

.PHONY: bench
# BENCH: run.py's options, as in make bench BENCH="--quick".
bench: $(B)/eaves-combined $(B)/eavesctl $(B)/bench/sipload $(B)/bench/floor
	python3 tests/bench/run.py --build $(B) $(BENCH)

$(B)/bench/sipload: $(wildcard tests/bench/sipload/*.c) tests/bench/sipload/sipload.h
	@mkdir -p $(@D)
	cc -std=gnu11 -D_GNU_SOURCE -O2 $(WARN) -I. -o $@ $(filter %.c,$^) -lcrypto
$(B)/bench/floor: tests/bench/floor.c
	@mkdir -p $(@D)
	cc -std=gnu11 -D_GNU_SOURCE -O2 $(WARN) -o $@ $<

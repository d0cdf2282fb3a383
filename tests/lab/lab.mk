# The lab: real processes in network namespaces.  README.md here says what it does.

.PHONY: lab
$(B)/lab/crowd: $(wildcard tests/lab/crowd/*.c tests/lab/crowd/*.h) tests/bench/sipload/text.c tests/bench/sipload/digest.c tests/bench/sipload/text.h
	@mkdir -p $(@D)
	cc -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -I. -o $@ $(filter %.c,$^) -lssl -lcrypto

# The lab: real processes in network namespaces.  README.md here says what it does.

PEER ?= both
FAULTS ?= setup,kill,power,stop,drain,stranded,random,streams,partition,sipp
ROUNDS ?= 10
.PHONY: lab lab-smoke
lab: all $(B)/lab/crowd
	@deploy/deps.sh lab
	/usr/bin/python3 tests/lab/lab.py run --build $(B) --peer $(PEER) --faults $(FAULTS) --rounds $(ROUNDS) $(LAB)
lab-smoke: all $(B)/lab/crowd
	/usr/bin/python3 tests/lab/lab.py smoke --build $(B) $(LAB)

$(B)/lab/crowd: $(wildcard tests/lab/crowd/*.c tests/lab/crowd/*.h) tests/bench/sipload/text.c tests/bench/sipload/digest.c tests/bench/sipload/text.h
	@mkdir -p $(@D)
	cc -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -I. -o $@ $(filter %.c,$^) -lssl -lcrypto

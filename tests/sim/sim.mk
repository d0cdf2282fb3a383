# The simulator: the product's objects from common/app up with another rim (tests/sim/README.md).
.PHONY: sim sim-one sim-check

SIM_RIM := common/net common/dns common/loop common/bus common/store common/admin
SIM_LIBS := $(foreach a,$(filter-out $(SIM_RIM),$(AREAS)),$(call lib_of,$(a)))
# Of the store all that is the client of Redis, but its connection.
SIM_REDIS := $(filter-out %/redis_link.c,$(wildcard common/store/redis*.c)) common/store/queue.c
# Of admin all but its ports.
SIM_ADMIN := common/admin/admin.c common/admin/later.c
SIM_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/*.c) $(SIM_REDIS) $(SIM_ADMIN))
SIM_WRAP := mac_random getifaddrs freeifaddrs pthread_self mallopt open fstat read pwrite close mkdir redis_load_now
SIM_LDLIBS := -lhiredis -losipparser2 -lcrypto -lcyaml -lyaml -lprotobuf-c -lm

$(B)/sim: $(SIM_OBJ) $(SIM_LIBS)
	$(CC) $(LDFLAGS) $(foreach f,$(SIM_WRAP),-Wl,--wrap=$(f)) -o $@ $(SIM_OBJ) \
		-Wl,--whole-archive $(call lib_of,edge) $(call lib_of,home) -Wl,--no-whole-archive \
		-Wl,--start-group $(SIM_LIBS) -Wl,--end-group $(SIM_LDLIBS)

# make sim SEEDS=1000: that many random runs, with faults and trouble of the network; SEED=n: from
# there on.  make sim-one FLOW=forked NODE=h1a AT=20 FAULT=kill: one run with its ladder.
# make sim-check: what make check runs.  SIM="--flow forked" adds options to each.
SEEDS ?= 1000
SEED ?= 1
SIM_FAULTS := kill,restart,cut,off,stop,peers,deaf,drain,wipe
# make sim-check SIM_BRIEF= : flows that are others by other ways with faults of all, half a minute more.
SIM_BRIEF := --brief
# Phones far away: what they repeat comes when others have found out, or before.
SIM_FAR := --wan 60 --faults kill,restart,cut,stop,drain
SIM_FAR_FLOWS := answered-tcp-called home-tcp-reinvite
SIM_ALL := kill,restart,cut,off,reboot,stop,peers,deaf,dumb,drain,roll,wipe
# A moment without a word, where somebody may miss it and somebody not.
SIM_BLINK_FLOWS := forked serial cancelled answered-tcp-called home-tcp-forked home-tcp-serial home-tcp-caller \
	home-tcp-cancelled home-tcp-to-edge home-tcp-serial-refused edge-to-home-forked forked-tcp
# How long each moment is, the seed says.
SIM_BLINK_SEEDS := 1 4
# The service address goes to the other member, and the node lives on.
SIM_MOVE_FLOWS := cancelled-tcp rejected-tcp home-tcp-cancelled home-tcp-other-cancelled home-tcp-forked
# Two members of a pair that do not hear each other, where one could take over from the other.
SIM_TWIN_FLOWS := forked serial serial-rejected forked-cancelled forked-rejected home-tcp-serial
# Phones whose edge has not their address any more.
SIM_MOVED := --faults kill,restart,cut,stop,peers,drain --flow moved
# Nodes that meet, and what one asks another: every message of the bus is a boundary (FLOW_BUS).
# SIM_POINTS= has all of them, two minutes more.
SIM_BUS_FLOWS := join edge-joins repair ask
SIM_POINTS := --points 30
# What leaves nowhere, at some boundaries of every flow; SIM_FAULTS=dumb has all.
SIM_DUMB := --faults dumb --points 6
# An hour without Redis, in the middle of which a node dies, for good or for a second.
SIM_HOUR := --faults kill,restart --points 1
SIM_CLUSTER := $(B)/sim --topology cluster --dir $(B)/sim-failed
sim: $(B)/sim
	$(SIM_CLUSTER) --faults $(SIM_ALL),blink --seeds $(SEEDS) --seed $(SEED) $(SIM)
sim-one: $(B)/sim
	$(SIM_CLUSTER) --one --flow $(FLOW) $(if $(NODE),--node $(NODE)) $(if $(AT),--at $(AT)) \
		$(if $(FAULT),--fault $(FAULT)) --seed $(SEED) $(SIM)
# Seed 285 is two faults at the same time that are not promised: the datagram of an INVITE is lost,
# and its home when the 100 has left (docs/cluster.md).  The last ones are to fail.
sim-check: $(B)/sim
	@r=0; $(B)/sim --dir $(B)/sim-failed $(SIM) || r=1; \
	$(B)/sim --seeds 300 --dir $(B)/sim-failed $(SIM) || r=1; \
	$(SIM_CLUSTER) --faults $(SIM_FAULTS) $(SIM_BRIEF) $(SIM) || r=1; \
	for f in $(SIM_FAR_FLOWS); do $(SIM_CLUSTER) $(SIM_FAR) --flow $$f $(SIM) || r=1; done; \
	for s in $(SIM_BLINK_SEEDS); do for f in $(SIM_BLINK_FLOWS); do \
		$(SIM_CLUSTER) --faults blink --seed $$s --flow $$f $(SIM_BRIEF) $(SIM) || r=1; done; done; \
	for f in $(SIM_MOVE_FLOWS); do $(SIM_CLUSTER) --faults move --flow $$f $(SIM_BRIEF) $(SIM) || r=1; done; \
	for f in $(SIM_TWIN_FLOWS); do $(SIM_CLUSTER) --faults twin --flow $$f $(SIM) || r=1; done; \
	$(SIM_CLUSTER) $(SIM_MOVED) $(SIM_BRIEF) $(SIM) || r=1; \
	$(SIM_CLUSTER) $(SIM_DUMB) $(SIM_BRIEF) $(SIM) || r=1; \
	for f in $(SIM_BUS_FLOWS); do $(SIM_CLUSTER) --faults kill,restart,cut $(SIM_POINTS) --flow $$f $(SIM) || r=1; done; \
	$(SIM_CLUSTER) $(SIM_HOUR) --flow hour --brief $(SIM) || r=1; \
	$(SIM_CLUSTER) --seeds 300 $(SIM) || r=1; \
	$(SIM_CLUSTER) --faults $(SIM_ALL) --seeds 400 --seed 286 $(SIM) || r=1; \
	tests/sim/must_fail.sh $(B)/sim $(B)/sim-must-fail || r=1; exit $$r

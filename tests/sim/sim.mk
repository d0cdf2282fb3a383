# The simulator: the product's objects from common/app up with another rim (tests/sim/README.md).
.PHONY: sim sim-one sim-check

SIM_RIM := common/net common/dns common/loop common/bus common/store common/admin
SIM_LIBS := $(foreach a,$(filter-out $(SIM_RIM),$(AREAS)),$(call lib_of,$(a)))
SIM_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/*.c))
SIM_WRAP := mac_random getifaddrs freeifaddrs pthread_self mallopt open fstat read close mkdir
SIM_LDLIBS := -losipparser2 -lcrypto -lcyaml -lyaml -lprotobuf-c -lm

$(B)/sim: $(SIM_OBJ) $(SIM_LIBS)
	$(CC) $(LDFLAGS) $(foreach f,$(SIM_WRAP),-Wl,--wrap=$(f)) -o $@ $(SIM_OBJ) \
		-Wl,--whole-archive $(call lib_of,edge) $(call lib_of,home) -Wl,--no-whole-archive \
		-Wl,--start-group $(SIM_LIBS) -Wl,--end-group $(SIM_LDLIBS)

# make sim SEEDS=1000: that many random runs, with trouble of the network; SEED=n: from there on.
# make sim-one FLOW=answered NODE=eaves AT=7 FAULT=restart: one run with its ladder.
# make sim-check: what make check runs.  SIM="--flow forked" adds options to each.
SEEDS ?= 1000
SEED ?= 1
sim: $(B)/sim
	$(B)/sim --seeds $(SEEDS) --seed $(SEED) --dir $(B)/sim-failed $(SIM)
sim-one: $(B)/sim
	$(B)/sim --one --flow $(FLOW) $(if $(NODE),--node $(NODE)) $(if $(AT),--at $(AT)) \
		$(if $(FAULT),--fault $(FAULT)) --seed $(SEED) $(SIM)
sim-check: $(B)/sim
	@r=0; ! $(B)/sim --one --flow answered --node eaves --at 6 --fault kill >/dev/null \
		|| { echo "FAILED: a server that dies is not missed"; r=1; }; \
	$(B)/sim --dir $(B)/sim-failed $(SIM) || r=1; \
	$(B)/sim --seeds 300 --dir $(B)/sim-failed $(SIM) || r=1; exit $$r

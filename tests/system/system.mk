# System tests: real processes on loopback, driven by Debian's pytest.  FLAVOUR=asan and tsan run
# the same against those builds.  T=-k\ words picks some.

EAVES_TIMEOUT_asan := 15
EAVES_TIMEOUT_tsan := 20

.PHONY: system
system: all
	EAVES_BIN=$(B) EAVES_TIMEOUT=$(or $(EAVES_TIMEOUT_$(FLAVOUR)),5) \
		/usr/bin/python3 -m pytest -q -p no:cacheprovider tests/system $(T)

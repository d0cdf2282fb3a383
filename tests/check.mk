# make check: everything that proves the tree, as CI runs it; tests/README.md says what.
# STEPS="unit lint" picks some; the logs are in build/check.
.PHONY: check
check:
	@deploy/deps.sh check
	@tests/check.sh $(STEPS)

# make reference: docs/configuration.md from the schema; `make check` sees to it that it is up to date.
.PHONY: reference
reference: $(B)/eaves-combined
	$< --reference >docs/configuration.md

# `make vectors`: prints the table of vectors (tests/vectors/vectors.h) for tests in other languages.
.PHONY: vectors
vectors: $(B)/tests/vectors-dump
	@$<
$(B)/tests/vectors-dump: tests/vectors/dump.c tests/vectors/vectors.h $(wildcard tests/vectors/*.inc)
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

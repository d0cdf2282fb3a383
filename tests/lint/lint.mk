# make lint: the house rules; format-check and format: clang-format.
.PHONY: lint lint-rules format-check format

C_FILES = $(shell find common edge home proto tests -name '*.[ch]' 2>/dev/null | sort)

lint: lint-rules format-check
lint-rules:
	@python3 tests/lint/test_lint.py -q
	@python3 tests/lint/lint.py
format-check:
	@clang-format --dry-run -Werror $(C_FILES)
format:
	clang-format -i $(C_FILES)

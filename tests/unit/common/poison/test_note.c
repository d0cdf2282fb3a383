/*
 * Notes, lines and items: what is written is read back, what is not ours is refused.
 */
#include "common/poison/poison.h"

#include "tests/unit/unit.h"

#include <errno.h>

static const struct mac_key key = {5, 6}, other = {5, 7};
static const struct poison_item sample = {0x0123456789abcdefu, 1700000000123u};

START_TEST(a_note_is_read_back)
{
	char note[POISON_NOTE_BYTES];
	struct poison_item v;
	unsigned node;
	poison_note_write(&key, 17, &sample, note);
	ck_assert_int_eq(poison_note_read(&key, span_of(note, sizeof(note)), &node, &v), 0);
	ck_assert_uint_eq(node, 17);
	ck_assert_uint_eq(v.fingerprint, sample.fingerprint);
	ck_assert_uint_eq(v.at_ms, sample.at_ms);
}
END_TEST

START_TEST(a_note_is_nothing_with_a_bit_changed)
{
	char note[POISON_NOTE_BYTES + 1];
	struct poison_item v;
	unsigned node;
	poison_note_write(&key, 17, &sample, note);
	for (unsigned bit = 0; bit < 8 * POISON_NOTE_BYTES; bit++) {
		note[bit / 8] ^= (char)(1 << bit % 8);
		ck_assert_int_lt(
			poison_note_read(&key, span_of(note, POISON_NOTE_BYTES), &node, &v), 0);
		note[bit / 8] ^= (char)(1 << bit % 8);
	}
	ck_assert_int_eq(poison_note_read(&other, span_of(note, POISON_NOTE_BYTES), &node, &v),
			 -EPERM);
	ck_assert_int_eq(
		poison_note_read(&key, span_of(note, POISON_NOTE_BYTES - 1), &node, &v),
		-EBADMSG);
	ck_assert_int_eq(
		poison_note_read(&key, span_of(note, POISON_NOTE_BYTES + 1), &node, &v),
		-EBADMSG);
	ck_assert_int_eq(poison_note_read(&key, span_of(NULL, 0), &node, &v), -EBADMSG);
}
END_TEST

START_TEST(a_line_is_text_and_is_read_back)
{
	char line[POISON_LINE_MAX];
	struct poison_item v;
	size_t n = poison_line_write(&sample, line);
	ck_assert_uint_eq(n, 31);
	ck_assert_mem_eq(line, "0123456789abcdef 1700000000123\n", n);
	ck_assert_int_eq(poison_line_read(span_of(line, n - 1), &v), 0);
	ck_assert_uint_eq(v.fingerprint, sample.fingerprint);
	ck_assert_uint_eq(v.at_ms, sample.at_ms);
	const struct poison_item most = {UINT64_MAX, UINT64_MAX};
	ck_assert_uint_le(poison_line_write(&most, line), sizeof(line));
}
END_TEST

START_TEST(what_is_no_line_is_refused)
{
	static const char *const bad[] = {"",
					  "0123456789abcdef",
					  "0123456789abcdef ",
					  "0123456789abcdeg 1",
					  "0123456789abcde 12",
					  "0123456789abcdef 1x",
					  "0123456789abcdef\t1",
					  "0123456789abcdef 99999999999999999999"};
	struct poison_item v;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(poison_line_read(span_str(bad[i]), &v), -EBADMSG);
}
END_TEST

START_TEST(an_item_is_read_back)
{
	char bytes[POISON_ITEM_BYTES];
	poison_item_write(&sample, bytes);
	struct poison_item v = poison_item_read(bytes);
	ck_assert_uint_eq(v.fingerprint, sample.fingerprint);
	ck_assert_uint_eq(v.at_ms, sample.at_ms);
}
END_TEST

UNIT_MAIN("note", a_note_is_read_back, a_note_is_nothing_with_a_bit_changed,
	  a_line_is_text_and_is_read_back, what_is_no_line_is_refused, an_item_is_read_back)

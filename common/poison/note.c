/*
 * A fingerprint as it is told (a datagram, a message of the bus) and kept (a line of a file).
 *
 *	"eaves-p1" node fingerprint time mac		8 bytes each, numbers little-endian
 */
#include "common/poison/poison.h"

#include <endian.h>
#include <errno.h>

enum { WORD = 8, NODE_AT = 8, ITEM_AT = 16, MAC_AT = 32, DECIMAL_MAX = 20 };

static const char magic[WORD] = "eaves-p1";

static void put_word(char *to, uint64_t v)
{
	v = htole64(v);
	memcpy(to, &v, sizeof(v));
}

static uint64_t get_word(const char *from)
{
	uint64_t v;
	memcpy(&v, from, sizeof(v));
	return le64toh(v);
}

void poison_item_write(const struct poison_item *v, char out[POISON_ITEM_BYTES])
{
	put_word(out, v->fingerprint);
	put_word(out + WORD, v->at_ms);
}

struct poison_item poison_item_read(const char *from)
{
	return (struct poison_item){get_word(from), get_word(from + WORD)};
}

void poison_note_write(const struct mac_key *note_key, unsigned node,
		       const struct poison_item *v, char out[POISON_NOTE_BYTES])
{
	memcpy(out, magic, sizeof(magic));
	put_word(out + NODE_AT, node);
	poison_item_write(v, out + ITEM_AT);
	put_word(out + MAC_AT, mac_span(note_key, span_of(out, MAC_AT)));
}

int poison_note_read(const struct mac_key *note_key, struct span note, unsigned *ret_node,
		     struct poison_item *ret)
{
	if (note.n != POISON_NOTE_BYTES || memcmp(note.p, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	if (!mac_equal(get_word(note.p + MAC_AT), mac_span(note_key, span_of(note.p, MAC_AT))))
		return -EPERM;
	*ret_node = (unsigned)get_word(note.p + NODE_AT);
	*ret = poison_item_read(note.p + ITEM_AT);
	return 0;
}

size_t poison_line_write(const struct poison_item *v, char out[POISON_LINE_MAX])
{
	char digits[DECIMAL_MAX];
	size_t n = 16, k = 0;
	uint64_t at = v->at_ms;
	mac_hex(v->fingerprint, out);
	out[n++] = ' ';
	do
		digits[k++] = (char)('0' + at % 10);
	while (at /= 10);
	while (k)
		out[n++] = digits[--k];
	out[n++] = '\n';
	return n;
}

int poison_line_read(struct span line, struct poison_item *ret)
{
	if (line.n < 18 || line.p[16] != ' ' ||
	    mac_unhex(span_of(line.p, 16), &ret->fingerprint) < 0 ||
	    span_u64(span_of(line.p + 17, line.n - 17), UINT64_MAX, &ret->at_ms) < 0)
		return -EBADMSG;
	return 0;
}

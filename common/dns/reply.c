/*
 * Replies: c-ares reads the records, and this file the TTLs, which c-ares 1.18 leaves out of
 * SRV and NAPTR.  RFC 1035 section 4, RFC 2782, RFC 3403.  Every name is checked to be a host
 * name (or a service name) before anybody works with it.
 */
#include "common/dns/dns_priv.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>

enum {
	HEADER_BYTES = 12,
	TYPE_A = 1,
	TYPE_CNAME = 5,
	TYPE_AAAA = 28,
	TYPE_SRV = 33,
	TYPE_NAPTR = 35
};

static unsigned be16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* The offset behind a name that begins at `at`, or -EBADMSG.  A pointer ends a name. */
static ssize_t skip_name(const unsigned char *p, size_t n, size_t at)
{
	while (at < n) {
		unsigned len = p[at];

		if (len == 0)
			return (ssize_t)at + 1;
		if ((len & 0xc0) == 0xc0)
			return at + 2 <= n ? (ssize_t)at + 2 : -EBADMSG;
		if (len & 0xc0)
			return -EBADMSG;
		at += 1 + len;
	}
	return -EBADMSG;
}

int dns_reply_ttl(const unsigned char *p, size_t n, uint32_t *ret_ttl_s)
{
	uint32_t least = UINT32_MAX;

	if (n < HEADER_BYTES)
		return -EBADMSG;
	unsigned questions = be16(p + 4), answers = be16(p + 6);
	ssize_t at = HEADER_BYTES;
	for (; questions; questions--) {
		at = skip_name(p, n, (size_t)at);
		if (at < 0 || (size_t)at + 4 > n)
			return -EBADMSG;
		at += 4;
	}
	for (; answers; answers--) {
		at = skip_name(p, n, (size_t)at);
		if (at < 0 || (size_t)at + 10 > n)
			return -EBADMSG;
		uint32_t ttl = (uint32_t)be16(p + at + 4) << 16 | be16(p + at + 6);
		at += 10 + (ssize_t)be16(p + at + 8);
		if ((size_t)at > n)
			return -EBADMSG;
		if (ttl > INT32_MAX) /* RFC 2181 section 8 */
			ttl = 0;
		if (ttl < least)
			least = ttl;
	}
	*ret_ttl_s = least == UINT32_MAX ? 0 : least;
	return 0;
}

/* A name as c-ares gives it (escaped, without the last dot), to lower case.  False when it is
 * empty, too long, or has what no host or service name has. */
static bool copy_name(char to[DNS_NAME_MAX], const char *from)
{
	size_t n = strlen(from);

	if (n && from[n - 1] == '.')
		n--;
	if (n == 0 || n >= DNS_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = from[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		      c == '_' || c == '.'))
			return false;
		to[i] = c;
	}
	to[n] = 0;
	return true;
}

static struct dns_record *next_record(struct dns_answer *a)
{
	if (a->n == DNS_RECORDS_MAX)
		return NULL;
	struct dns_record *r = &a->v[a->n];
	memset(r, 0, sizeof(*r));
	return r;
}

static int read_a(const unsigned char *p, int n, struct dns_answer *a)
{
	struct ares_addrttl v[DNS_RECORDS_MAX];
	int count = DNS_RECORDS_MAX;
	int rc = ares_parse_a_reply(p, n, NULL, v, &count);

	for (int i = 0; rc == ARES_SUCCESS && i < count; i++) {
		struct dns_record *r = next_record(a);

		r->addr.in4.sin_family = AF_INET;
		r->addr.in4.sin_addr = v[i].ipaddr;
		a->n++;
	}
	return rc;
}

static int read_aaaa(const unsigned char *p, int n, struct dns_answer *a)
{
	struct ares_addr6ttl v[DNS_RECORDS_MAX];
	int count = DNS_RECORDS_MAX;
	int rc = ares_parse_aaaa_reply(p, n, NULL, v, &count);

	for (int i = 0; rc == ARES_SUCCESS && i < count; i++) {
		struct dns_record *r = next_record(a);

		r->addr.in6.sin6_family = AF_INET6;
		memcpy(&r->addr.in6.sin6_addr, &v[i].ip6addr, sizeof(v[i].ip6addr));
		a->n++;
	}
	return rc;
}

static int read_srv(const unsigned char *p, int n, struct dns_answer *a)
{
	struct ares_srv_reply *list = NULL;
	int rc = ares_parse_srv_reply(p, n, &list);

	for (struct ares_srv_reply *s = rc == ARES_SUCCESS ? list : NULL; s; s = s->next) {
		struct dns_record *r = next_record(a);

		if (!r)
			break;
		/* Target ".": the service is decidedly not there (RFC 2782). */
		if (!copy_name(r->target, s->host) || s->port == 0)
			continue;
		r->priority = s->priority;
		r->weight = s->weight;
		r->port = s->port;
		a->n++;
	}
	if (list)
		ares_free_data(list);
	return rc;
}

static char flag_of(const unsigned char *flags)
{
	if (!flags[0] || flags[1])
		return 0;
	return (char)(flags[0] >= 'A' && flags[0] <= 'Z' ? flags[0] - 'A' + 'a' : flags[0]);
}

static int read_naptr(const unsigned char *p, int n, struct dns_answer *a)
{
	struct ares_naptr_reply *list = NULL;
	int rc = ares_parse_naptr_reply(p, n, &list);

	for (struct ares_naptr_reply *s = rc == ARES_SUCCESS ? list : NULL; s; s = s->next) {
		struct dns_record *r = next_record(a);
		size_t len = strlen((const char *)s->service);

		if (!r)
			break;
		if (len >= sizeof(r->service) || !copy_name(r->target, s->replacement))
			continue;
		memcpy(r->service, s->service, len + 1);
		r->flags = flag_of(s->flags);
		r->priority = s->order;
		r->weight = s->preference;
		a->n++;
	}
	if (list)
		ares_free_data(list);
	return rc;
}

static int read_records(const unsigned char *p, int n, enum dns_type t, struct dns_answer *a)
{
	switch (t) {
	case DNS_A:
		return read_a(p, n, a);
	case DNS_AAAA:
		return read_aaaa(p, n, a);
	case DNS_SRV:
		return read_srv(p, n, a);
	case DNS_NAPTR:
		return read_naptr(p, n, a);
	}
	return ARES_EBADQUERY;
}

void dns_reply_read(const unsigned char *p, size_t n, enum dns_type t, struct dns_answer *ret_a,
		    uint32_t *ret_ttl_s)
{
	ret_a->error = -EIO;
	ret_a->n = 0;
	*ret_ttl_s = 0;
	if (n > 65535 || dns_reply_ttl(p, n, ret_ttl_s) < 0)
		return;
	int rc = read_records(p, (int)n, t, ret_a);
	if (rc == ARES_SUCCESS || rc == ARES_ENODATA)
		ret_a->error = ret_a->n ? 0 : -ENOENT;
	else
		ret_a->n = 0;
}

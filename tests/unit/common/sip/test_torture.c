/*
 * RFC 4475, RFC 5118 and what libosip2 lets through: every vector of tests/vectors through
 * index and values, and the RFCs' own bytes where a folder with them is there (EAVES_SHARED, or
 * ../shared as seen from the root of the tree).
 */
#include "common/sip/frame.h"
#include "common/sip/values.h"
#include "tests/unit/unit.h"
#include "tests/vectors/vectors.h"

#include <errno.h>

static struct arena arena;

static void setup(void)
{
	ck_assert_int_eq(sip_values_init(), 0);
	ck_assert_int_eq(arena_init(&arena, 65536), 0);
	sip_values_use_arena(&arena);
}

static int receive(struct sip_msg *m, struct span bytes, bool stream, struct sip_fault *f)
{
	int r = sip_msg_index(m, bytes, stream, &sip_limits_default, f);
	return r < 0 ? r : sip_msg_check_values(m, NULL, f);
}

/* Bytes behind a message are the next one's, on a stream. */
static struct span framed(const struct vector *v, struct span bytes, bool stream)
{
	struct sip_framer fr = {0};
	if (!stream)
		return bytes;
	enum sip_frame_result r = sip_frame(&fr, bytes, sip_limits_default.stream_bytes);
	if (v->outcome == ACCEPT)
		ck_assert_msg(r == SIP_FRAME_MESSAGE, "%s: framing gives %d", v->name, r);
	return r == SIP_FRAME_MESSAGE ? span_of(bytes.p, fr.len) : bytes;
}

static bool as_expected(const struct vector *v, enum vector_outcome got,
			const struct sip_fault *f)
{
	if (got != v->outcome || (got == REFUSE && f->status != v->status))
		return false;
	return got == ACCEPT || !v->reason || strstr(f->reason, v->reason);
}

/* 1 when it is not as expected (all are told, not only the first). */
static unsigned check(const struct vector *v, struct span bytes, bool stream)
{
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault f = {0};
	arena_reset(&arena);
	int r = receive(&m, framed(v, bytes, stream), stream, &f);
	ck_assert_msg(r == 0 || r == -EBADMSG, "%s: gives %d", v->name, r);
	enum vector_outcome got = r == 0 ? ACCEPT : f.status ? REFUSE : DROP;
	if (as_expected(v, got, &f))
		return 0;
	printf("%s: outcome %d, expected %d: %u %s\n", v->name, got, v->outcome, f.status,
	       r < 0 ? f.reason : "OK");
	return 1;
}

static void run(const char *prefix)
{
	unsigned ran = 0, wrong = 0;
	setup();
	for (size_t i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];
		if (strncmp(v->section, prefix, strlen(prefix)) != 0)
			continue;
		size_t n;
		char *p = vector_bytes(v, &n);
		wrong += check(v, span_of(p, n), strcmp(v->transport, "TCP") == 0);
		free(p);
		ran++;
	}
	ck_assert_uint_gt(ran, 0);
	ck_assert_uint_eq(wrong, 0);
	sip_values_use_arena(NULL);
	arena_done(&arena);
}

START_TEST(rfc4475_messages_have_their_outcomes)
{
	run("4475-");
}
END_TEST

START_TEST(what_is_accepted_but_for_a_choice_of_ours_is_accepted_without_it)
{
	run("own-");
}
END_TEST

START_TEST(rfc5118_messages_have_their_outcomes)
{
	run("5118-");
}
END_TEST

START_TEST(what_libosip2_lets_through_is_refused)
{
	run("libosip2");
}
END_TEST

START_TEST(every_case_of_both_rfcs_is_in_the_table)
{
	unsigned n4475 = 0, n5118 = 0;
	for (size_t i = 0; i < VECTORS; i++) {
		n4475 += strncmp(vectors[i].section, "4475-", 5) == 0;
		n5118 += strncmp(vectors[i].section, "5118-", 5) == 0;
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(vectors[i].name, vectors[j].name);
	}
	ck_assert_uint_eq(n4475, 49);
	ck_assert_uint_eq(n5118, 12);
}
END_TEST

static char *slurp(const char *path, size_t *ret_n)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return NULL;
	char *p = malloc(65536);
	ck_assert_ptr_nonnull(p);
	*ret_n = fread(p, 1, 65536, f);
	fclose(f);
	return p;
}

/* The number of files that were there. */
static unsigned run_files(const char *rfc, const char *prefix)
{
	const char *root = getenv("EAVES_SHARED");
	unsigned ran = 0, wrong = 0;
	char path[512];
	for (size_t i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];
		if (strncmp(v->section, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/%s.dat", root ? root : "../shared", rfc,
			 v->name);
		size_t n;
		char *p = slurp(path, &n);
		if (!p)
			continue;
		/* baddn.dat has no empty line, so the reason may be another one */
		struct vector any = *v;
		any.reason = NULL;
		wrong += check(&any, span_of(p, n), strcmp(v->transport, "TCP") == 0);
		free(p);
		ran++;
	}
	ck_assert_uint_eq(wrong, 0);
	return ran;
}

START_TEST(the_rfcs_own_bytes_have_the_same_outcomes)
{
	setup();
	unsigned n4475 = run_files("rfc4475", "4475-"), n5118 = run_files("rfc5118", "5118-");
	printf("rfc4475: %u files, rfc5118: %u files\n", n4475, n5118);
	/* All or, where the folder is not there, none */
	ck_assert(n4475 == 0 || n4475 == 49);
	ck_assert(n5118 == 0 || n5118 == 12);
	sip_values_use_arena(NULL);
	arena_done(&arena);
}
END_TEST

START_TEST(a_vector_cut_short_anywhere_is_never_accepted_on_a_stream)
{
	setup();
	for (size_t i = 0; i < VECTORS; i++) {
		size_t n;
		if (strcmp(vectors[i].transport, "TCP") != 0 || vectors[i].outcome != ACCEPT)
			continue;
		char *p = vector_bytes(&vectors[i], &n);
		struct sip_framer whole = {0};
		ck_assert_int_eq(
			sip_frame(&whole, span_of(p, n), sip_limits_default.stream_bytes),
			SIP_FRAME_MESSAGE);
		for (size_t cut = 1; cut < whole.len; cut++) {
			struct sip_framer fr = {0};
			ck_assert_int_eq(sip_frame(&fr, span_of(p, cut),
						   sip_limits_default.stream_bytes),
					 SIP_FRAME_MORE);
		}
		free(p);
	}
	sip_values_use_arena(NULL);
	arena_done(&arena);
}
END_TEST

UNIT_MAIN("sip torture", rfc4475_messages_have_their_outcomes,
	  what_is_accepted_but_for_a_choice_of_ours_is_accepted_without_it,
	  rfc5118_messages_have_their_outcomes, what_libosip2_lets_through_is_refused,
	  every_case_of_both_rfcs_is_in_the_table, the_rfcs_own_bytes_have_the_same_outcomes,
	  a_vector_cut_short_anywhere_is_never_accepted_on_a_stream)

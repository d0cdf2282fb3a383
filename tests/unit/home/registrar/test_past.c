/*
 * The connections that a binding had before are in its record: dialogs name them, and the nodes
 * that saw them may have been started anew.
 */
#include "tests/unit/home/registrar/reg_fixture.h"

#include "common/flow/token.h"

static Eaves__Binding *binding; /* alice's only one, as read last */
static unsigned cseq;

static bool read_binding(void *arg, const struct record *rec)
{
	(void)arg;
	binding = eaves__binding__unpack(NULL, rec->body.n, (const uint8_t *)rec->body.p);
	ck_assert_ptr_nonnull(binding);
	return true;
}

static void read_it(void)
{
	if (binding)
		eaves__binding__free_unpacked(binding, NULL);
	binding = NULL;
	ck_assert_uint_eq(records_each(records, RECORD_BINDING, SPAN("alice"), T0, read_binding,
				       NULL, NULL),
			  1);
}

static void begin(void)
{
	start();
	cseq = 0;
}

static void end(void)
{
	eaves__binding__free_unpacked(binding, NULL);
	binding = NULL;
	stop();
}

static void registers(const char *path)
{
	char lines[512];
	snprintf(lines, sizeof(lines),
		 "Supported: path, outbound\r\nContact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n%s",
		 path);
	ck_assert_uint_eq(reg_alice(++cseq, lines), 200);
	read_it();
}

static void straight_by(uint64_t conn)
{
	flow = flow_from(SIP_TRANSPORT_TCP, "192.0.2.4", 40000, conn);
	registers("");
}

/* The token of the edge's in its Path. */
static const char *by_edge(enum sip_transport transport, uint64_t conn)
{
	static char token[FLOW_TOKEN_MAX + 1];
	char path[256];
	struct flow_keys keys;
	struct sip_flow f = flow_from(transport, "192.0.2.4", 40000, conn);
	flow_keys_init(&keys, SPAN("the edges' secret"), 5);
	token[flow_token_write(&keys, &f, 0, token)] = 0;
	snprintf(path, sizeof(path), "Path: <sip:%s@edge;lr;ob>\r\n", token);
	snprintf(fixture_via, sizeof(fixture_via),
		 "Via: SIP/2.0/TCP edge;branch=z9hG4bK2\r\nVia: SIP/2.0/TCP "
		 "h;branch=z9hG4bK1\r\n");
	registers(path);
	return token;
}

static void check_past(unsigned n, const uint64_t *conn)
{
	uint64_t boot, c;
	for (unsigned i = 0; i < n; i++) {
		ck_assert(reg_past_conn(binding, i, &boot, &c));
		ck_assert_uint_eq(boot, 77);
		ck_assert_uint_eq(c, conn[i]);
	}
	ck_assert(!reg_past_conn(binding, n, &boot, &c));
}

START_TEST(the_last_four_connections_are_remembered_the_latest_first)
{
	begin();
	straight_by(1);
	check_past(0, NULL);
	straight_by(2);
	straight_by(3);
	check_past(2, (const uint64_t[]){2, 1});
	for (uint64_t i = 4; i <= 7; i++)
		straight_by(i);
	check_past(4, (const uint64_t[]){6, 5, 4, 3});
	end();
}
END_TEST

START_TEST(a_refresh_by_the_same_connection_changes_nothing)
{
	begin();
	straight_by(1);
	straight_by(2);
	straight_by(2);
	check_past(1, (const uint64_t[]){1});
	const char *token = by_edge(SIP_TRANSPORT_TCP, 3);
	token = by_edge(SIP_TRANSPORT_TCP, 3);
	ck_assert_str_ne(token, "");
	ck_assert_uint_eq(binding->past_tokens.len, 0);
	check_past(2, (const uint64_t[]){2, 1});
	end();
}
END_TEST

START_TEST(tokens_of_connections_with_an_edge_are_remembered_likewise)
{
	char want[1024] = "", before[512], last[FLOW_TOKEN_MAX + 1] = "";
	begin();
	for (uint64_t i = 1; i <= 6; i++) {
		if (i > 2) { /* the last four but the one that it has now */
			snprintf(before, sizeof(before), "%.500s", want);
			snprintf(want, sizeof(want), "%s %s", last, before);
		}
		snprintf(last, sizeof(last), "%s", by_edge(SIP_TRANSPORT_TCP, i));
	}
	ck_assert_uint_eq(binding->past_tokens.len, strlen(want));
	ck_assert_mem_eq(binding->past_tokens.data, want, strlen(want));
	end();
}
END_TEST

START_TEST(what_is_no_connection_is_not_remembered)
{
	begin();
	by_edge(SIP_TRANSPORT_UDP, 0);
	by_edge(SIP_TRANSPORT_TCP, 1);
	registers("Path: <sip:somebody@proxy.example;lr;ob>\r\n");
	size_t one = binding->past_tokens.len;
	registers("Path: <sip:proxy.example;lr;ob>\r\n");
	ck_assert_uint_gt(one, 0);
	ck_assert_uint_eq(binding->past_tokens.len, one);
	check_past(0, NULL);
	end();
}
END_TEST

UNIT_MAIN("home/registrar past", the_last_four_connections_are_remembered_the_latest_first,
	  a_refresh_by_the_same_connection_changes_nothing,
	  tokens_of_connections_with_an_edge_are_remembered_likewise,
	  what_is_no_connection_is_not_remembered)

/*
 * Where the phone of a lost connection is now: by the binding that its old flow token was of.
 */
#include "common/app/app_priv.h"
#include "common/phones/phones.h"
#include "edge/edge_priv.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct conf_listener listeners[1];
static struct conf conf = {.listeners = listeners, .listeners_count = 1};
static struct app_conf in_force = {.conf = &conf};
static struct app app = {.conf = &in_force, .fixed = &in_force};
static struct records *records;
static struct edge edge;

/* A token that another process has written, and what the connection is known by. */
static uint64_t token_of(uint64_t conn, char token[FLOW_TOKEN_MAX + 1])
{
	struct sip_flow f = {.transport = SIP_TRANSPORT_TLS, .conn = conn};
	struct flow_keys other;
	ck_assert_int_eq(addr_parse(&f.remote, SPAN("192.0.2.1"), 5061), 0);
	flow_keys_init(&other, SPAN("secret"), 1);
	size_t n = flow_token_write(&other, &f, FLOW_OUTBOUND, token);
	token[n] = '\0';
	return flow_token_conn(&other, span_of(token, n));
}

static void bind_phone(const char *token)
{
	char path[256], contact[] = "sip:alice@192.0.2.1";
	Eaves__Binding b = EAVES__BINDING__INIT;
	int n = snprintf(path, sizeof(path), "<sip:%s@edge.example.org;lr;ob>", token);
	b.path = (ProtobufCBinaryData){(size_t)n, (uint8_t *)path};
	b.contact = (ProtobufCBinaryData){sizeof(contact) - 1, (uint8_t *)contact};
	size_t size = eaves__binding__get_packed_size(&b);
	uint8_t *body = malloc(size);
	eaves__binding__pack(&b, body);
	const struct record v = {.kind = RECORD_BINDING,
				 .group = SPAN("alice"),
				 .name = SPAN("phone"),
				 .body = span_of((const char *)body, size)};
	ck_assert_int_eq(records_put(records, &v, 1, NULL, time_wall_ms(), NULL, NULL), 0);
	free(body);
}

static void start(void)
{
	flow_keys_init(&app.flows, SPAN("secret"), 2);
	records = records_new(NULL, 1, 100, NULL);
	edge = (struct edge){.records = records, .app = &app};
}

static void stop(void)
{
	edge.phones = phones_free(edge.phones);
	records_free(records);
}

START_TEST(a_phone_is_expected_back_whose_binding_was_read_at_the_start)
{
	char token[FLOW_TOKEN_MAX + 1];
	struct sip_flow f;
	start();
	uint64_t id = token_of(7, token);
	bind_phone(token);
	ck_assert_int_eq(edge_phones_start(&edge), 0);
	ck_assert_int_eq(phones_moved(edge.phones, id, &f), -ESTALE);
	stop();
}
END_TEST

START_TEST(a_phone_is_expected_back_whose_binding_came_later)
{
	char token[FLOW_TOKEN_MAX + 1];
	struct sip_flow f;
	start();
	ck_assert_int_eq(edge_phones_start(&edge), 0);
	uint64_t id = token_of(7, token), other = token_of(8, token);
	ck_assert_int_eq(phones_moved(edge.phones, id, &f), -ENOENT);
	bind_phone(token);
	ck_assert_int_eq(phones_moved(edge.phones, other, &f), -ESTALE);
	ck_assert_int_eq(phones_moved(edge.phones, id, &f), -ENOENT);
	stop();
}
END_TEST

UNIT_MAIN("edge phones", a_phone_is_expected_back_whose_binding_was_read_at_the_start,
	  a_phone_is_expected_back_whose_binding_came_later)

/*
 * Users are put into the directory, phones register, refresh, are looked up and leave, over a
 * table of records without a store.
 */
#include "tests/oom/oom.h"

#include "common/directory/directory.h"
#include "common/records/records.h"
#include "common/sip/values.h"
#include "home/registrar/registrar.h"

#include <string.h>

static const uint64_t wall_ms = 1735787045000ull;
static struct arena arena;
static struct records *records;
static struct reg *reg;
static unsigned last_status;

static void setup(void)
{
	OOM_HOLDS(sip_values_init() == 0);
}

static void on_done(void *arg, const struct reg_answer *a)
{
	unsigned *calls = arg;

	++*calls;
	last_status = a->status;
}

/* The status: an answer is given once, whatever fails. */
static unsigned send_register(unsigned cseq, const char *contact)
{
	static char text[2048];
	struct sip_flow flow = {.transport = SIP_TRANSPORT_UDP};
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	unsigned calls = 0;

	snprintf(text, sizeof(text),
		 "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP "
		 "192.0.2.9;branch=z9hG4bK1\r\n"
		 "From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"
		 "Call-ID: a@b\r\nCSeq: %u REGISTER\r\nMax-Forwards: 70\r\n"
		 "Supported: path, gruu, outbound\r\nContact: %s\r\nContent-Length: 0\r\n\r\n",
		 cseq, contact);
	OOM_HOLDS(addr_parse(&flow.remote, SPAN("192.0.2.9"), 5060) == 0);
	OOM_HOLDS(sip_msg_index(&m, span_str(text), false, &sip_limits_default, &fault) == 0);
	arena_reset(&arena);
	reg_register(reg, &m, NULL, &flow, SPAN("alice"), wall_ms + cseq, on_done, &calls);
	OOM_HOLDS(calls == 1);
	return last_status;
}

static int work(void)
{
	static const char first[] =
		"<sip:alice@192.0.2.9>;expires=600;"
		"+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\";reg-id=1";
	struct dir_user user = {.ha1 = {.has_md5 = true}};
	struct reg_target v[4];
	char name[DIR_NAME_MAX_BYTES + 1];
	unsigned good = 0;

	good += dir_user_put(records, SPAN("alice"), &user, wall_ms, NULL, NULL) == 0;
	good += dir_alias_put(records, SPAN("al"), SPAN("alice"), wall_ms, NULL, NULL) == 0;
	good += dir_resolve(records, SPAN("al"), wall_ms, name, &user) == 5;
	good += send_register(1, first) == 200;
	good += send_register(2, "<sip:alice@192.0.2.10>;q=0.5") == 200;
	good += send_register(3, first) == 200;
	arena_reset(&arena);
	good += reg_lookup(reg, SPAN("alice"), NULL, wall_ms + 3, v, 4, NULL) == 2;
	good += send_register(4, "*\r\nExpires: 0") == 200;
	good += reg_drop(reg, SPAN("alice"), (struct span){NULL, 0}, wall_ms, NULL, NULL) == 0;
	good += send_register(5, first) == 200;
	good += reg_forget(reg, SPAN("alice"), (struct record_version){1, 1}, true, wall_ms) ==
		1;
	good += dir_user_remove(records, SPAN("alice"), wall_ms, NULL, NULL) == 0;
	for (unsigned i = 0; i < 32; i++)
		records_sweep(records, wall_ms + i * 1000000ull);
	return good == 12 ? 0 : -1;
}

static int run(void)
{
	static const struct mac_key key = {1, 2};
	struct reg_conf conf = reg_conf_default;
	int r = -1;

	conf.domain = "example.com";
	if (arena_init(&arena, 262144) < 0)
		return -1;
	sip_values_use_arena(&arena);
	records = records_new(NULL, 1, 1000, NULL);
	reg = records ? reg_new(&conf, NULL, records, &key, 77) : NULL;
	if (reg)
		r = work();
	reg_free(reg);
	records_free(records);
	sip_values_use_arena(NULL);
	arena_done(&arena);
	return r;
}

const struct oom_scenario oom_scenario = {"registrar", setup, run};

/*
 * Several workers register devices of one user at the same time (threads share the table only).
 */
#include "tests/unit/home/registrar/reg_fixture.h"

#include <pthread.h>

enum { THREADS = 4, DEVICES = 5, ROUNDS = 40 };

struct device_worker {
	pthread_t thread;
	unsigned number, refused;
};

static void note(void *arg, const struct reg_answer *a)
{
	struct device_worker *w = arg;
	w->refused += a->status != 200;
}

static void register_device(struct device_worker *w, unsigned device, unsigned cseq)
{
	char text[1024];
	struct sip_hdr hdr[SIP_HDR_MAX];
	struct sip_msg m = {.hdr = hdr};
	struct sip_fault fault;
	int n = snprintf(
		text, sizeof(text),
		"REGISTER sip:example.com SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1\r\n"
		"From: <sip:alice@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\n"
		"Call-ID: c%u\r\nCSeq: %u REGISTER\r\n"
		"Contact: <sip:a@192.0.2.%u>\r\nContent-Length: 0\r\n\r\n",
		w->number, cseq, 1 + w->number * DEVICES + device);
	if (sip_msg_index(&m, span_of(text, (size_t)n), false, &sip_limits_default, &fault) < 0)
		w->refused++;
	else
		reg_register(reg, &m, NULL, &flow, SPAN("alice"), T0, note, w);
}

static void *register_all(void *arg)
{
	struct device_worker *w = arg;
	struct arena a;
	if (arena_init(&a, 65536) < 0)
		return NULL;
	sip_values_use_arena(&a);
	for (unsigned i = 0; i < ROUNDS * DEVICES; i++) {
		arena_reset(&a);
		register_device(w, i % DEVICES, i + 1);
	}
	sip_values_use_arena(NULL);
	arena_done(&a);
	return NULL;
}

START_TEST(devices_that_register_at_once_are_all_bound)
{
	struct reg_conf conf = reg_conf_default;
	static struct device_worker w[THREADS];
	conf.domain = "example.com";
	conf.contacts_per_user = THREADS * DEVICES;
	start_with(&conf, records_new(NULL, 1, 100, NULL));
	for (unsigned i = 0; i < THREADS; i++) {
		w[i].number = i;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, register_all, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		ck_assert_uint_eq(w[i].refused, 0);
	}
	ck_assert_int_eq(lookup(T0), THREADS * DEVICES);
	ck_assert_uint_eq(reg_counters(reg).registered, THREADS * DEVICES);
	stop();
}
END_TEST

UNIT_MAIN("home/registrar threads", devices_that_register_at_once_are_all_bound)

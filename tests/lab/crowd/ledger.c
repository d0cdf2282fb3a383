/*
 * Epochs and their printing.
 */
#include "tests/lab/crowd/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const kind_name[KINDS] = {"one", "par", "ser"};
const char *const fault_name[FAULTS] = {
	[FAULT_NO_FINAL] = "no_final",
	[FAULT_STATUS] = "status",
	[FAULT_NO_487] = "no_487",
	[FAULT_NO_ACK] = "no_ack",
	[FAULT_BYE] = "bye",
	[FAULT_TWO_ANSWERS] = "two_answers",
	[FAULT_WRONG_ANSWER] = "wrong_answer",
	[FAULT_CANCEL_MISSING] = "cancel_missing",
	[FAULT_CANCEL_WRONG] = "cancel_wrong",
	[FAULT_RANG_TWICE] = "rang_twice",
	[FAULT_RANG_LATE] = "rang_late",
	[FAULT_ORDER] = "order",
	[FAULT_BYE_WRONG] = "bye_wrong",
};
const char *const wait_name[WAITS] = {
	[WAIT_INVITE] = "invite",     [WAIT_RINGING] = "ringing",
	[WAIT_ANSWER] = "answer",     [WAIT_ACK] = "ack",
	[WAIT_487] = "487",	      [WAIT_CANCEL] = "cancel",
	[WAIT_BYE] = "bye",	      [WAIT_MESSAGE] = "message",
	[WAIT_REGISTER] = "register", [WAIT_RECONNECT] = "reconnect",
};

struct epoch *ledger_begin(struct ledger *l, const char *name, msec now)
{
	struct epoch *e = l->n < EPOCHS_MAX ? calloc(1, sizeof(*e)) : NULL;

	if (!e)
		return NULL;
	snprintf(e->name, sizeof(e->name), "%s", name);
	e->begun = now;
	if (l->n)
		ledger_now(l)->closed = true;
	l->epoch[l->n++] = e;
	return e;
}

void ledger_wait(struct epoch *e, enum wait w, msec took)
{
	if (took > e->wait[w])
		e->wait[w] = took;
}

static void print_count(const char *name, uint64_t v)
{
	printf(",\"%s\":%llu", name, (unsigned long long)v);
}

static void print_status(const char *name, const uint64_t v[700])
{
	const char *sep = "";

	printf(",\"%s\":{", name);
	for (unsigned i = 0; i < 700; i++)
		if (v[i]) {
			printf("%s\"%u\":%llu", sep, i, (unsigned long long)v[i]);
			sep = ",";
		}
	printf("}");
}

static void print_one(const struct epoch *e)
{
	uint64_t calls = 0;
	msec gap = 0;

	printf("{\"epoch\":\"%s\"", e->name);
	for (unsigned i = 0; i < KINDS; i++) {
		print_count(kind_name[i], e->calls[i]);
		calls += e->calls[i];
	}
	print_count("calls", calls);
	print_count("answered", e->answered);
	print_count("cancelled", e->cancelled);
	print_count("failed", e->failed);
	for (unsigned i = 0; i < FAULTS; i++)
		print_count(fault_name[i], e->fault[i]);
	print_status("by_status", e->status);
	print_count("messages", e->messages);
	print_count("message_failed", e->message_failed);
	print_count("message_lost", e->message_lost);
	print_count("message_partial", e->message_partial);
	print_count("message_twice", e->message_twice);
	print_count("registers", e->registers);
	print_count("register_failed", e->register_failed);
	print_status("register_by_status", e->register_status);
	print_count("bindings_lost", e->bindings_lost);
	print_count("reconnects", e->reconnects);
	printf(",\"wait_ms\":{");
	for (unsigned i = 0; i < WAITS; i++) {
		printf("%s\"%s\":%llu", i ? "," : "", wait_name[i],
		       (unsigned long long)e->wait[i]);
		if (i != WAIT_RINGING && e->wait[i] > gap)
			gap = e->wait[i];
	}
	printf("},\"gap_ms\":%llu}\n", (unsigned long long)gap);
}

void ledger_print(struct ledger *l)
{
	while (l->first < l->n) {
		struct epoch *e = l->epoch[l->first];

		if (!e->closed || e->open)
			return;
		print_one(e);
		fflush(stdout);
		free(e);
		l->epoch[l->first++] = NULL;
	}
}

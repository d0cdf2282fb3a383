/*
 * Phones: user agents by RFC 3261 with 6026, 3262 (PRACK), 2617/7616 (digest), 5626 (outbound),
 * over the simulated network.  What a phone does by itself is its policy; what it saw is kept
 * as facts, one line each, without times: two runs whose phones have the same facts ended
 * alike.
 */
#ifndef EAVES_SIM_UA_H
#define EAVES_SIM_UA_H

#include "common/sip/flow.h"
#include "tests/sim/host.h"

/* Milliseconds; 0: never, where it does not say otherwise. */
enum { CANCEL_BLIND_MS = 12000 };
struct ua_policy {
	/* called */
	uint32_t ring_ms;   /* 180; 0: none */
	uint32_t answer_ms; /* 200 to INVITE */
	uint32_t reject_ms; /* reject, after so long */
	unsigned reject;
	bool silent;	      /* no word to any INVITE or CANCEL */
	bool reliable;	      /* 180 by RFC 3262, where the caller supports it */
	uint32_t moves_ms;    /* it hangs up on its server, and is back by another connection */
	const char *moved_to; /* Contact of a rejection with 3xx */
	bool minds_cancels;   /* a CANCEL of no INVITE that it knows is a fact */
	/* calling */
	uint32_t cancel_ms;   /* after it began to ring over there; or CANCEL_BLIND_MS after the
			       * INVITE, if that is not heard */
	uint32_t reinvite_ms; /* after the answer */
	/* both */
	uint32_t hangup_ms; /* after the call is up */
};

struct ua_conf {
	const char *device, *user, *password, *domain;
	enum sip_transport transport;
	struct addr server; /* where everything outside of dialogs goes */
	uint16_t port;
	const char *q; /* of its contact; NULL: none */
	uint32_t expires_s;
	bool registers, outbound;
	/* Not a phone but the proxy of another domain, with one of its phones behind it: a
	 * second Via, and a Record-Route of its own. */
	const char *behind; /* the phone's address; NULL: a phone */
	struct ua_policy policy;
};

struct ua;
/* The host is the phone's alone.  c is copied, its texts live on elsewhere. */
struct ua *ua_new(struct host *h, const struct ua_conf *c, uint64_t seed);
unsigned ua_count(void);
struct ua *ua_of(unsigned index);
struct host *ua_host(const struct ua *u);
const char *ua_device(const struct ua *u);
const char *ua_user(const struct ua *u);
struct ua_policy *ua_policy(struct ua *u);
/* In dialogs its contact is its public GRUU (RFC 5627 4.3), once it has one. */
void ua_use_gruu(struct ua *u);
/* Is it one that registers? */
bool ua_registers(const struct ua *u);

void ua_register(struct ua *u);
/* expires 0. */
void ua_unregister(struct ua *u);
/* Registers again now, as it does by itself after half of the time. */
void ua_refresh(struct ua *u);
/* Switched off: nobody hears of it any more. */
void ua_leave(struct ua *u);
/* It has unregistered, or its time has run out: nothing is to come to it. */
bool ua_is_gone(const struct ua *u);
/* A 200 was the last that it heard of its registration, and it has not run out. */
bool ua_is_registered(const struct ua *u);
/* uri: "sip:bob@example.org". */
void ua_call(struct ua *u, const char *uri);
void ua_message(struct ua *u, const char *uri, const char *text);
void ua_hang_up(struct ua *u);

/* Nothing under way that has not ended: no call, no request without its final answer. */
bool ua_is_idle(const struct ua *u);
/* Does it ring right now, or hold a call that the other side does not know of? */
unsigned ua_ringing(const struct ua *u);
unsigned ua_calls(const struct ua *u);
unsigned ua_open_requests(const struct ua *u);
/* Its text has come by a MESSAGE. */
bool ua_has_message(const struct ua *u, const char *text);

/* ---- facts ---- */

unsigned ua_fact_count(const struct ua *u);
const char *ua_fact_text(const struct ua *u, unsigned i);

#endif

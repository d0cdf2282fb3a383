/*
 * The text of what phones send, and the parts of a message received that are kept.
 */
#ifndef EAVES_LAB_WRITE_H
#define EAVES_LAB_WRITE_H

#include "tests/bench/sipload/text.h"

struct crowd;
struct phone;
struct user;
struct sockaddr_in;

struct kept {
	char *p;
	size_t n;
};

struct outgoing {
	struct crowd *c;
	const struct phone *phone;
	const char *method, *uri, *branch, *call_id, *from, *from_tag, *to, *to_tag;
	uint32_t cseq;
	unsigned port; /* in Via; 0: the one that it has now */
	struct span routes;
};
void write_head(struct out *o, const struct outgoing *g);
/* Credentials for a challenge that is held; nothing without one. */
void write_credentials(struct out *o, struct phone *p, bool proxy, const char *method,
		       const char *uri);
/* Takes the challenge of a 401 or 407. */
bool challenge_take(struct phone *p, const struct message *m);
/* The contact that it registers; in dialogs its GRUU where it has one. */
void write_contact(struct out *o, const struct crowd *c, const struct phone *p, bool dialog);
void write_body(struct out *o, const char *type, const char *body);
extern const char sdp_text[];
void write_user(char *to, size_t n, const struct crowd *c, const struct user *u);
/* The lines of a response up to CSeq, with our tag. */
int keep_head(struct kept *k, const struct message *m, const char *tag);
int keep_routes(struct kept *k, const struct message *m, bool reversed);
int keep(struct kept *k, const char *p, size_t n);
void drop(struct kept *k);
/* The URI of a Contact, between its brackets. */
struct span contact_uri(const struct message *m);
/* Where a request within a dialog goes: its first route, else its target. */
struct sockaddr_in next_hop(const struct phone *p, struct span routes, const char *target);

#endif

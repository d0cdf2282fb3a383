/*
 * sipload: a SIP load generator, caller and callee in one single-threaded process.  UDP over
 * loopback, recvmmsg and sendmmsg, digest with nonce reuse; saturating (a window of operations)
 * or paced (operations a second).  It measures the CPU of given servers per operation from
 * /proc. A measuring tool: it trusts the server it talks to no further than its buffers reach.
 */
#ifndef EAVES_SIPLOAD_H
#define EAVES_SIPLOAD_H

#include "tests/bench/sipload/text.h"

#include <netinet/in.h>
#include <sys/socket.h>

typedef uint64_t nsec; /* monotonic */
nsec clock_ns(void);

enum {
	MESSAGE_MAX = 4096,
	BATCH = 64,
	SOCKETS_MAX = 32,
	SLOTS_MAX = 1 << 18,
	NONCE_MAX = 112,
	PIDS_MAX = 64
};

enum mode { MODE_REG, MODE_REREG, MODE_CALL, MODE_MSG, MODE_OPTIONS, MODE_IDLE, MODE_COUNT };
extern const char *const mode_name[MODE_COUNT];

struct options {
	enum mode mode;
	struct sockaddr_in target;
	char uac_ip[48], uas_ip[48];
	const char *domain;
	double rate; /* operations a second; 0: window */
	unsigned window;
	double warm_s, seconds;
	uint64_t count; /* exactly so many operations; 0: by time */
	unsigned users, first, sockets, base_port, hold_ms, ring_ms, expires_s;
	unsigned ringing; /* INVITE transactions kept ringing meanwhile */
	bool busy, sha256, verbose;
	const char *callers; /* a file; NULL: by number */
	int pids[PIDS_MAX];
	unsigned npids;
};

/* One socket with what it is about to send. */
struct sock {
	int fd;
	uint16_t port;
	bool uas;
	unsigned queued;
	struct sockaddr_in to[BATCH];
	struct iovec iov[BATCH];
	struct mmsghdr hdr[BATCH];
	char buf[BATCH][MESSAGE_MAX];
};

enum op_state { OP_FREE, OP_SENT, OP_PROCEEDING, OP_TALKING, OP_BYE, OP_RINGING };
enum uas_state { UAS_NONE, UAS_RINGING, UAS_ANSWERED, UAS_DONE };

struct kept {
	char *p;
	size_t n;
};
struct op {
	uint32_t gen;
	enum op_state state;
	enum uas_state uas;
	bool priming; /* registers before the measurement: not counted */
	bool stays;   /* one of those that ring on */
	bool challenged;
	uint8_t tries;
	uint32_t user, nc;
	struct sock *sock;
	uint32_t cseq, branch;
	nsec started, phase, sent;
	char to_tag[64], target[160], route[512];
	size_t route_n;
	struct kept request, answer;
	struct sock *answer_sock;
	struct sockaddr_in answer_to;
	nsec answer_sent;
};

enum latency { LAT_CHALLENGE, LAT_RINGING, LAT_ANSWER, LAT_BYE, LAT_FINAL, LAT_COUNT };
extern const char *const latency_name[LAT_COUNT];
struct histogram {
	uint64_t n;
	uint32_t bin[32 * 64]; /* 64 to a power of two, microseconds */
};
void histogram_add(struct histogram *h, nsec took);
uint64_t histogram_us(const struct histogram *h, double part);

struct counters {
	uint64_t launched, ok, failed, retransmits, uas_retransmits, challenges, strays, sent,
		received, no_slot;
	uint64_t by_status[700];
};

/* What a FIFO of equal delays holds. */
struct delayed {
	nsec due;
	uint32_t slot, gen;
};
struct delay {
	struct delayed *v;
	uint32_t head, tail, mask;
};

struct load {
	struct options opt;
	struct sock *sock[2 * SOCKETS_MAX];
	unsigned nsock;
	int epoll;
	nsec now;
	uint64_t run; /* tells this run's Call-IDs from another's */
	uint64_t random;
	struct op *ops;
	uint32_t *free_slots;
	uint32_t nslots, nfree, active, ringing;
	uint32_t low,
		high; /* slots looked at for retransmission: those that ring on lie below */
	struct delay ring, hold;
	bool priming, filling; /* registering all users; setting up those that ring on */
	uint64_t next_user;
	uint32_t *caller; /* by callee; NULL: by number */
	char realm[96];
	char (*nonce)[NONCE_MAX]; /* by user */
	uint32_t *nc;
	struct counters c;
	struct histogram latency[LAT_COUNT];
};

/* net.c */
int net_open(struct load *l);
struct out net_begin(struct sock *s);
/* Queues what was written since net_begin; nothing when it did not fit. */
void net_end(struct load *l, struct sock *s, const struct out *o, const struct sockaddr_in *to);
void net_resend(struct load *l, struct sock *s, const struct kept *k,
		const struct sockaddr_in *to);
void net_flush(struct load *l);
void net_receive(struct load *l);
/* Sleeps until something comes or `until`. */
void net_sleep(struct load *l, nsec until);

/* request.c */
/* The operation's request, with credentials where nonce is not empty. */
void request_send(struct load *l, struct op *o, struct span nonce, bool proxy);
void request_ack(struct load *l, struct op *o, uint32_t cseq);
void request_ack_failure(struct load *l, struct op *o, struct span to_line);
void request_bye(struct load *l, struct op *o);
/* A phone registers from where it takes calls; callers call from sockets of their own. */
struct sock *request_socket(const struct load *l, uint32_t user);
uint32_t caller_of(const struct load *l, uint32_t user);

/* op.c */
bool op_launch(struct load *l);
void op_response(struct load *l, const struct message *m);
void op_bye_due(struct load *l, struct op *o);
/* Retransmits and gives up. */
void op_scan(struct load *l);
struct op *op_find(struct load *l, struct span call_id_line);
uint32_t op_slot(const struct load *l, const struct op *o);
void op_put_id(struct load *l, struct out *out, const struct op *o);
void keep(struct kept *k, const struct out *o);
void delay_push(struct delay *d, nsec due, uint32_t slot, uint32_t gen);

/* uas.c */
void uas_request(struct load *l, struct sock *s, const struct message *m,
		 const struct sockaddr_in *from);
void uas_answer_due(struct load *l, struct op *o);

/* server.c: the servers' processes and their children. */
enum { THREADS_MAX = 1024 };
/* Of the threads of one name in a given process and its children. */
struct thread_cpu {
	int pid;
	char name[20];
	uint64_t ns;
};
struct threads {
	unsigned n;
	struct thread_cpu v[THREADS_MAX];
};
struct usage {
	uint64_t cpu_ns, user_ticks, kernel_ticks, pss_kib;
	unsigned processes;
	struct threads threads;
};
void server_find(const struct options *o);
/* memory: pss_kib too, which costs the kernel much more than the CPU times. */
struct usage server_usage(bool memory);

#endif

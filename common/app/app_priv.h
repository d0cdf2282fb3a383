/*
 * One process: what its files share.
 */
#ifndef EAVES_APP_PRIV_H
#define EAVES_APP_PRIV_H

#include "common/app/address.h"
#include "common/app/load.h"
#include "common/app/role.h"
#include "common/app/serve.h"
#include "common/bus/bus.h"
#include "common/directory/directory.h"
#include "common/flow/token.h"
#include "common/net/tls.h"
#include "common/poison/poison.h"
#include "common/store/store.h"

#include <pthread.h>

enum { APP_ADDRS_MAX = 128, APP_SECRET_BYTES = 32, APP_ERROR_MAX = CONF_ERROR_MAX };

/* A configuration in force: counted, since workers change over one by one. */
struct app_conf {
	atomic_uint refs;
	struct conf *conf;
};

/* Our own addresses, found once at the start. */
struct app_names {
	struct addr addrs[APP_ADDRS_MAX]; /* the machine's, then the listeners' */
	unsigned naddrs, nmachine;
	bool everywhere; /* a listener takes what comes to any address of the machine */
	struct span hosts[NET_LISTENERS_MAX]; /* as advertised */
	uint16_t ports[NET_LISTENERS_MAX];
	unsigned nlisteners;
	char text[NET_LISTENERS_MAX][256]; /* as long as `advertise` may be */
};

struct app_worker_slot {
	struct app_worker view; /* first: the roles' pointer is ours */
	struct app_conf *conf;
};

/* A node of a cluster: the bus and the engine of the cluster in a thread of their own. */
struct app_nodes {
	struct app *app;
	struct loop *loop;
	struct bus *bus;
	struct cluster *cluster;
	struct store *redis;	       /* of an edge; NULL: none */
	struct wheel_timer redis_read; /* armed: the other edge is not heard */
	pthread_t thread;
	bool running;
	/* As the roles were told; what was sent to it was sent to another. */
	bool lives[CLUSTER_NODES_MAX], given_up[CLUSTER_NODES_MAX];
	bool serves[CLUSTER_NODES_MAX], has_served[CLUSTER_NODES_MAX]; /* in this life */
	msec sent_again_ms[CLUSTER_NODES_MAX]; /* when what it had been sent was, lastly */
	/* When the bus's thread last had a message, and when it last went on after a stop. */
	_Atomic uint64_t heard_ms, stopped_ms;
	_Atomic uint64_t missed_ms;	  /* when a worker found that we were taken over */
	struct wheel_timer doubt;	  /* armed: we were stopped a moment ago */
	uint64_t doubted;		  /* who seemed dead since; a bit each */
	uint64_t edges;			  /* a bit each */
	uint64_t pair[CLUSTER_NODES_MAX]; /* of each node: it and its other member */
	const char *edge_pair;
	struct cluster_conf conf;
	struct stack_node node[CLUSTER_NODES_MAX];
	uint16_t link_listener;
	struct mac_key link_key; /* of introductions */
	_Atomic uint64_t strangers, unmarked, refused, links_no_tls, pair_down;
	struct log_limit strangers_logged, unmarked_logged, refused_logged, link_logged,
		full_logged, down_logged;
	/* By node, the last for who is none; who refuses, we or he. */
	struct log_limit no_tls_logged[CLUSTER_NODES_MAX + 1][2];
};

/* poison.c: what is refused, for it has crashed a process. */
struct app_poison {
	struct poison *set;
	struct mac_key fingerprint_key, note_key;
	char *path;
	int file, socket; /* -1: none */
	unsigned lines;	  /* in the file */
	struct loop_watch *watch;
	struct wheel_timer tell;
	uint8_t owed[CLUSTER_NODES_MAX]; /* nodes that came to life: how often they are told */
	struct log_limit logged;
	_Atomic uint64_t learnt, refused_notes;
};

struct app {
	const char *program;
	char *conf_path;
	struct app_conf *conf;	/* the main thread's; workers have their own */
	struct app_conf *fixed; /* the first: of what needs a restart to change; any thread */
	struct loop *loop;
	struct store *store;	 /* of this node alone */
	struct app_nodes *nodes; /* NULL: no cluster */
	struct records *records;
	struct metrics *metrics;
	struct admin *admin;
	struct net_tls *tls;
	struct stack_group *stacks;
	struct app_names names;
	unsigned char secret[APP_SECRET_BYTES]; /* of the pair, where there is a cluster */
	unsigned char cluster_secret[APP_SECRET_BYTES];
	uint64_t boot;
	struct flow_keys flows;
	struct app_poison poison;
	const struct app_role *role[APP_ROLE_COUNT];
	void *role_state[APP_ROLE_COUNT];
	struct app_worker_slot *worker;
	unsigned nworkers;
	uint64_t reloads, reload_errors;
	uint64_t started_wall_ms;
	struct app_service service;
	struct app_addresses addresses;
	struct app_load load;
	msec drain_until;
	bool released;
	struct wheel_timer sweep, drain;
	struct arena arena; /* of the main thread: commands parse values too */
};

struct app_conf *app_conf_new(struct conf *c);
struct app_conf *app_conf_unref(struct app_conf *c);

/* setup.c: everything from the configuration, in order, but for threads; -errno and ret_error.
 */
int app_setup(struct app *a, char ret_error[APP_ERROR_MAX]);
/* Starts the threads.  -errno and ret_error. */
int app_start(struct app *a, char ret_error[APP_ERROR_MAX]);
/* cluster.c: parts before records and store (open), and after them (attach). */
int app_nodes_open(struct app *a, char ret_error[APP_ERROR_MAX]);
/* Of that the part that opens nothing: is it the right program, and a->nodes, NULL without a
 * cluster.  What the bus is given; NULL and ret_error, the key in its file read. */
int app_nodes_new(struct app *a, char ret_error[APP_ERROR_MAX]);
struct bus_conf *app_bus_conf(const struct app_nodes *n, const struct conf *c,
			      char ret_error[APP_ERROR_MAX]);
void app_bus_conf_free(struct bus_conf *b);
int app_nodes_attach(struct app *a, char ret_error[APP_ERROR_MAX]);
int app_nodes_start(struct app *a);
void app_nodes_stop(struct app *a);
/* After the workers' end: who waits for a second place hears that there is none. */
void app_nodes_end(struct app *a);
/* When workers and roles have gone, which use the cluster; before the records. */
void app_nodes_free(struct app *a);
/* holders.c: who holds and who may write which records; what cluster_ops and cluster_below say
 * of each. */
void app_holders_find(struct app_nodes *n);
uint64_t app_sharers(void *arg, const struct store_row *row);
bool app_may_write(void *arg, unsigned node, const struct store_row *row);
bool app_may_offer(void *arg, unsigned node, const struct store_row *row);
bool app_kept_below(void *arg, const struct store_row *row);
/* Do we and node i have something to say to each other? */
bool app_nodes_speak(const struct app_nodes *n, unsigned i);
static inline const struct cluster_node *app_node(const struct app_nodes *n, unsigned i)
{
	return &n->conf.node[i];
}
/* The other member of our pair while it lives, as sip_flow.node; 0: none. */
uint16_t app_twin(const struct app *a);
/* This one, as sip_flow.node; 0 without a cluster. */
static inline uint16_t app_self(const struct app *a)
{
	return a->nodes ? (uint16_t)(a->nodes->conf.self + 1) : 0;
}
/* Of sip_flow.node: the first member of its pair; are two of one pair? */
uint16_t app_first_of_pair(const struct app *a, uint16_t node);
bool app_same_pair(const struct app *a, uint16_t x, uint16_t y);
/* nodes.c: commands and metrics of the cluster. */
int app_nodes_admin(struct app *a);
/* Of those that were never heard: nothing else says that an address or a firewall is wrong. */
void app_nodes_tell_missing(const struct app *a);
/* poison.c: the set, still empty.  0 or -ENOMEM. */
int app_poison_open(struct app *a);
/* What is remembered in data_dir, and of a node of a cluster what others tell by datagrams;
 * from now on a crash is told and written down.  -errno and ret_error. */
int app_poison_arm(struct app *a, char ret_error[APP_ERROR_MAX]);
/* Before the bus's loop ends; after the workers. */
void app_poison_unlisten(struct app *a);
void app_poison_close(struct app *a);
/* In the bus's thread: reads what has come by now; a node came to life and is to be told what
 * is known; a notice. */
void app_poison_look(struct app *a);
void app_poison_tell(struct app *a, unsigned node);
void app_poison_notice(struct app *a, unsigned node, struct span body);
/* redis.c: the store of an edge, in the bus's loop; 0 without one. */
int app_redis_open(struct app *a, char ret_error[APP_ERROR_MAX]);
int app_redis_check(const struct conf *c, char ret_error[APP_ERROR_MAX]);
/* Says so where it was away from the start: before the bus's thread runs. */
void app_redis_start(const struct app_nodes *n);
/* The other edge lives, or has died; in the bus's thread. */
void app_redis_partner(struct app_nodes *n);
void app_redis_show(const struct app *a, struct admin_reply *out);
void app_redis_metrics(const struct app *a, struct metrics_out *o);
/* ask.c: commands at other nodes; cluster_ops.admin. */
void app_nodes_asked(void *arg, unsigned node, uint64_t id, unsigned argc, char **argv,
		     struct span input);
int app_ask_admin(struct app *a);
/* key.c: the node's own for the bus. */
int app_read_key(const char *path, char ret[BUS_KEY_CHARS + 1], char ret_error[APP_ERROR_MAX]);
/* Makes one in a new file of mode 0600 and prints the public one. */
int app_make_key(const char *path, char ret_error[APP_ERROR_MAX]);
/* Prints the public one of what such a file has. */
int app_show_key(const char *path, char ret_error[APP_ERROR_MAX]);
/* hop.c: what the stack asks of us. */
size_t app_introduction(const struct app *a, unsigned node, char *buf);
int app_introduced(const struct app_worker *w, const struct sip_msg *m,
		   const struct sip_flow *f, struct net_peer *ret);
uint32_t app_classify(const struct app_worker *w, struct sip_flow *f, bool opened,
		      const struct net_peer *peer);
bool app_from_node(const struct app_worker *w, const struct sip_msg *m, struct sip_flow *f,
		   uint32_t *marks);
/* The user that a node says has sent it; in the arena. */
struct span app_node_user(const struct sip_msg *m);
/* end.c: as many descriptors as the system lets us have. */
void app_raise_limits(void);
/* The loop stops when every request under way has its answer, after two seconds (a node of a
 * cluster: drain_s), or when called again. */
void app_drain(struct app *a);
void app_teardown(struct app *a);
/* check.c: what app_setup would miss, in its words, of a with a configuration and roles alone;
 * makes and changes nothing.  -errno and ret_error. */
int app_check(struct app *a, char ret_error[APP_ERROR_MAX]);
/* secret.c: the node's secret from data_dir.  make_it: both are made at the first start; else
 * it is only looked whether they could be. */
int app_secret_load(struct app *a, bool make_it, char ret_error[APP_ERROR_MAX]);
/* reload.c: reads the file again; the running configuration stays on error. */
int app_reload(struct app *a, char ret_error[APP_ERROR_MAX]);
/* Reads the certificates named in c: the first time, or anew. */
int app_tls_apply(struct app *a, const struct conf *c, char *ret_error);
/* names.c */
int app_names_find(struct app_names *n, const struct conf *c);
int app_names_load(struct app *a, char ret_error[APP_ERROR_MAX]);
/* status.c: commands and metrics of the process itself. */
int app_admin_start(struct app *a, char ret_error[APP_ERROR_MAX]);
void app_admin_path(const struct conf *c, char *ret, size_t room);
void app_store_path(const struct conf *c, char *ret, size_t room);

#endif

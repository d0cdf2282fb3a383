/*
 * Configuration: what is accepted, what is filled in, and that a fault names its line.
 */
#include "common/conf/conf.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <unistd.h>

#define MINIMAL                  \
	"domain: example.test\n" \
	"listeners:\n"           \
	"  - {transport: udp, address: 127.0.0.1}\n"

static struct conf *parse(const char *text, char error[CONF_ERROR_MAX])
{
	return conf_parse("t.yaml", span_str(text), error);
}

static struct conf *parse_ok(const char *text)
{
	char error[CONF_ERROR_MAX];
	struct conf *c = parse(text, error);

	ck_assert_msg(c != NULL, "%s", error);
	ck_assert_str_eq(error, "");
	return c;
}

/* The error must begin with `start` and contain `part`. */
static void parse_fails(const char *text, const char *start, const char *part)
{
	char error[CONF_ERROR_MAX];

	ck_assert_ptr_null(parse(text, error));
	ck_assert_msg(strncmp(error, start, strlen(start)) == 0, "%s", error);
	ck_assert_msg(strstr(error, part) != NULL, "%s", error);
	ck_assert_ptr_null(strchr(error, '\n'));
}

START_TEST(domain_and_one_listener_are_enough)
{
	struct conf *c = parse_ok(MINIMAL);

	ck_assert_str_eq(c->domain, "example.test");
	ck_assert_uint_eq(c->listeners_count, 1);
	ck_assert_int_eq(c->listeners[0].transport, SIP_TRANSPORT_UDP);
	ck_assert_uint_eq(c->listeners[0].port, 5060);
	ck_assert_uint_eq(addr_port(&c->listeners[0].addr), 5060);
	ck_assert_int_eq(c->listeners[0].policy, CONF_POLICY_NORMAL);
	ck_assert(!c->listeners[0].mutual_tls);
	ck_assert_int_eq(c->store, CONF_STORE_MEMORY);
	conf_free(c);
}
END_TEST

START_TEST(absent_keys_get_the_defaults_of_their_modules)
{
	struct conf *c = parse_ok(MINIMAL "registrar: {expires_min_s: 1}\n");

	ck_assert_mem_eq(&c->limits, &sip_limits_default, sizeof(c->limits));
	ck_assert_uint_eq(c->registrar.expires_min_s, 1);
	ck_assert_uint_eq(c->registrar.expires_default_s, 3600);
	ck_assert(c->proxy.record_route && c->edge.outbound && c->auth.md5 && c->auth.sha256);
	ck_assert_uint_eq(c->timers.t1_ms, 500);
	ck_assert_int_eq(c->log.level, LOG_INFO);
	ck_assert_str_eq(c->auth.realm, "example.test");
	ck_assert_ptr_null(c->admin.socket);
	conf_free(c);
}
END_TEST

START_TEST(zero_and_false_in_the_file_are_not_taken_for_absent)
{
	struct conf *c = parse_ok(MINIMAL "moderation_us: 0\n"
					  "proxy: {record_route: false}\n"
					  "auth: {md5: no, lock_failures: 0}\n");

	ck_assert_uint_eq(c->moderation_us, 0);
	ck_assert(!c->proxy.record_route);
	ck_assert(!c->auth.md5);
	ck_assert_uint_eq(c->auth.lock_failures, 0);
	conf_free(c);
}
END_TEST

START_TEST(a_full_file_is_read)
{
	struct conf *c =
		parse_ok("domain: example.test\n"
			 "aliases: [sip.example.test, \"[2001:db8::1]\"]\n"
			 "listeners:\n"
			 "  - transport: udp\n"
			 "    address: 0.0.0.0\n"
			 "    port: 5070\n"
			 "    advertise: sip.example.test\n"
			 "    policy: challenge\n"
			 "  - {transport: tls, address: \"::\", mutual_tls: true}\n"
			 "data_dir: /var/lib/eaves\n"
			 "store: sqlite\n"
			 "edge:\n"
			 "  trusted:\n"
			 "    - network: 10.0.0.0/8\n"
			 "    - certificate: pbx.example.net\n"
			 "  routes:\n"
			 "    - {domain: \"*\", uri: \"sip:gw.example.net;lr\"}\n"
			 "  outbound: false\n"
			 "tls:\n"
			 "  certificates:\n"
			 "    - {domain: example.test, certificate: a.pem, key: b.pem}\n"
			 "dns: {servers: \"127.0.0.1:5353,[::1]:53,::1\"}\n"
			 "admin: {http: \"127.0.0.1:9060\"}\n"
			 "log: {level: debug}\n");

	ck_assert_uint_eq(c->aliases_count, 2);
	ck_assert_str_eq(c->aliases[1], "[2001:db8::1]");
	ck_assert_uint_eq(c->listeners[0].port, 5070);
	ck_assert_int_eq(c->listeners[0].policy, CONF_POLICY_CHALLENGE);
	ck_assert_uint_eq(c->listeners[1].port, 5061);
	ck_assert(c->listeners[1].mutual_tls);
	ck_assert_int_eq(c->listeners[1].addr.sa.sa_family, AF_INET6);
	ck_assert_uint_eq(c->edge.trusted[0].net.prefix_bits, 8);
	ck_assert_str_eq(c->edge.trusted[1].certificate, "pbx.example.net");
	ck_assert_str_eq(c->edge.routes[0].domain, "*");
	ck_assert(!c->edge.outbound);
	ck_assert_str_eq(c->admin.socket, "/var/lib/eaves/admin.sock");
	ck_assert_int_eq(c->log.level, LOG_DEBUG);
	conf_free(c);
}
END_TEST

START_TEST(an_unknown_key_is_an_error_on_its_own_line)
{
	parse_fails(MINIMAL "net:\n  idle_s: 60\n  idel_s: 60\n", "t.yaml:6: ", "idel_s");
	parse_fails(MINIMAL "\nbogus: 1\n", "t.yaml:5: ", "bogus");
}
END_TEST

START_TEST(a_value_of_the_wrong_type_is_an_error_on_its_line)
{
	parse_fails(MINIMAL "timers:\n  t1_ms: banana\n", "t.yaml:5: ", "banana");
	parse_fails(MINIMAL "workers: -3\n", "t.yaml:4: ", "-3");
	parse_fails(MINIMAL "workers: [1]\n", "t.yaml:4: ", "");
	parse_fails(MINIMAL "proxy: {recurse: banana}\n", "t.yaml:4: ", "true or false");
	parse_fails(MINIMAL "log: {level: loud}\n", "t.yaml:4: ", "loud");
	parse_fails(
		"domain: a\nlisteners:\n - {transport: udp, address: 1.2.3.4, port: 70000}\n",
		"t.yaml:3: ", "70000");
	parse_fails("domain: a\nlisteners:\n - {transport: carrier-pigeon, address: 1.2.3.4}\n",
		    "t.yaml:3: ", "carrier-pigeon");
}
END_TEST

START_TEST(a_wrong_value_is_told_with_its_key_and_what_is_taken)
{
	parse_fails(MINIMAL "log: {level: loud}\n", "t.yaml:4: log.level: ",
		    "one of error, warn, info, debug, trace, not loud");
	parse_fails("domain: a\nlisteners:\n - {transport: sctp, address: 1.2.3.4}\n",
		    "t.yaml:3: listeners[0].transport: ", "udp, tcp, tls");
	parse_fails(MINIMAL "timers: {t2_ms: 4000, t1_ms: banana}\n",
		    "t.yaml:4: timers.t1_ms: ", "a number from 50 to 10000, not banana");
	parse_fails(MINIMAL "workers:\n", "t.yaml:4: workers: ", "a number");
	parse_fails(MINIMAL "log: debug\n", "t.yaml:4: log: ", "keys of its own");
	parse_fails(MINIMAL "aliases: b\n", "t.yaml:4: aliases: ", "a list");
	parse_fails("hello\n", "t.yaml:1: ", "the file wants keys of its own");
	parse_fails("domain: \"\"\nlisteners: []\n", "t.yaml:1: domain: ", "empty");
}
END_TEST

/* What libcyaml says names neither the element nor, of several on a line, the key. */
START_TEST(a_fault_in_a_list_is_told_with_its_line_and_the_whole_key)
{
	const char *two = "domain: a\nlisteners:\n  - transport: udp\n    address: 1.2.3.4\n";
	char text[512];

	snprintf(text, sizeof(text), "%s  - transport: tcp\n    port: 1\n", two);
	parse_fails(text, "t.yaml:5: listeners[1].address: ", "needed, and not there");
	snprintf(text, sizeof(text), "%s  - transport: tcp\n    adress: 1.2.3.4\n", two);
	parse_fails(text, "t.yaml:6: listeners[1].adress: ", "unknown key");
	parse_fails(MINIMAL "edge:\n  trusted:\n    - network: 10.0.0.0/8\n"
			    "  routes:\n    - network: 10.0.0.0/8\n",
		    "t.yaml:8: edge.routes[0].network: ", "unknown key");
	parse_fails(MINIMAL "tls:\n  certificates:\n    - domain: b\n      certificate: c\n"
			    "edge: {trusted: [{network: 10.0.0.0/8}]}\n",
		    "t.yaml:6: tls.certificates[0].key: ", "needed, and not there");
	parse_fails(MINIMAL "edge: {trusted: [{network: 10.0.0.0/8}, 10.0.0.0/8]}\n",
		    "t.yaml:4: edge.trusted[1]: ", "keys of its own");
	parse_fails(MINIMAL "edge: {trusted: [{network: \"\"}]}\n",
		    "t.yaml:4: edge.trusted[0].network: ", "empty");
	parse_fails(MINIMAL "edge: {outbound: yes, routes: x}\n",
		    "t.yaml:4: edge.routes: ", "a list");
	parse_fails(MINIMAL "edge: {routes: [{uri: [x], domain: b}]}\n",
		    "t.yaml:4: edge.routes[0].uri: ", "one value");
	parse_fails(MINIMAL "aliases:\n  - b\n  - [c]\n",
		    "t.yaml:6: aliases[1]: ", "one value");
	parse_fails(MINIMAL "workers: [1]\n", "t.yaml:4: workers: ", "one value");
	parse_fails(MINIMAL "bogus: 1\n", "t.yaml:4: bogus: ", "unknown key");
	parse_fails("domain: a\n", "t.yaml:1: listeners: ", "needed, and not there");
}
END_TEST

START_TEST(a_number_out_of_range_is_an_error_on_its_line)
{
	parse_fails(MINIMAL "\nnet:\n  idle_s: 2\n",
		    "t.yaml:6: net.idle_s: ", "from 5 to 86400 s");
	parse_fails(MINIMAL "limits: {headers: 129}\n", "t.yaml:4: limits.headers: ", "128");
	parse_fails(MINIMAL "moderation_us: 501\n", "t.yaml:4: moderation_us: ", "500 us");
	parse_fails(MINIMAL "workers: 4294967296\n", "t.yaml:4: ", "4294967296");
}
END_TEST

START_TEST(what_must_be_there_is_asked_for)
{
	parse_fails("", "t.yaml:1: ", "empty");
	parse_fails("domain: a\n", "t.yaml:1: ", "listeners");
	parse_fails("listeners:\n - {transport: udp, address: 1.2.3.4}\n", "t.yaml:", "domain");
	parse_fails("domain: a\nlisteners: []\n", "t.yaml:2: ", "");
	parse_fails("domain: a\nlisteners:\n - {transport: udp}\n", "t.yaml:3: ", "address");
}
END_TEST

START_TEST(listeners_are_checked_as_a_whole)
{
	parse_fails("domain: a\nlisteners:\n - {transport: udp, address: localhost}\n",
		    "t.yaml:3: listeners[0].address", "numeric");
	parse_fails("domain: a\nlisteners:\n - {transport: tls, address: 1.2.3.4}\n",
		    "t.yaml:3: ", "tls.certificates");
	parse_fails("domain: a\nlisteners:\n - {transport: udp, address: 1.2.3.4}\n"
		    " - {transport: udp, address: 1.2.3.4, port: 5060}\n",
		    "t.yaml:4: listeners[1]: ", "another");
	parse_fails("domain: a\nlisteners:\n"
		    " - {transport: tcp, address: 1.2.3.4, mutual_tls: true}\n",
		    "t.yaml:3: listeners[0].mutual_tls", "tls");
	conf_free(parse_ok("domain: a\nlisteners:\n - {transport: udp, address: 1.2.3.4}\n"
			   " - {transport: tcp, address: 1.2.3.4}\n"));
}
END_TEST

START_TEST(keys_that_depend_on_each_other_are_checked)
{
	parse_fails(MINIMAL "store: sqlite\n", "t.yaml:4: store", "data_dir");
	parse_fails(MINIMAL "registrar:\n  expires_min_s: 3601\n", "t.yaml:5: ", "default");
	parse_fails(MINIMAL "registrar:\n  expires_max_s: 100\n",
		    "t.yaml:4: registrar.expires_default_s", "expires_max_s");
	parse_fails(MINIMAL "timers: {t1_ms: 5000}\n", "t.yaml:4: ", "t2_ms");
	parse_fails(MINIMAL "edge: {routes: [{domain: a.b, uri: \"sip:\"}]}\n",
		    "t.yaml:4: edge.routes[0].uri", "no sip or sips URI");
	parse_fails(MINIMAL "edge: {routes: [{domain: a.b, uri: \"sip:gw?a=b\"}]}\n",
		    "t.yaml:4: edge.routes[0].uri", "no headers");
	parse_fails(MINIMAL "edge: {routes: [{domain: a.b, uri: \"sip:gw:port\"}]}\n",
		    "t.yaml:4: edge.routes[0].uri", "no sip or sips URI");
	parse_fails(MINIMAL "registrar: {service_route: \"sip:e;lr\"}\n",
		    "t.yaml:4: ", "<sip:...>");
	parse_fails(MINIMAL "registrar: {service_route: \"<sip:e>\\r\\n<x>\"}\n",
		    "t.yaml:4: ", "control");
	parse_fails(MINIMAL "auth: {md5: off, sha256: off}\n", "t.yaml:4: ", "both");
	parse_fails(MINIMAL "edge:\n  trusted:\n    - {}\n", "t.yaml:6: ", "either");
	parse_fails(MINIMAL "edge:\n  trusted:\n    - {network: 10.0.0.0/33}\n",
		    "t.yaml:6: edge.trusted[0].network", "network");
	parse_fails(MINIMAL "edge:\n  routes:\n    - {domain: b, uri: \"tel:1\"}\n",
		    "t.yaml:6: ", "sip");
	parse_fails(MINIMAL "dns: {servers: \"1.2.3.4,x\"}\n", "t.yaml:4: dns.servers", "");
	parse_fails(MINIMAL "redis: {sentinels: \"1.2.3.4:1\"}\n", "t.yaml:4: redis.primary",
		    "together");
	parse_fails(MINIMAL "redis: {servers: \"1.2.3.4:1\", sentinel_password: x}\n",
		    "t.yaml:4: redis.sentinel_password", "no sentinels");
	parse_fails(MINIMAL "admin: {http: 127.0.0.1}\n", "t.yaml:4: admin.http", "port");
	parse_fails("domain: a b\nlisteners:\n - {transport: udp, address: 1.2.3.4}\n",
		    "t.yaml:1: domain", "host");
}
END_TEST

START_TEST(anchors_aliases_tags_and_second_documents_are_refused)
{
	parse_fails("domain: &a x\naliases: [*a, *a]\n", "t.yaml:1: ", "anchors");
	parse_fails("aliases: [*a]\n", "t.yaml:1: ", "anchors");
	parse_fails("domain: !!str x\n", "t.yaml:1: ", "tags");
	parse_fails(MINIMAL "---\ndomain: b\n", "t.yaml:", "second document");
	parse_fails("domain: \"a\\nb\"\n", "t.yaml:1: ", "control");
	parse_fails("domain: \"a\\0b\"\n", "t.yaml:1: ", "control");
}
END_TEST

START_TEST(a_key_given_twice_is_refused)
{
	parse_fails(MINIMAL "workers: 1\nworkers: 2\n", "t.yaml:5: workers: ", "twice");
	parse_fails(MINIMAL "log: {level: info, level: warn}\n",
		    "t.yaml:4: log.level: ", "twice");
}
END_TEST

START_TEST(broken_yaml_is_an_error_with_a_line)
{
	parse_fails("domain: a\n  listeners: [", "t.yaml:2: not YAML", "");
	parse_fails("[", "t.yaml:", "not YAML");
	parse_fails("\xff\xfe\x01", "t.yaml:1: ", "");
	parse_fails("? {a: b}\n: c\n", "t.yaml:1: ", "key");
}
END_TEST

START_TEST(deep_nesting_is_refused_early)
{
	char text[4096];

	memset(text, '[', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	parse_fails(text, "t.yaml:1: ", "nested");
}
END_TEST

START_TEST(a_file_above_256_kib_is_refused)
{
	char *text = malloc(300 * 1024);
	char error[CONF_ERROR_MAX];

	ck_assert_ptr_nonnull(text);
	memset(text, '#', 300 * 1024);
	ck_assert_ptr_null(conf_parse("t.yaml", span_of(text, 300 * 1024), error));
	ck_assert_ptr_nonnull(strstr(error, "256 KiB"));
	free(text);
}
END_TEST

START_TEST(a_file_with_thousands_of_keys_is_refused)
{
	char *text = malloc(200 * 1024), error[CONF_ERROR_MAX];
	size_t n = 0;

	ck_assert_ptr_nonnull(text);
	for (unsigned i = 0; i < 5000; i++)
		n += (size_t)sprintf(text + n, "k%u: 1\n", i);
	ck_assert_ptr_null(conf_parse("t.yaml", span_of(text, n), error));
	ck_assert_ptr_nonnull(strstr(error, "more keys"));
	free(text);
}
END_TEST

START_TEST(a_file_is_loaded_and_a_missing_one_named)
{
	char path[] = "/tmp/eaves-conf-XXXXXX", error[CONF_ERROR_MAX];
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, MINIMAL, strlen(MINIMAL)), (ssize_t)strlen(MINIMAL));
	close(fd);
	struct conf *c = conf_load(path, error);
	ck_assert_msg(c != NULL, "%s", error);
	conf_free(c);
	unlink(path);
	ck_assert_ptr_null(conf_load(path, error));
	ck_assert_ptr_nonnull(strstr(error, "No such file"));
	ck_assert_ptr_null(conf_load("/tmp", error));
	ck_assert_ptr_nonnull(strstr(error, "directory"));
}
END_TEST

START_TEST(the_example_in_deploy_is_sound)
{
	char error[CONF_ERROR_MAX];
	struct conf *c = conf_load("deploy/eaves.yaml.example", error);

	ck_assert_msg(c != NULL, "%s", error);
	conf_free(c);
}
END_TEST

START_TEST(a_reload_tells_what_needs_a_restart)
{
	struct conf *a = parse_ok(MINIMAL);
	struct conf *same = parse_ok(MINIMAL "registrar: {gruu: false}\nlog: {level: warn}\n");
	struct conf *workers = parse_ok(MINIMAL "workers: 2\n");
	struct conf *port = parse_ok("domain: example.test\nlisteners:\n"
				     "  - {transport: udp, address: 127.0.0.1, port: 5070}\n");
	struct conf *idle = parse_ok(MINIMAL "net: {idle_s: 7}\n");
	struct conf *md5 = parse_ok(MINIMAL "auth: {md5: false}\n");
	struct conf *lock = parse_ok(MINIMAL "auth: {lock_failures: 3}\n");
	struct conf *recurse = parse_ok(MINIMAL "proxy: {recurse: true}\n");
	struct conf *redirect = parse_ok(MINIMAL "proxy: {redirect: always}\n");
	struct conf *name = parse_ok("domain: example.test\nlisteners:\n"
				     "  - {transport: udp, address: 127.0.0.1, "
				     "advertise: sip.example.test}\n");

	ck_assert_ptr_null(conf_needs_restart(a, a));
	ck_assert_ptr_null(conf_needs_restart(a, same));
	ck_assert_str_eq(conf_needs_restart(a, workers), "workers");
	ck_assert_str_eq(conf_needs_restart(a, port), "listeners");
	ck_assert_str_eq(conf_needs_restart(a, idle), "net");
	ck_assert_str_eq(conf_needs_restart(a, md5), "auth");
	ck_assert_str_eq(conf_needs_restart(a, lock), "auth");
	ck_assert_ptr_nonnull(conf_needs_restart(a, recurse));
	ck_assert_ptr_null(conf_needs_restart(a, redirect));
	ck_assert_str_eq(conf_needs_restart(a, name), "listeners");
	conf_free(a);
	conf_free(same);
	conf_free(workers);
	conf_free(port);
	conf_free(idle);
	conf_free(md5);
	conf_free(lock);
	conf_free(recurse);
	conf_free(redirect);
	conf_free(name);
}
END_TEST

/* what: the beginning of what is said; NULL: the change is taken over. */
static void needs_restart(const char *a, const char *b, const char *what)
{
	struct conf *x = parse_ok(a), *y = parse_ok(b);
	const char *said = conf_needs_restart(x, y);

	if (!what)
		ck_assert_ptr_null(said);
	else
		ck_assert_msg(said && strncmp(said, what, strlen(what)) == 0, "%s: %s", b,
			      said ? said : "nothing");
	ck_assert_ptr_null(conf_needs_restart(y, y));
	conf_free(x);
	conf_free(y);
}

START_TEST(redis_is_read_at_the_start_alone)
{
	const char *none = MINIMAL;
	const char *one = MINIMAL "redis: {servers: \"127.0.0.1:1\"}\n";
	const char *by_name = MINIMAL
		"redis: {sentinels: \"127.0.0.1:1\", primary: a, sentinel_password: /p}\n";

	needs_restart(none, one, "redis");
	needs_restart(one, none, "redis");
	needs_restart(one, MINIMAL "redis: {servers: \"127.0.0.1:2\"}\n", "redis");
	needs_restart(one, MINIMAL "redis: {servers: \"127.0.0.1:1\", password: /p}\n",
		      "redis");
	needs_restart(one, MINIMAL "redis: {servers: \"127.0.0.1:1\", timeout_ms: 777}\n",
		      "redis");
	needs_restart(one, MINIMAL "redis: {servers: \"127.0.0.1:1\", queue_rows: 7777}\n",
		      "redis");
	needs_restart(one, by_name, "redis");
	needs_restart(
		by_name,
		MINIMAL
		"redis: {sentinels: \"127.0.0.1:1\", primary: b, sentinel_password: /p}\n",
		"redis");
	needs_restart(by_name, MINIMAL "redis: {sentinels: \"127.0.0.1:1\", primary: a}\n",
		      "redis");
}
END_TEST

#define NODES(key)                                                                             \
	"domain: example.test\n"                                                               \
	"listeners:\n"                                                                         \
	"  - {transport: udp, address: 127.0.0.1}\n"                                           \
	"  - {transport: tcp, address: 127.0.0.1, port: 5070, policy: cluster}\n"              \
	"cluster:\n"                                                                           \
	"  node: e1\n  secret: /s\n  bus_key: /k\n"                                            \
	"  nodes:\n"                                                                           \
	"    - {name: e1, pair: e, role: edge, bus: \"127.0.0.1:1\", sip: \"127.0.0.1:5070\"," \
	" key: \"0000000000000000000000000000000000000000\"}\n"                                \
	"    - {name: h1, pair: h, role: home, bus: \"127.0.0.1:2\", sip: \"127.0.0.1:5071\"," \
	" key: \"" key "\"}\n"
#define KEY "0000000000000000000000000000000000000001"

START_TEST(no_two_nodes_have_the_same_address)
{
	parse_fails(NODES(KEY) "    - {name: h2, pair: h, role: home, bus: \"127.0.0.1:2\","
			       " sip: \"127.0.0.1:5072\", key: \"" KEY "\"}\n",
		    "t.yaml:", "cluster.nodes[2].bus: is another node's too");
	parse_fails(NODES(KEY) "    - {name: h2, pair: h, role: home, bus: \"127.0.0.1:3\","
			       " sip: \"127.0.0.1:5071\", key: \"" KEY "\"}\n",
		    "t.yaml:", "cluster.nodes[2].sip: is another node's too");
}
END_TEST

START_TEST(the_cluster_is_read_at_the_start_but_for_how_long_draining_takes)
{
	needs_restart(NODES(KEY), NODES("0000000000000000000000000000000000000002"), "cluster");
	needs_restart(NODES(KEY), NODES(KEY) "  dead_ms: 2000\n", "cluster");
	needs_restart(NODES(KEY), NODES(KEY) "  drain_s: 9\n", NULL);
}
END_TEST

START_TEST(the_reference_names_every_section_with_unit_and_range)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	ck_assert_ptr_nonnull(f);
	conf_write_reference(f);
	fclose(f);
	ck_assert_ptr_nonnull(strstr(text, "| `idle_s` | 600 | 5 to 86400 s |"));
	ck_assert_ptr_nonnull(strstr(text, "## `listeners`: each entry"));
	ck_assert_ptr_nonnull(strstr(text, "| `domain` | *needed* |"));
	ck_assert_ptr_nonnull(strstr(text, "| `record_route` | true |"));
	ck_assert_ptr_nonnull(strstr(text, "| `level` | info |"));
	free(text);
}
END_TEST

UNIT_MAIN("conf", domain_and_one_listener_are_enough,
	  absent_keys_get_the_defaults_of_their_modules,
	  zero_and_false_in_the_file_are_not_taken_for_absent, a_full_file_is_read,
	  an_unknown_key_is_an_error_on_its_own_line,
	  a_value_of_the_wrong_type_is_an_error_on_its_line,
	  a_fault_in_a_list_is_told_with_its_line_and_the_whole_key,
	  a_number_out_of_range_is_an_error_on_its_line, what_must_be_there_is_asked_for,
	  listeners_are_checked_as_a_whole, keys_that_depend_on_each_other_are_checked,
	  anchors_aliases_tags_and_second_documents_are_refused, a_key_given_twice_is_refused,
	  a_wrong_value_is_told_with_its_key_and_what_is_taken,
	  broken_yaml_is_an_error_with_a_line, deep_nesting_is_refused_early,
	  a_file_above_256_kib_is_refused, a_file_with_thousands_of_keys_is_refused,
	  a_file_is_loaded_and_a_missing_one_named, the_example_in_deploy_is_sound,
	  a_reload_tells_what_needs_a_restart, redis_is_read_at_the_start_alone,
	  the_cluster_is_read_at_the_start_but_for_how_long_draining_takes,
	  no_two_nodes_have_the_same_address,
	  the_reference_names_every_section_with_unit_and_range)

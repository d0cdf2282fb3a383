/*
 * Path (RFC 3327), Service-Route (3608), outbound (5626): what is stored, answered and chosen.
 */
#include "tests/unit/home/registrar/reg_fixture.h"

static void two_vias(void)
{
	snprintf(fixture_via, sizeof(fixture_via),
		 "Via: SIP/2.0/UDP edge.example.com;branch=z9hG4bK2\r\n"
		 "Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1\r\n");
}

static void tcp(uint64_t conn)
{
	flow = flow_from(SIP_TRANSPORT_TCP, "192.0.2.4", 40000, conn);
}

START_TEST(rfc3327_5_3_path_is_stored_and_given_back_to_those_who_support_it)
{
	start();
	two_vias();
	ck_assert_uint_eq(
		reg_alice(1, "Contact: <sip:a@10.0.0.4>\r\nSupported: path\r\n"
			     "Path: <sip:p1@e;lr>, <sip:p2;lr>\r\nPath: <sip:p3;lr>\r\n"),
		200);
	ck_assert_str_eq(answered("Path"), "<sip:p1@e;lr>,<sip:p2;lr>,<sip:p3;lr>");
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert_span_eq(target[0].route, "<sip:p1@e;lr>,<sip:p2;lr>,<sip:p3;lr>");
	ck_assert(!target[0].has_flow);
	reg_alice(2, "Contact: <sip:a@10.0.0.4>\r\nPath: <sip:p1;lr>\r\n");
	ck_assert_str_eq(answered("Path"), "");
	lookup(T0);
	ck_assert_span_eq(target[0].route, "<sip:p1;lr>");
	stop();
}
END_TEST

START_TEST(rfc3327_5_3_strict_refuses_path_without_support)
{
	struct reg_conf conf = reg_conf_default;
	conf.domain = "example.com";
	conf.path_strict = true;
	start_with(&conf, records_new(NULL, 1, 10, NULL));
	ck_assert_uint_eq(reg_alice(1, "Contact: <sip:a@10.0.0.4>\r\nPath: <sip:p1;lr>\r\n"),
			  420);
	ck_assert_str_eq(answer.lines, "Unsupported: path\r\n");
	ck_assert_uint_eq(reg_alice(2, "Contact: <sip:a@10.0.0.4>\r\nPath: <sip:p1;lr>\r\n"
				       "Require: path\r\n"),
			  200);
	stop();
}
END_TEST

START_TEST(a_path_that_is_none_or_too_long_is_400)
{
	static char lines[4096];
	start();
	ck_assert_uint_eq(reg_alice(1, "Contact: <sip:a@h>\r\nPath: nonsense here\r\n"), 400);
	ck_assert_uint_eq(reg_alice(2, "Contact: <sip:a@h>\r\nPath: <mailto:x@y>\r\n"), 400);
	snprintf(lines, sizeof(lines),
		 "Contact: <sip:a@h>\r\nPath: <sip:%0600d@h;lr>\r\nPath: <sip:%0600d@h;lr>\r\n",
		 1, 2);
	ck_assert_uint_eq(reg_alice(3, lines), 400);
	ck_assert_str_eq(answer.reason, "Path Too Long");
	stop();
}
END_TEST

START_TEST(rfc5626_6_a_flow_of_the_same_instance_and_reg_id_is_replaced)
{
	struct reg_conf conf = reg_conf_default;
	conf.domain = "example.com";
	conf.flow_timer_s = 120;
	start_with(&conf, records_new(NULL, 1, 100, NULL));
	tcp(5);
	ck_assert_uint_eq(reg_alice(1,
				    "Supported: path, outbound\r\n"
				    "Contact: <sip:a@10.0.0.4:1000>;reg-id=1;" INSTANCE "\r\n"),
			  200);
	ck_assert_str_eq(answered("Require"), "outbound");
	ck_assert_str_eq(answered("Flow-Timer"), "120");
	ck_assert_str_eq(answered("Contact"),
			 "<sip:a@10.0.0.4:1000>;expires=3600;" INSTANCE ";reg-id=1");
	tcp(6);
	register_user("alice", "rebooted@ua", 1,
		      "Supported: path, outbound\r\n"
		      "Contact: <sip:a@10.0.0.4:2000>;reg-id=1;" INSTANCE "\r\n",
		      T0 + 1);
	ck_assert_uint_eq(answer.bindings, 1);
	ck_assert_int_eq(lookup(T0 + 1), 1);
	ck_assert_span_eq(target[0].uri, "sip:a@10.0.0.4:2000");
	ck_assert(target[0].has_flow);
	ck_assert_uint_eq(target[0].flow.conn, 6);
	ck_assert(sip_flow_equal(&target[0].flow, &flow));
	stop();
}
END_TEST

START_TEST(outbound_and_gruu_that_are_switched_off_are_unknown)
{
	struct reg_conf conf = reg_conf_default;
	conf.domain = "example.com";
	conf.no_outbound = conf.no_gruu = true;
	start_with(&conf, records_new(NULL, 1, 100, NULL));
	tcp(5);
	ck_assert_uint_eq(reg_alice(1, "Supported: outbound, gruu\r\n"
				       "Contact: <sip:a@10.0.0.4>;reg-id=1;" INSTANCE "\r\n"),
			  200);
	ck_assert_str_eq(answered("Require"), "");
	ck_assert_str_eq(answered("Contact"), "<sip:a@10.0.0.4>;expires=3600;" INSTANCE);
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert_uint_eq(target[0].reg_id, 0);
	ck_assert_uint_eq(reg_alice(2, "Require: gruu, path, outbound\r\n"), 420);
	ck_assert_str_eq(answer.lines, "Unsupported: gruu, outbound\r\n");
	stop();
}
END_TEST

START_TEST(rfc5626_7_of_several_flows_of_an_instance_the_newest_is_chosen)
{
	start();
	tcp(5);
	reg_alice(1, "Supported: outbound\r\nContact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n");
	tcp(6);
	register_user("alice", "c2", 1,
		      "Supported: outbound\r\nContact: <sip:a@h>;reg-id=2;" INSTANCE "\r\n",
		      T0 + 5);
	ck_assert_uint_eq(answer.bindings, 2);
	ck_assert_uint_eq(times("Contact"), 2);
	ck_assert_int_eq(lookup(T0 + 5), 2);
	ck_assert_uint_eq(target[0].reg_id, 2);
	ck_assert(!target[0].spare);
	ck_assert_uint_eq(target[1].reg_id, 1);
	ck_assert(target[1].spare);

	/* It fails: the other one takes over. */
	reg_flow_failed(reg, target[0].tag, &target[0].flow, target[0].route, T0 + 6);
	ck_assert_int_eq(lookup(T0 + 6), 1);
	ck_assert_uint_eq(target[0].reg_id, 1);
	ck_assert_uint_eq(reg_counters(reg).flows_failed, 1);
	alive = false;
	ck_assert_int_eq(lookup(T0 + 6), 0);
	stop();
}
END_TEST

START_TEST(rfc5626_7_the_other_flows_follow_their_instance_newest_first)
{
	static const struct {
		unsigned reg_id, at;
		const char *instance, *q;
	} phone[] = {{1, 1, "a", "0.5"},
		     {2, 3, "a", "0.1"},
		     {3, 2, "a", "0.9"},
		     {1, 4, "b", "0.7"},
		     {2, 5, "b", "0.2"}};
	static const struct {
		unsigned reg_id, q;
		bool spare;
	} want[] = {{2, 200, false},
		    {1, 200, true},
		    {2, 100, false},
		    {3, 100, true},
		    {1, 100, true}};
	char lines[256];

	start();
	for (unsigned i = 0; i < 5; i++) {
		char call_id[8];

		tcp(5 + i);
		snprintf(call_id, sizeof(call_id), "c%u", i);
		snprintf(lines, sizeof(lines),
			 "Supported: outbound\r\nContact: <sip:a@h>;q=%s;reg-id=%u;"
			 "+sip.instance=\"<urn:x:%s>\"\r\n",
			 phone[i].q, phone[i].reg_id, phone[i].instance);
		register_user("alice", call_id, 1, lines, T0 + phone[i].at);
		ck_assert_uint_eq(answer.status, 200);
	}
	ck_assert_int_eq(lookup(T0 + 9), 5);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_uint_eq(target[i].reg_id, want[i].reg_id);
		ck_assert_uint_eq(target[i].q, want[i].q);
		ck_assert_uint_eq(target[i].spare, want[i].spare);
	}
	stop();
}
END_TEST

START_TEST(rfc5626_6_without_ob_in_the_first_path_it_is_439)
{
	start();
	two_vias();
	ck_assert_uint_eq(reg_alice(1, "Supported: outbound\r\nPath: <sip:e;lr>\r\n"
				       "Contact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n"),
			  439);
	ck_assert_str_eq(answer.reason, "First Hop Lacks Outbound Support");
	ck_assert_uint_eq(reg_alice(2, "Path: <sip:e;lr>\r\n"
				       "Contact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n"),
			  200);
	ck_assert_str_eq(answered("Require"), "");
	ck_assert_ptr_null(strstr(answer.lines, "reg-id"));
	ck_assert_uint_eq(reg_alice(3, "Supported: outbound\r\nPath: <sip:x@e;lr;ob>\r\n"
				       "Contact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n"),
			  200);
	ck_assert_str_eq(answered("Require"), "outbound");
	ck_assert_str_eq(answered("Flow-Timer"), "");
	stop();
}
END_TEST

START_TEST(rfc5626_6_reg_id_without_instance_is_ignored_and_two_flows_at_once_are_400)
{
	start();
	tcp(5);
	ck_assert_uint_eq(
		reg_alice(1, "Supported: outbound\r\nContact: <sip:a@h>;reg-id=1\r\n"), 200);
	ck_assert_str_eq(answered("Require"), "");
	ck_assert_uint_eq(reg_alice(2, "Supported: outbound\r\nContact: <sip:b@h>\r\n"
				       "Contact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n"),
			  400);
	ck_assert_uint_eq(reg_alice(3, "Contact: <sip:a@h>;reg-id=0;" INSTANCE "\r\n"), 400);
	ck_assert_uint_eq(reg_alice(4, "Supported: outbound\r\nContact: <sip:a@h>;expires=0\r\n"
				       "Contact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n"),
			  200);
	ck_assert_uint_eq(answer.bindings, 1);
	stop();
}
END_TEST

START_TEST(rfc5626_7_a_430_by_way_of_the_path_removes_the_binding)
{
	start();
	two_vias();
	reg_alice(1, "Supported: outbound\r\nPath: <sip:x@e;lr;ob>\r\n"
		     "Contact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n");
	ck_assert_int_eq(lookup(T0), 1);
	reg_flow_failed(reg, target[0].tag, NULL, target[0].route, T0);
	ck_assert_int_eq(lookup(T0), 0);
	stop();
}
END_TEST

START_TEST(a_430_of_an_earlier_path_does_not_remove_the_binding)
{
	start();
	two_vias();
	reg_alice(1, "Supported: outbound\r\nPath: <sip:x@e;lr;ob>\r\n"
		     "Contact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n");
	reg_alice(2, "Supported: outbound\r\nPath: <sip:y@e;lr;ob>\r\n"
		     "Contact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n");
	ck_assert_int_eq(lookup(T0), 1);
	reg_flow_failed(reg, target[0].tag, NULL, SPAN("<sip:x@e;lr;ob>"), T0);
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert_span_eq(target[0].route, "<sip:y@e;lr;ob>");
	stop();
}
END_TEST

START_TEST(a_stream_binding_uses_its_connection_then_its_contact)
{
	start();
	tcp(5);
	reg_alice(1, "Contact: <sip:a@192.0.2.4:5060;transport=tcp>\r\n");
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert(target[0].has_flow);
	alive = false;
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert(!target[0].has_flow);
	alive = true;
	struct sip_flow other = target[0].flow = flow;
	other.conn = 4;
	reg_flow_failed(reg, target[0].tag, &other, target[0].route,
			T0); /* of an earlier connection */
	lookup(T0);
	ck_assert(target[0].has_flow);
	reg_flow_failed(reg, target[0].tag, &flow, target[0].route, T0);
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert(!target[0].has_flow);
	ck_assert_span_eq(target[0].uri, "sip:a@192.0.2.4:5060;transport=tcp");
	stop();
}
END_TEST

START_TEST(a_connection_of_an_earlier_start_is_not_used)
{
	struct reg_conf conf = reg_conf_default;
	conf.domain = "example.com";
	start();
	tcp(5);
	reg_alice(1, "Contact: <sip:a@192.0.2.4;transport=tcp>\r\n");
	reg_alice(2, "Supported: outbound\r\nContact: <sip:b@h>;reg-id=1;" INSTANCE "\r\n");
	reg_free(reg);
	reg = reg_new(&conf, NULL, records, &fixture_key, 78);
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert_span_eq(target[0].uri, "sip:a@192.0.2.4;transport=tcp");
	ck_assert(!target[0].has_flow);
	stop();
}
END_TEST

/* ---- connections of the other member of a pair ---- */

static enum reg_elsewhere where;

static enum reg_elsewhere flow_elsewhere(void *arg, const struct sip_flow *f, uint64_t boot)
{
	(void)arg;
	ck_assert_uint_ne(f->conn, 0);
	ck_assert_uint_eq(boot, 77);
	return where;
}

static const struct reg_ops ops_of_pair = {.flow_alive = flow_alive,
					   .flow_elsewhere = flow_elsewhere};

/* The same table, seen by the other member. */
static void go_to_other_member(void)
{
	struct reg_conf conf = reg_conf_default;
	conf.domain = "example.com";
	reg_free(reg);
	reg = reg_new(&conf, &ops_of_pair, records, &fixture_key, 78);
	ck_assert_ptr_nonnull(reg);
}

START_TEST(a_connection_of_the_other_member_is_a_way_to_the_phone)
{
	start();
	tcp(5);
	reg_alice(1, "Contact: <sip:a@192.0.2.4:5060;transport=tcp>\r\n");
	go_to_other_member();
	where = REG_AT_OTHER;
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert(target[0].has_flow);
	ck_assert_int_eq(target[0].elsewhere, REG_AT_OTHER);
	ck_assert_uint_eq(target[0].boot, 77);
	ck_assert_uint_eq(target[0].flow.conn, 5);
	where = REG_LOST;
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert(!target[0].has_flow);
	stop();
}
END_TEST

/* A phone whose contact is not where it called from may take calls there at once; the others
 * are back in a moment, or not at all. */
START_TEST(a_phone_on_its_way_is_awaited_unless_it_takes_calls_at_its_contact)
{
	static const struct {
		const char *contact;
		bool outbound, awaited;
	} v[] = {{"sip:a@192.0.2.4:5060;transport=tcp", false, false},
		 {"sip:a@192.0.2.4:40001;transport=tcp", false, true},
		 {"sip:a@10.0.0.4:5060;transport=tcp", false, true},
		 {"sip:a@phone.example.com;transport=tcp", false, true},
		 {"sip:a@192.0.2.4:5060;transport=tcp", true, true}};
	char line[256];

	for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		start();
		flow = flow_from(SIP_TRANSPORT_TCP, "192.0.2.4", 40001, 5);
		snprintf(line, sizeof(line), "Supported: outbound\r\nContact: <%s>%s\r\n",
			 v[i].contact, v[i].outbound ? ";reg-id=1;" INSTANCE : "");
		ck_assert_uint_eq(reg_alice(1, line), 200);
		go_to_other_member();
		where = REG_AWAITED;
		ck_assert_int_eq(lookup(T0), 1);
		ck_assert_msg(target[0].has_flow == v[i].awaited, "%u", i);
		ck_assert(!v[i].awaited || target[0].elsewhere == REG_AWAITED);
		stop();
	}
}
END_TEST

START_TEST(rfc5626_7_a_flow_that_lives_goes_before_a_newer_one_that_is_awaited)
{
	start();
	tcp(5);
	reg_alice(1, "Supported: outbound\r\nContact: <sip:a@h>;reg-id=1;" INSTANCE "\r\n");
	go_to_other_member();
	where = REG_AWAITED;
	tcp(6);
	register_user("alice", "c2", 1,
		      "Supported: outbound\r\nContact: <sip:a@h>;reg-id=2;" INSTANCE "\r\n",
		      T0 - 5);
	ck_assert_int_eq(lookup(T0), 2);
	ck_assert_uint_eq(target[0].reg_id, 2);
	ck_assert(!target[0].spare && target[1].spare);
	ck_assert_int_eq(target[1].elsewhere, REG_AWAITED);
	stop();
}
END_TEST

static bool nat_of(const char *via_params, const char *contact)
{
	char line[128];
	snprintf(fixture_via, sizeof(fixture_via),
		 "Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1%s\r\n", via_params);
	snprintf(line, sizeof(line), "Contact: <%s>\r\n", contact);
	ck_assert_int_ge(reg_drop(reg, SPAN("alice"), span_of(NULL, 0), T0, NULL, NULL), 0);
	ck_assert_uint_eq(register_user("alice", contact, 2, line, T0), 200);
	ck_assert_int_eq(lookup(T0), 1);
	return target[0].has_flow;
}

START_TEST(a_udp_phone_behind_a_nat_is_reached_by_the_address_it_came_from)
{
	start();
	flow = flow_from(SIP_TRANSPORT_UDP, "192.0.2.4", 6060, 0);
	ck_assert(!nat_of("", "sip:a@192.0.2.4:6060"));
	ck_assert(nat_of("", "sip:a@10.0.0.4:6060"));
	ck_assert_uint_eq(addr_port(&target[0].flow.remote), 6060);
	ck_assert(!nat_of("", "sip:a@192.0.2.4:7070"));
	ck_assert(nat_of(";rport=6060", "sip:a@192.0.2.4:7070"));
	ck_assert(!nat_of(";rport=6060", "sip:a@192.0.2.4:7070;transport=tcp"));
	ck_assert(!nat_of("", "sip:a@phone.example.com"));
	ck_assert(nat_of("", "sip:a@df7jal23ls0d.invalid"));
	flow = flow_from(SIP_TRANSPORT_UDP, "2001:db8::4", 5060, 0);
	ck_assert(!nat_of("", "sip:a@[2001:db8::4]"));
	ck_assert(nat_of("", "sip:a@[2001:db8::5]"));
	ck_assert(addr_equal(&target[0].flow.remote, &flow.remote));
	/* A forged ICMP error takes nobody off the air. */
	reg_flow_failed(reg, target[0].tag, &flow, target[0].route, T0);
	ck_assert_int_eq(lookup(T0), 1);
	stop();
}
END_TEST

UNIT_MAIN("home/registrar outbound",
	  rfc3327_5_3_path_is_stored_and_given_back_to_those_who_support_it,
	  rfc3327_5_3_strict_refuses_path_without_support,
	  a_path_that_is_none_or_too_long_is_400,
	  rfc5626_6_a_flow_of_the_same_instance_and_reg_id_is_replaced,
	  outbound_and_gruu_that_are_switched_off_are_unknown,
	  rfc5626_7_of_several_flows_of_an_instance_the_newest_is_chosen,
	  rfc5626_7_the_other_flows_follow_their_instance_newest_first,
	  rfc5626_6_without_ob_in_the_first_path_it_is_439,
	  rfc5626_6_reg_id_without_instance_is_ignored_and_two_flows_at_once_are_400,
	  rfc5626_7_a_430_by_way_of_the_path_removes_the_binding,
	  a_430_of_an_earlier_path_does_not_remove_the_binding,
	  a_stream_binding_uses_its_connection_then_its_contact,
	  a_connection_of_an_earlier_start_is_not_used,
	  a_connection_of_the_other_member_is_a_way_to_the_phone,
	  a_phone_on_its_way_is_awaited_unless_it_takes_calls_at_its_contact,
	  rfc5626_7_a_flow_that_lives_goes_before_a_newer_one_that_is_awaited,
	  a_udp_phone_behind_a_nat_is_reached_by_the_address_it_came_from)

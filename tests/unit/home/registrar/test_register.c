/*
 * REGISTER by RFC 3261 10.3, each rule named by its step.
 */
#include "tests/unit/home/registrar/reg_fixture.h"

START_TEST(s10_3_step_8_lists_the_binding_with_its_expiry_and_the_date)
{
	start();
	ck_assert_uint_eq(
		reg_alice(1, "Contact: \"A\" <sip:alice@192.0.2.4>;q=0.7;methods=\"INVITE\"\r\n"
			     "Expires: 600\r\n"),
		200);
	ck_assert_int_eq(answer.calls, 1);
	ck_assert_uint_eq(answer.bindings, 1);
	ck_assert_str_eq(
		answer.lines,
		"Contact: <sip:alice@192.0.2.4>;q=0.7;expires=600;methods=\"INVITE\"\r\n" DATE);
	stop();
}
END_TEST

START_TEST(s10_3_step_2_unknown_required_extensions_are_named)
{
	start();
	ck_assert_uint_eq(reg_alice(1, "Require: path, foo\r\nRequire: bar\r\n"), 420);
	ck_assert_str_eq(answer.lines, "Unsupported: foo, bar\r\n");
	stop();
}
END_TEST

START_TEST(s10_3_step_6_wildcard_wants_expires_0_and_no_other_contact)
{
	start();
	reg_alice(1, "Contact: <sip:alice@192.0.2.4>, <sip:alice@192.0.2.5>\r\n");
	ck_assert_uint_eq(reg_alice(2, "Contact: *\r\n"), 400);
	ck_assert_uint_eq(reg_alice(3, "Contact: *\r\nExpires: 60\r\n"), 400);
	ck_assert_uint_eq(reg_alice(4, "Contact: *, <sip:a@b>\r\nExpires: 0\r\n"), 400);
	ck_assert_uint_eq(reg_alice(5, "Contact: <sip:a@b>\r\nContact: *\r\nExpires: 0\r\n"),
			  400);
	ck_assert_int_eq(lookup(T0), 2);
	ck_assert_uint_eq(reg_alice(6, "Contact: *\r\nExpires: 0\r\n"), 200);
	ck_assert_str_eq(answer.lines, DATE);
	ck_assert_int_eq(lookup(T0), 0);
	ck_assert_uint_eq(reg_counters(reg).removed, 2);
	stop();
}
END_TEST

START_TEST(s10_3_step_6_a_contact_that_looks_like_a_wildcard_is_none)
{
	start();
	reg_alice(1, "Contact: <sip:alice@192.0.2.4>\r\n");
	ck_assert_uint_eq(reg_alice(2, "Contact: \"*67\" <sip:x@192.0.2.9>;expires=0\r\n"),
			  200);
	ck_assert_int_eq(lookup(T0), 1);
	stop();
}
END_TEST

START_TEST(s10_3_step_6_wildcard_with_an_old_cseq_removes_nothing)
{
	start();
	register_user("alice", "other@ua", 1, "Contact: <sip:alice@192.0.2.5>\r\n", T0);
	reg_alice(10, "Contact: <sip:alice@192.0.2.4>\r\n");
	ck_assert_uint_eq(reg_alice(9, "Contact: *\r\nExpires: 0\r\n"), 500);
	ck_assert_int_eq(lookup(T0), 2);
	stop();
}
END_TEST

START_TEST(s10_3_step_7_expiry_is_of_the_contact_then_the_header_then_the_default)
{
	start();
	ck_assert_uint_eq(
		reg_alice(1, "Contact: <sip:a@192.0.2.4>;expires=100\r\nExpires: 200\r\n"),
		200);
	ck_assert_ptr_nonnull(strstr(answer.lines, ";expires=100\r\n"));
	reg_alice(2, "Contact: <sip:a@192.0.2.4>\r\nExpires: 200\r\n");
	ck_assert_ptr_nonnull(strstr(answer.lines, ";expires=200\r\n"));
	reg_alice(3, "Contact: <sip:a@192.0.2.4>\r\n");
	ck_assert_ptr_nonnull(strstr(answer.lines, ";expires=3600\r\n"));
	reg_alice(4, "Contact: <sip:a@192.0.2.4>;expires=soon\r\n");
	ck_assert_ptr_nonnull(strstr(answer.lines, ";expires=3600\r\n"));
	ck_assert_uint_eq(answer.bindings, 1);
	stop();
}
END_TEST

START_TEST(s10_3_step_7_too_brief_is_423_and_too_long_is_cut)
{
	start();
	ck_assert_uint_eq(reg_alice(1, "Contact: <sip:a@192.0.2.4>;expires=59\r\n"), 423);
	ck_assert_str_eq(answer.lines, "Min-Expires: 60\r\n");
	ck_assert_str_eq(answer.reason, "Interval Too Brief");
	ck_assert_int_eq(lookup(T0), 0);
	ck_assert_uint_eq(reg_alice(2, "Contact: <sip:a@192.0.2.4>;expires=60\r\n"), 200);
	ck_assert_uint_eq(reg_alice(3, "Contact: <sip:a@192.0.2.4>;expires=99999999999\r\n"),
			  200);
	ck_assert_ptr_nonnull(strstr(answer.lines, ";expires=7200\r\n"));
	stop();
}
END_TEST

START_TEST(s10_3_step_7_contacts_are_compared_as_uris)
{
	start();
	reg_alice(1, "Contact: <sip:alice@PHONE.example.com;transport=tcp>\r\n");
	reg_alice(2, "Contact: <sip:%61lice@phone.example.com;transport=TCP>\r\n");
	ck_assert_uint_eq(answer.bindings, 1);
	ck_assert_ptr_nonnull(strstr(answer.lines, "<sip:%61lice@phone"));
	reg_alice(3, "Contact: <sip:Alice@phone.example.com;transport=TCP>\r\n");
	ck_assert_uint_eq(answer.bindings, 2);
	reg_alice(4, "Contact: <sip:alice@phone.example.com:5060;transport=tcp>;expires=0\r\n");
	ck_assert_uint_eq(answer.bindings, 2);
	reg_alice(5, "Contact: <sip:alice@phone.example.com;transport=tcp>;expires=0\r\n");
	ck_assert_uint_eq(answer.bindings, 1);
	stop();
}
END_TEST

START_TEST(s10_3_step_7_an_older_cseq_of_the_same_call_id_fails_the_request)
{
	start();
	reg_alice(10, "Contact: <sip:a@192.0.2.4>\r\n");
	ck_assert_uint_eq(reg_alice(9, "Contact: <sip:a@192.0.2.4>;expires=100\r\n"), 500);
	ck_assert_str_eq(answer.reason, "CSeq Out of Order");
	ck_assert_uint_eq(reg_alice(10, "Contact: <sip:a@192.0.2.4>;expires=0\r\n"), 500);
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert_uint_eq(register_user("alice", "other@ua", 1,
					"Contact: <sip:a@192.0.2.4>;expires=0\r\n", T0),
			  200);
	ck_assert_int_eq(lookup(T0), 0);
	ck_assert_uint_eq(reg_counters(reg).out_of_order, 2);
	stop();
}
END_TEST

START_TEST(s10_3_step_7_a_retransmission_over_a_restart_gets_its_200_again)
{
	start();
	ck_assert_uint_eq(reg_alice(10, "Contact: <sip:a@192.0.2.4>\r\n"), 200);
	ck_assert_uint_eq(reg_alice(10, "Contact: <sip:a@192.0.2.4>\r\n"), 200);
	ck_assert_uint_eq(answer.bindings, 1);
	stop();
}
END_TEST

START_TEST(s10_3_step_7_all_contacts_are_taken_or_none)
{
	start();
	reg_alice(10, "Contact: <sip:a@192.0.2.4>\r\n");
	ck_assert_uint_eq(reg_alice(9, "Contact: <sip:new@192.0.2.7>\r\n"
				       "Contact: <sip:a@192.0.2.4>\r\n"),
			  500);
	ck_assert_uint_eq(
		reg_alice(11, "Contact: <sip:new@192.0.2.7>, <sip:b@192.0.2.8>;expires=5\r\n"),
		423);
	ck_assert_uint_eq(reg_alice(12, "Contact: <sip:new@192.0.2.7>, <sip:b@bad host>\r\n"),
			  400);
	ck_assert_int_eq(lookup(T0), 1);
	ck_assert_span_eq(target[0].uri, "sip:a@192.0.2.4");
	stop();
}
END_TEST

START_TEST(s10_3_step_7_the_last_of_equal_contacts_in_one_request_counts)
{
	start();
	reg_alice(1,
		  "Contact: <sip:a@192.0.2.4>;expires=100, <sip:a@192.0.2.4>;expires=200\r\n");
	ck_assert_uint_eq(answer.bindings, 1);
	ck_assert_ptr_nonnull(strstr(answer.lines, ";expires=200\r\n"));
	reg_alice(2, "Contact: <sip:b@192.0.2.4>, <sip:b@192.0.2.4>;expires=0\r\n");
	ck_assert_uint_eq(answer.bindings, 1);
	reg_alice(3, "Contact: <sip:a@192.0.2.4>;expires=0, <sip:a@192.0.2.4>;expires=300\r\n");
	ck_assert_uint_eq(answer.bindings, 1);
	ck_assert_int_eq(lookup(T0), 1);
	stop();
}
END_TEST

START_TEST(s10_3_without_contact_the_bindings_are_shown)
{
	start();
	ck_assert_uint_eq(reg_alice(1, ""), 200);
	ck_assert_str_eq(answer.lines, DATE);
	reg_alice(2, "Contact: <sip:a@192.0.2.4>\r\n");
	ck_assert_uint_eq(register_user("alice", "query@ua", 1, "", T0 + 600500), 200);
	ck_assert_ptr_nonnull(strstr(answer.lines, "<sip:a@192.0.2.4>;expires=3000\r\n"));
	ck_assert_uint_eq(reg_counters(reg).queries, 2);
	ck_assert_uint_eq(reg_counters(reg).registered, 1);
	stop();
}
END_TEST

START_TEST(a_binding_ends_when_it_expires)
{
	start();
	reg_alice(1, "Contact: <sip:a@192.0.2.4>;expires=60\r\n");
	ck_assert_int_eq(lookup(T0 + 59999), 1);
	ck_assert_int_eq(lookup(T0 + 60000), 0);
	ck_assert_uint_eq(register_user("alice", "call1@ua", 1, "", T0 + 60000), 200);
	ck_assert_uint_eq(answer.bindings, 0);
	stop();
}
END_TEST

START_TEST(more_contacts_than_a_user_may_have_are_403)
{
	char line[64];
	start();
	for (unsigned i = 0; i < 10; i++) {
		snprintf(line, sizeof(line), "Contact: <sip:a@192.0.2.%u>\r\n", i + 1);
		ck_assert_uint_eq(reg_alice(i + 1, line), 200);
	}
	ck_assert_uint_eq(reg_alice(20, "Contact: <sip:a@192.0.2.11>\r\n"), 403);
	ck_assert_str_eq(answer.reason, "Too Many Contacts");
	ck_assert_uint_eq(reg_alice(21, "Contact: <sip:a@192.0.2.10>\r\n"), 200);
	ck_assert_uint_eq(
		reg_alice(22, "Contact: <sip:a@192.0.2.11>, <sip:a@192.0.2.1>;expires=0\r\n"),
		200);
	ck_assert_uint_eq(register_user("bob", "c", 1, "Contact: <sip:b@192.0.2.11>\r\n", T0),
			  200);
	ck_assert_uint_eq(reg_counters(reg).too_many, 1);
	stop();
}
END_TEST

START_TEST(bindings_of_broken_connections_make_room_for_new_ones)
{
	char line[64];
	start();
	for (unsigned i = 0; i < 10; i++) {
		flow = flow_from(SIP_TRANSPORT_TCP, "192.0.2.4", 1000, i + 1);
		snprintf(line, sizeof(line), "Contact: <sip:a@192.0.2.4:%u;transport=tcp>\r\n",
			 2000 + i);
		ck_assert_uint_eq(reg_alice(i + 1, line), 200);
	}
	ck_assert_uint_eq(reg_alice(20, "Contact: <sip:a@192.0.2.4:3000;transport=tcp>\r\n"),
			  403);
	alive = false;
	ck_assert_uint_eq(reg_alice(21, "Contact: <sip:a@192.0.2.4:3000;transport=tcp>\r\n"),
			  200);
	ck_assert_uint_eq(answer.bindings, 10);
	ck_assert_ptr_null(strstr(answer.lines, ":2000;"));
	ck_assert_ptr_nonnull(strstr(answer.lines, ":2001;"));
	stop();
}
END_TEST

START_TEST(bad_contacts_are_400_with_a_reason)
{
	static char line[1024];
	start();
	ck_assert_uint_eq(reg_alice(1, "Contact: <sip:a@b>;q=2\r\n"), 400);
	ck_assert_str_eq(answer.reason, "Invalid q in Contact");
	ck_assert_uint_eq(reg_alice(2, "Contact: <sip:a@good.com@evil.com>\r\n"), 400);
	ck_assert_uint_eq(reg_alice(3, "Contact: <sip:a@b:70000>\r\n"), 400);
	ck_assert_uint_eq(reg_alice(4, "Contact: <>\r\n"), 400);
	ck_assert_uint_eq(reg_alice(5, "Contact: <sip:a@b>, ,<sip:c@d>\r\n"), 400);
	ck_assert_uint_eq(reg_alice(6, "Contact: <sip:a@b>;+sip.instance=\"x\"\r\n"), 400);
	snprintf(line, sizeof(line), "Contact: <sip:%0600d@b>\r\n", 1);
	ck_assert_uint_eq(reg_alice(7, line), 400);
	ck_assert_str_eq(answer.reason, "Contact Too Long");
	ck_assert_uint_eq(reg_counters(reg).refused, 7);
	ck_assert_int_eq(lookup(T0), 0);
	stop();
}
END_TEST

START_TEST(folded_parameters_come_back_unfolded)
{
	start();
	ck_assert_uint_eq(reg_alice(1, "Contact: <sip:a@192.0.2.4>\r\n ;foo=\"a\r\n b\"\r\n"),
			  200);
	const char *p = strstr(answer.lines, "foo=");
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(strncmp(p, "foo=\"a", 6), 0);
	ck_assert_ptr_eq(strpbrk(p, "\r\n"), strstr(p, "b\"\r\n") + 2);
	stop();
}
END_TEST

START_TEST(a_full_table_is_503)
{
	struct reg_conf conf = reg_conf_default;
	conf.domain = "example.com";
	start_with(&conf, records_new(NULL, 1, 1, NULL));
	ck_assert_uint_eq(reg_alice(1, "Contact: <sip:a@192.0.2.4>\r\n"), 200);
	ck_assert_uint_eq(reg_alice(2, "Contact: <sip:a@192.0.2.5>\r\n"), 503);
	ck_assert_str_eq(answer.lines, "Retry-After: 5\r\n");
	ck_assert_uint_eq(reg_alice(3, "Contact: <sip:a@192.0.2.4>\r\n"), 200);
	stop();
}
END_TEST

START_TEST(a_full_arena_is_500_and_changes_nothing)
{
	start();
	for (size_t size = 16; size < 4096; size += 16) {
		fixture_arena.size_bytes = size;
		if (reg_alice(1, "Contact: <sip:a@192.0.2.4>;" INSTANCE
				 "\r\nPath: <sip:p;lr>\r\n") == 200)
			break;
		ck_assert_msg(answer.status == 500, "%u %s", answer.status, answer.reason);
		fixture_arena.size_bytes = 262144;
		ck_assert_int_eq(lookup(T0), 0);
	}
	ck_assert_uint_eq(answer.status, 200);
	fixture_arena.size_bytes = 262144;
	ck_assert_int_eq(lookup(T0), 1);
	stop();
}
END_TEST

START_TEST(settings_change_while_running_and_bad_ones_are_refused)
{
	struct reg_conf conf = reg_conf_default;
	start();
	ck_assert_int_eq(reg_set_conf(reg, &conf), -EINVAL);
	conf.domain = "example.com";
	conf.expires_min_s = 1;
	conf.expires_default_s = 5;
	conf.service_route = "<sip:home.example.com;lr>";
	ck_assert_int_eq(reg_set_conf(reg, &conf), 0);
	ck_assert_uint_eq(reg_alice(1, "Contact: <sip:a@192.0.2.4>\r\n"), 200);
	ck_assert_str_eq(answered("Service-Route"), "<sip:home.example.com;lr>");
	ck_assert_str_eq(answered("Contact"), "<sip:a@192.0.2.4>;expires=5");
	conf.contacts_per_user = REG_CONTACTS_MAX + 1;
	ck_assert_int_eq(reg_set_conf(reg, &conf), -EINVAL);
	stop();
}
END_TEST

UNIT_MAIN("home/registrar register",
	  s10_3_step_8_lists_the_binding_with_its_expiry_and_the_date,
	  s10_3_step_2_unknown_required_extensions_are_named,
	  s10_3_step_6_wildcard_wants_expires_0_and_no_other_contact,
	  s10_3_step_6_a_contact_that_looks_like_a_wildcard_is_none,
	  s10_3_step_6_wildcard_with_an_old_cseq_removes_nothing,
	  s10_3_step_7_expiry_is_of_the_contact_then_the_header_then_the_default,
	  s10_3_step_7_too_brief_is_423_and_too_long_is_cut,
	  s10_3_step_7_contacts_are_compared_as_uris,
	  s10_3_step_7_an_older_cseq_of_the_same_call_id_fails_the_request,
	  s10_3_step_7_a_retransmission_over_a_restart_gets_its_200_again,
	  s10_3_step_7_all_contacts_are_taken_or_none,
	  s10_3_step_7_the_last_of_equal_contacts_in_one_request_counts,
	  s10_3_without_contact_the_bindings_are_shown, a_binding_ends_when_it_expires,
	  more_contacts_than_a_user_may_have_are_403,
	  bindings_of_broken_connections_make_room_for_new_ones,
	  bad_contacts_are_400_with_a_reason, folded_parameters_come_back_unfolded,
	  a_full_table_is_503, a_full_arena_is_500_and_changes_nothing,
	  settings_change_while_running_and_bad_ones_are_refused)

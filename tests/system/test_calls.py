"""Calls through the server: one device, then the dialog from both sides."""
from phone import hang_up, talk


def test_a_call_is_set_up_and_ended(server_n):
	alice, bob = server_n.phone("alice"), server_n.phone("bob")
	alice.register()
	bob.register()
	a, b = talk(alice, bob)
	hang_up(a, b)

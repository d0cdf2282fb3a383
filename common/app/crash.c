/*
 * The handler of a crash.  Everything in it is async-signal-safe: hashing, write(2), sendto(2),
 * reading the clock, and no memory but its own stack and what was made ready before.
 */
#include "common/app/crash.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 2000, LINE_MAX_BYTES = 256, CALL_ID_MAX = 96 };

static const struct {
	int number;
	const char *name;
} signals[] = {{SIGSEGV, "SIGSEGV"},
	       {SIGBUS, "SIGBUS"},
	       {SIGABRT, "SIGABRT"},
	       {SIGFPE, "SIGFPE"},
	       {SIGILL, "SIGILL"}};
enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

static struct {
	struct crash_conf conf;
	struct sigaction before[SIGNALS];
	atomic_bool begun;
	bool armed;
} crash;

/* ---- a line of the log, by hand: common/base/log.c uses what may be locked here ---- */

struct line {
	char p[LINE_MAX_BYTES];
	size_t n;
};

static void put(struct line *l, struct span s)
{
	for (size_t i = 0; i < s.n && l->n < sizeof(l->p) - 1; i++)
		l->p[l->n++] = s.p[i];
}

/* At least `width` digits. */
static void put_number(struct line *l, uint64_t v, unsigned width)
{
	char digits[20];
	unsigned n = sizeof(digits);
	do
		digits[--n] = (char)('0' + v % 10);
	while ((v /= 10) || n > sizeof(digits) - width);
	put(l, span_of(digits + n, sizeof(digits) - n));
}

/* Days since 1970 as a date of the Gregorian calendar: years begin in March, so that the leap
 * day is their last. */
static void put_date(struct line *l, uint64_t days)
{
	uint64_t z = days + 719468, era = z / 146097, day = z % 146097;
	uint64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	uint64_t of_year = day - (365 * year + year / 4 - year / 100);
	uint64_t month = (5 * of_year + 2) / 153;
	put_number(l, year + era * 400 + (month >= 10), 4);
	put(l, SPAN("-"));
	put_number(l, month < 10 ? month + 3 : month - 9, 2);
	put(l, SPAN("-"));
	put_number(l, of_year - (153 * month + 2) / 5 + 1, 2);
}

static void put_time(struct line *l, uint64_t ms)
{
	put(l, SPAN("ts="));
	put_date(l, ms / 86400000);
	put(l, SPAN("T"));
	put_number(l, ms / 3600000 % 24, 2);
	put(l, SPAN(":"));
	put_number(l, ms / 60000 % 60, 2);
	put(l, SPAN(":"));
	put_number(l, ms / 1000 % 60, 2);
	put(l, SPAN("."));
	put_number(l, ms % 1000, 3);
	put(l, SPAN("Z"));
}

/* What needs no quotes; the rest is shown as '?'. */
static void put_call_id(struct line *l, struct span id)
{
	for (size_t i = 0; i < id.n && i < CALL_ID_MAX; i++) {
		char c = id.p[i];
		bool plain = c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
		put(l, span_of(plain ? &c : "?", 1));
	}
}

static void log_crash(const char *name, uint64_t ms, const struct poison_item *item,
		      struct span message)
{
	struct line l = {.n = 0};
	char hex[16];
	put_time(&l, ms);
	put(&l, SPAN(" level=error event=crashed signal="));
	put(&l, span_str(name));
	if (item) {
		mac_hex(item->fingerprint, hex);
		put(&l, SPAN(" fingerprint="));
		put(&l, span_of(hex, sizeof(hex)));
		put(&l, SPAN(" call-id="));
		put_call_id(&l, poison_call_id(message));
	}
	l.p[l.n++] = '\n';
	if (write(STDERR_FILENO, l.p, l.n) < 0)
		return; /* there is nobody left to be told */
}

/* ---- telling ---- */

static uint64_t wall_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void keep(const struct poison_item *item)
{
	char line[POISON_LINE_MAX];
	size_t n = poison_line_write(item, line);
	if (crash.conf.file >= 0 && write(crash.conf.file, line, n) < 0)
		return;
}

static void tell(const struct poison_item *item)
{
	char note[POISON_NOTE_BYTES];
	poison_note_write(&crash.conf.note_key, crash.conf.node, item, note);
	for (unsigned i = 0; crash.conf.socket >= 0 && i < crash.conf.n; i++) {
		const struct addr *to = &crash.conf.to[i];
		sendto(crash.conf.socket, note, sizeof(note), MSG_DONTWAIT | MSG_NOSIGNAL,
		       &to->sa, addr_len(to));
	}
}

static void speak(const char *name)
{
	struct span message = span_of(poison_work.p, poison_work.n);
	struct poison_item item = {.at_ms = wall_ms()};
	if (!message.p) {
		log_crash(name, item.at_ms, NULL, message);
		return;
	}
	item.fingerprint = poison_fingerprint(&crash.conf.fingerprint_key, message);
	tell(&item);
	keep(&item);
	log_crash(name, item.at_ms, &item, message);
}

/* ---- the signal ---- */

/* What was there before comes once more: the instruction fails again on return, so that a core
 * shows where; what somebody sent (abort, kill) is sent again. */
static void as_before(int number, unsigned i, const siginfo_t *info)
{
	sigaction(number, &crash.before[i], NULL);
	if (info->si_code <= 0)
		raise(number);
}

static void on_crash(int number, siginfo_t *info, void *context)
{
	int error = errno;
	unsigned i = 0;
	(void)context;
	while (i < SIGNALS - 1 && signals[i].number != number)
		i++;
	if (!atomic_exchange(&crash.begun, true))
		speak(signals[i].name);
	else
		poll(NULL, 0, WAIT_MS); /* another thread has not finished its last words */
	as_before(number, i, info);
	errno = error;
}

int crash_arm(const struct crash_conf *c)
{
	struct sigaction a = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigfillset(&a.sa_mask);
	crash.conf = *c;
	atomic_store(&crash.begun, false);
	for (unsigned i = 0; i < SIGNALS; i++) {
		if (sigaction(signals[i].number, &a, &crash.before[i]) == 0)
			continue;
		int error = errno;
		while (i-- > 0)
			sigaction(signals[i].number, &crash.before[i], NULL);
		return -error;
	}
	crash.armed = true;
	return 0;
}

void crash_disarm(void)
{
	for (unsigned i = 0; crash.armed && i < SIGNALS; i++)
		sigaction(signals[i].number, &crash.before[i], NULL);
	crash.armed = false;
	crash.conf.n = 0;
	crash.conf.file = crash.conf.socket = -1;
}

/*
 * Logs: logfmt lines on stderr, one per decision.  A value is quoted and escaped as it needs,
 * so that hostile input cannot forge a line.  Never pass a password, an HA1 or a digest
 * response.
 */
#ifndef EAVES_BASE_LOG_H
#define EAVES_BASE_LOG_H

#include "common/base/span.h"
#include "common/base/time.h"

#include <stdatomic.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

struct log_field {
	const char *key;
	struct span value;
	int64_t number;
	bool is_number;
};

#define LOG_S(k, s)   ((struct log_field){.key = (k), .value = (s)})
#define LOG_STR(k, s) ((struct log_field){.key = (k), .value = span_str(s)})
#define LOG_N(k, v)   ((struct log_field){.key = (k), .is_number = 1, .number = (int64_t)(v)})

/* log_event(LOG_INFO, "registered", LOG_S("aor", aor), LOG_N("bindings", n)) */
#define log_event(level, event, ...)                                                       \
	do {                                                                               \
		if (log_enabled(level)) {                                                  \
			const struct log_field log_f_[] = {__VA_ARGS__ __VA_OPT__(, ){0}}; \
			log_write((level), (event), log_f_,                                \
				  sizeof(log_f_) / sizeof(log_f_[0]) - 1);                 \
		}                                                                          \
	} while (0)

/* Of an event that others can have happen at any rate a line a second is logged: log_may()
 * before it, from any thread.  Who counts them says how many there were. */
struct log_limit {
	_Atomic msec last;
};
bool log_may(struct log_limit *l, msec now);

bool log_enabled(enum log_level level);
void log_set_level(enum log_level level);
/* "error" ... "trace" to a level; -EINVAL when it is none. */
int log_level_parse(struct span name, enum log_level *ret_level);
void log_write(enum log_level level, const char *event, const struct log_field *f, size_t n);
/* Lines that could not be written. */
uint64_t log_lost(void);

#endif

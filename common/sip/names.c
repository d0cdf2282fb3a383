/*
 * Names: methods, header fields with their compact forms, reason phrases (RFC 3261
 * sections 7.1, 7.3.3, 20, 21 and the IANA registry).  A header name is found by a perfect hash
 * of its length, first and last letter, then compared eight bytes at a time: the index looks up
 * every field.
 */
#include "common/sip/sip_priv.h"

static const char *const method_names[SIP_METHOD_COUNT] = {
	[SIP_METHOD_OTHER] = "OTHER",
	[SIP_INVITE] = "INVITE",
	[SIP_ACK] = "ACK",
	[SIP_BYE] = "BYE",
	[SIP_CANCEL] = "CANCEL",
	[SIP_REGISTER] = "REGISTER",
	[SIP_OPTIONS] = "OPTIONS",
	[SIP_MESSAGE] = "MESSAGE",
	[SIP_SUBSCRIBE] = "SUBSCRIBE",
	[SIP_NOTIFY] = "NOTIFY",
	[SIP_PUBLISH] = "PUBLISH",
	[SIP_PRACK] = "PRACK",
	[SIP_UPDATE] = "UPDATE",
	[SIP_INFO] = "INFO",
	[SIP_REFER] = "REFER",
};

/* The only method that a name of this length and first two letters can be. */
static enum sip_method method_guess(struct span name)
{
	switch (name.n << 16 | (unsigned char)name.p[0] << 8 | (unsigned char)name.p[1]) {
	case 6 << 16 | 'I' << 8 | 'N':
		return SIP_INVITE;
	case 3 << 16 | 'A' << 8 | 'C':
		return SIP_ACK;
	case 3 << 16 | 'B' << 8 | 'Y':
		return SIP_BYE;
	case 6 << 16 | 'C' << 8 | 'A':
		return SIP_CANCEL;
	case 8 << 16 | 'R' << 8 | 'E':
		return SIP_REGISTER;
	case 7 << 16 | 'O' << 8 | 'P':
		return SIP_OPTIONS;
	case 7 << 16 | 'M' << 8 | 'E':
		return SIP_MESSAGE;
	case 9 << 16 | 'S' << 8 | 'U':
		return SIP_SUBSCRIBE;
	case 6 << 16 | 'N' << 8 | 'O':
		return SIP_NOTIFY;
	case 7 << 16 | 'P' << 8 | 'U':
		return SIP_PUBLISH;
	case 5 << 16 | 'P' << 8 | 'R':
		return SIP_PRACK;
	case 6 << 16 | 'U' << 8 | 'P':
		return SIP_UPDATE;
	case 4 << 16 | 'I' << 8 | 'N':
		return SIP_INFO;
	case 5 << 16 | 'R' << 8 | 'E':
		return SIP_REFER;
	default:
		return SIP_METHOD_OTHER;
	}
}

enum sip_method sip_method_parse(struct span name)
{
	if (name.n < 3 || name.n > 9)
		return SIP_METHOD_OTHER;
	enum sip_method m = method_guess(name);
	if (m == SIP_METHOD_OTHER || memcmp(method_names[m], name.p, name.n) != 0)
		return SIP_METHOD_OTHER;
	return m;
}

const char *sip_method_name(enum sip_method m)
{
	return m < SIP_METHOD_COUNT ? method_names[m] : method_names[SIP_METHOD_OTHER];
}

static const char *const hdr_names[SIP_HDR_COUNT] = {
	[SIP_HDR_OTHER] = NULL,
	[SIP_HDR_VIA] = "Via",
	[SIP_HDR_FROM] = "From",
	[SIP_HDR_TO] = "To",
	[SIP_HDR_CALL_ID] = "Call-ID",
	[SIP_HDR_CSEQ] = "CSeq",
	[SIP_HDR_MAX_FORWARDS] = "Max-Forwards",
	[SIP_HDR_ROUTE] = "Route",
	[SIP_HDR_RECORD_ROUTE] = "Record-Route",
	[SIP_HDR_CONTACT] = "Contact",
	[SIP_HDR_CONTENT_LENGTH] = "Content-Length",
	[SIP_HDR_CONTENT_TYPE] = "Content-Type",
	[SIP_HDR_EXPIRES] = "Expires",
	[SIP_HDR_MIN_EXPIRES] = "Min-Expires",
	[SIP_HDR_AUTHORIZATION] = "Authorization",
	[SIP_HDR_PROXY_AUTHORIZATION] = "Proxy-Authorization",
	[SIP_HDR_WWW_AUTHENTICATE] = "WWW-Authenticate",
	[SIP_HDR_PROXY_AUTHENTICATE] = "Proxy-Authenticate",
	[SIP_HDR_REQUIRE] = "Require",
	[SIP_HDR_PROXY_REQUIRE] = "Proxy-Require",
	[SIP_HDR_SUPPORTED] = "Supported",
	[SIP_HDR_UNSUPPORTED] = "Unsupported",
	[SIP_HDR_ALLOW] = "Allow",
	[SIP_HDR_PATH] = "Path",
	[SIP_HDR_SERVICE_ROUTE] = "Service-Route",
	[SIP_HDR_P_ASSERTED_IDENTITY] = "P-Asserted-Identity",
	[SIP_HDR_P_PREFERRED_IDENTITY] = "P-Preferred-Identity",
	[SIP_HDR_PRIVACY] = "Privacy",
	[SIP_HDR_MAX_BREADTH] = "Max-Breadth",
	[SIP_HDR_RETRY_AFTER] = "Retry-After",
	[SIP_HDR_DATE] = "Date",
	[SIP_HDR_EVENT] = "Event",
	[SIP_HDR_REQUEST_DISPOSITION] = "Request-Disposition",
	[SIP_HDR_ACCEPT_CONTACT] = "Accept-Contact",
	[SIP_HDR_REPLY_TO] = "Reply-To",
	[SIP_HDR_WARNING] = "Warning",
	[SIP_HDR_REMOTE_PARTY_ID] = "Remote-Party-ID",
	[SIP_HDR_EAVES_LINK] = "Eaves-Link",
};

const char *sip_hdr_name(enum sip_hdr_kind k)
{
	return k < SIP_HDR_COUNT ? hdr_names[k] : NULL;
}

/*
 * The hash is perfect over the names below: two in one slot do not compile (-Woverride-init).
 */
#define NAME(s, f, l, k) [SIP_NAME_SLOT(sizeof(s) - 1, f, l)] = {s, sizeof(s) - 1, k}
#define COMPACT(s, c, k) [SIP_NAME_SLOT(1, c, c)] = {s, 1, k}

const struct sip_name_slot sip_name_slots[128] = {
	NAME("via", 'v', 'a', SIP_HDR_VIA),
	NAME("from", 'f', 'm', SIP_HDR_FROM),
	NAME("to", 't', 'o', SIP_HDR_TO),
	NAME("call-id", 'c', 'd', SIP_HDR_CALL_ID),
	NAME("cseq", 'c', 'q', SIP_HDR_CSEQ),
	NAME("max-forwards", 'm', 's', SIP_HDR_MAX_FORWARDS),
	NAME("route", 'r', 'e', SIP_HDR_ROUTE),
	NAME("record-route", 'r', 'e', SIP_HDR_RECORD_ROUTE),
	NAME("contact", 'c', 't', SIP_HDR_CONTACT),
	NAME("content-length", 'c', 'h', SIP_HDR_CONTENT_LENGTH),
	NAME("content-type", 'c', 'e', SIP_HDR_CONTENT_TYPE),
	NAME("expires", 'e', 's', SIP_HDR_EXPIRES),
	NAME("min-expires", 'm', 's', SIP_HDR_MIN_EXPIRES),
	NAME("authorization", 'a', 'n', SIP_HDR_AUTHORIZATION),
	NAME("proxy-authorization", 'p', 'n', SIP_HDR_PROXY_AUTHORIZATION),
	NAME("www-authenticate", 'w', 'e', SIP_HDR_WWW_AUTHENTICATE),
	NAME("proxy-authenticate", 'p', 'e', SIP_HDR_PROXY_AUTHENTICATE),
	NAME("require", 'r', 'e', SIP_HDR_REQUIRE),
	NAME("proxy-require", 'p', 'e', SIP_HDR_PROXY_REQUIRE),
	NAME("supported", 's', 'd', SIP_HDR_SUPPORTED),
	NAME("unsupported", 'u', 'd', SIP_HDR_UNSUPPORTED),
	NAME("allow", 'a', 'w', SIP_HDR_ALLOW),
	NAME("path", 'p', 'h', SIP_HDR_PATH),
	NAME("service-route", 's', 'e', SIP_HDR_SERVICE_ROUTE),
	NAME("p-asserted-identity", 'p', 'y', SIP_HDR_P_ASSERTED_IDENTITY),
	NAME("p-preferred-identity", 'p', 'y', SIP_HDR_P_PREFERRED_IDENTITY),
	NAME("privacy", 'p', 'y', SIP_HDR_PRIVACY),
	NAME("max-breadth", 'm', 'h', SIP_HDR_MAX_BREADTH),
	NAME("retry-after", 'r', 'r', SIP_HDR_RETRY_AFTER),
	NAME("date", 'd', 'e', SIP_HDR_DATE),
	NAME("event", 'e', 't', SIP_HDR_EVENT),
	NAME("request-disposition", 'r', 'n', SIP_HDR_REQUEST_DISPOSITION),
	NAME("accept-contact", 'a', 't', SIP_HDR_ACCEPT_CONTACT),
	NAME("reply-to", 'r', 'o', SIP_HDR_REPLY_TO),
	NAME("warning", 'w', 'g', SIP_HDR_WARNING),
	NAME("remote-party-id", 'r', 'd', SIP_HDR_REMOTE_PARTY_ID),
	NAME("eaves-link", 'e', 'k', SIP_HDR_EAVES_LINK),
	COMPACT("v", 'v', SIP_HDR_VIA),
	COMPACT("f", 'f', SIP_HDR_FROM),
	COMPACT("t", 't', SIP_HDR_TO),
	COMPACT("i", 'i', SIP_HDR_CALL_ID),
	COMPACT("m", 'm', SIP_HDR_CONTACT),
	COMPACT("l", 'l', SIP_HDR_CONTENT_LENGTH),
	COMPACT("c", 'c', SIP_HDR_CONTENT_TYPE),
	COMPACT("k", 'k', SIP_HDR_SUPPORTED),
	COMPACT("o", 'o', SIP_HDR_EVENT),
	COMPACT("d", 'd', SIP_HDR_REQUEST_DISPOSITION),
	COMPACT("a", 'a', SIP_HDR_ACCEPT_CONTACT),
};

enum sip_hdr_kind sip_hdr_kind_of(struct span name)
{
	return sip_name_kind(name);
}

static const char *const reasons[700] = {
	[100] = "Trying",
	[180] = "Ringing",
	[181] = "Call Is Being Forwarded",
	[182] = "Queued",
	[183] = "Session Progress",
	[199] = "Early Dialog Terminated",
	[200] = "OK",
	[202] = "Accepted",
	[204] = "No Notification",
	[300] = "Multiple Choices",
	[301] = "Moved Permanently",
	[302] = "Moved Temporarily",
	[305] = "Use Proxy",
	[380] = "Alternative Service",
	[400] = "Bad Request",
	[401] = "Unauthorized",
	[402] = "Payment Required",
	[403] = "Forbidden",
	[404] = "Not Found",
	[405] = "Method Not Allowed",
	[406] = "Not Acceptable",
	[407] = "Proxy Authentication Required",
	[408] = "Request Timeout",
	[410] = "Gone",
	[412] = "Conditional Request Failed",
	[413] = "Request Entity Too Large",
	[414] = "Request-URI Too Long",
	[415] = "Unsupported Media Type",
	[416] = "Unsupported URI Scheme",
	[417] = "Unknown Resource-Priority",
	[420] = "Bad Extension",
	[421] = "Extension Required",
	[422] = "Session Interval Too Small",
	[423] = "Interval Too Brief",
	[424] = "Bad Location Information",
	[428] = "Use Identity Header",
	[429] = "Provide Referrer Identity",
	[430] = "Flow Failed",
	[433] = "Anonymity Disallowed",
	[436] = "Bad Identity Info",
	[437] = "Unsupported Credential",
	[438] = "Invalid Identity Header",
	[439] = "First Hop Lacks Outbound Support",
	[440] = "Max-Breadth Exceeded",
	[469] = "Bad Info Package",
	[470] = "Consent Needed",
	[480] = "Temporarily Unavailable",
	[481] = "Call/Transaction Does Not Exist",
	[482] = "Loop Detected",
	[483] = "Too Many Hops",
	[484] = "Address Incomplete",
	[485] = "Ambiguous",
	[486] = "Busy Here",
	[487] = "Request Terminated",
	[488] = "Not Acceptable Here",
	[489] = "Bad Event",
	[491] = "Request Pending",
	[493] = "Undecipherable",
	[494] = "Security Agreement Required",
	[500] = "Server Internal Error",
	[501] = "Not Implemented",
	[502] = "Bad Gateway",
	[503] = "Service Unavailable",
	[504] = "Server Time-out",
	[505] = "Version Not Supported",
	[513] = "Message Too Large",
	[555] = "Push Notification Service Not Supported",
	[580] = "Precondition Failure",
	[600] = "Busy Everywhere",
	[603] = "Decline",
	[604] = "Does Not Exist Anywhere",
	[606] = "Not Acceptable",
	[607] = "Unwanted",
	[608] = "Rejected",
};

const char *sip_reason(unsigned status)
{
	const char *r = status < sizeof(reasons) / sizeof(reasons[0]) ? reasons[status] : NULL;
	return r ? r : "Unknown";
}

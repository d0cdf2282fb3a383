/*
 * Temporary GRUUs as user parts.
 */
#include "common/flow/gruu.h"

bool gruu_temporary(const struct sip_uri *uri, struct span *ret_pair, struct span *ret_token)
{
	const size_t skip = sizeof(GRUU_TEMPORARY) - 1;
	const struct sip_param *gr = sip_uri_param(uri, SPAN("gr"));

	if (!gr || gr->value.n || !span_istarts(uri->user, SPAN(GRUU_TEMPORARY)))
		return false;
	*ret_token = span_of(uri->user.p + skip, uri->user.n - skip);
	*ret_pair = SPAN("");
	for (size_t i = ret_token->n;
	     i-- > 0;) { /* the last: pairs may be named as hosts are */
		if (ret_token->p[i] != '.')
			continue;
		*ret_pair = span_of(ret_token->p, i);
		*ret_token = span_of(ret_token->p + i + 1, ret_token->n - i - 1);
		break;
	}
	return true;
}

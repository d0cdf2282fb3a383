/*
 * Intrusive doubly linked list with a head (circular).
 */
#ifndef EAVES_BASE_LIST_H
#define EAVES_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline void list_insert_after(struct list *at, struct list *n)
{
	n->next = at->next;
	n->prev = at;
	at->next->prev = n;
	at->next = n;
}
static inline void list_append(struct list *head, struct list *n)
{
	list_insert_after(head->prev, n);
}
/* Also leaves n pointing to itself, so that a second removal does no harm. */
static inline void list_remove(struct list *n)
{
	n->next->prev = n->prev;
	n->prev->next = n->next;
	list_init(n);
}

#define list_for_each(it, head) \
	for (struct list *it = (head)->next; it != (head); it = it->next)
/* Allows removal of `it` in the body. */
#define list_for_each_safe(it, head)                                              \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head); \
	     it = it##_next, it##_next = it->next)

#endif

/* SPDX-License-Identifier: MIT */
/* Doubly linked lists whose links live in their elements. A list head and a
 * link are the same struct; an empty head, or a link in no list, points to
 * itself. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

#include "base/check.h"

struct list {
	struct list *next;
	struct list *prev;
};

static inline void list_init(struct list *list)
{
	list->next = list;
	list->prev = list;
}

static inline bool list_empty(const struct list *list)
{
	return list->next == list;
}

static inline void list_insert_(struct list *link, struct list *prev,
				struct list *next)
{
	link->prev = prev;
	link->next = next;
	prev->next = link;
	next->prev = link;
}

/** Put `link` (in no list now) last. */
static inline void list_push_back(struct list *list, struct list *link)
{
	list_insert_(link, list->prev, list);
}

/** Put `link` (in no list now) first. */
static inline void list_push_front(struct list *list, struct list *link)
{
	list_insert_(link, list, list->next);
}

/** Take `link` out of its list; harmless if it is in none. */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/** Take the first link out; NULL if there is none. */
static inline struct list *list_pop_front(struct list *list)
{
	struct list *link = list->next;

	if (link == list)
		return NULL;
	list_remove(link);
	return link;
}

/** Walk a list whose current element may be removed inside the loop. */
#define list_each(link, head)                                             \
	for (struct list *link = (head)->next, *link##_next = link->next; \
	     link != (head); link = link##_next, link##_next = link->next)

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A doubly linked ring; the node lives in what is listed. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

struct vi_list {
	struct vi_list *next, *prev;
};

static inline void vi_list_init(struct vi_list *l)
{
	l->next = l->prev = l;
}

static inline bool vi_list_is_empty(const struct vi_list *l)
{
	return l->next == l;
}

static inline void vi_list_append(struct vi_list *head, struct vi_list *node)
{
	node->prev = head->prev;
	node->next = head;
	head->prev->next = node;
	head->prev = node;
}

static inline void vi_list_remove(struct vi_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	vi_list_init(node);
}

/* `node` walks the ring; the safe form allows removal of `node` meanwhile. */
#define vi_list_for_each(node, head) for ((node) = (head)->next; (node) != (head); (node) = (node)->next)
#define vi_list_for_each_safe(node, after, head)                                                             \
	for ((node) = (head)->next, (after) = (node)->next; (node) != (head);                                \
	     (node) = (after), (after) = (node)->next)

#endif

/* SPDX-License-Identifier: MIT */
/* Kept pieces form a chain through their own first bytes, so that keeping takes no
 * memory and cannot fail. */
#include "base/kept.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Keeping hides the use of what was given back. */
#ifdef __SANITIZE_ADDRESS__
#define KEEPS false
#else
#define KEEPS true
#endif

static void *pop(struct kept *kept)
{
	void *piece = kept->first;

	memcpy(&kept->first, piece, sizeof(kept->first));
	kept->count--;
	return piece;
}

void *kept_take(struct kept *kept)
{
	return kept->count > 0 ? pop(kept) : malloc(kept->size);
}

void kept_give(struct kept *kept, void *piece)
{
	if (!piece)
		return;
	if (!KEEPS || kept->count >= kept->max) {
		free(piece);
		return;
	}
	memcpy(piece, &kept->first, sizeof(kept->first));
	kept->first = piece;
	kept->count++;
}

void kept_free(struct kept *kept)
{
	while (kept->count > 0)
		free(pop(kept));
}

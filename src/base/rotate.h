/* SPDX-License-Identifier: MIT */
/*
 * A log file that is rotated: FILE, and FILE.1 (the latest) to FILE.keep. Lines
 * are written whole, each into one file, and never half when the disk is full:
 * then they are dropped and counted. One process writes it, by these calls and
 * by what is printed to standard output and standard error (also_stdio).
 */
#ifndef BASE_ROTATE_H
#define BASE_ROTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rotate {
	char *name;          /* as it was given, but absolute: this is opened anew */
	char *path;          /* the file that it led to, behind all links: this is renamed */
	uint64_t max_bytes;
	unsigned keep;
	int fd;
	uint64_t size;       /* as far as we know */
	uint64_t next_try;   /* size at which a rotation that failed is tried again */
	unsigned since_look; /* lines since the size was looked at */
	uint64_t dropped;    /* lines, not yet told in the file */
	int error;           /* of the last that was dropped */
	bool also_stdio;     /* descriptors 1 and 2 lead there too */
	bool is_new;         /* rotate_open() has made it */
};

/** Open, or go on with, the file. Who writes must ignore SIGXFSZ, or a file size
 * limit ends it. 0; -ENOTSUP: it is no regular file, so that it cannot be rotated, and
 * might block who writes; or another -errno. Does not wait for who reads a FIFO. */
int rotate_open(struct rotate *rotate, const char *path, uint64_t max_bytes,
		unsigned keep);
/** Write one line, with its newline; before that the file is rotated if it would
 * become too long. False: it was dropped. Blocks as long as the disk does. */
bool rotate_write(struct rotate *rotate, const char *line, size_t size);
/** Say in the file how many lines were dropped, if it can be said now. It is said with the next
 * line too; this is for when none comes. */
void rotate_tell(struct rotate *rotate);
/** Open the path anew: somebody moved the file away. On failure (-errno) the old
 * one is still written to. */
int rotate_reopen(struct rotate *rotate);
/** From now on descriptors 1 and 2 lead to the file. */
void rotate_stdio(struct rotate *rotate);
/** Says what rotate_tell() says. Takes zeroed memory. */
void rotate_fini(struct rotate *rotate);

#endif

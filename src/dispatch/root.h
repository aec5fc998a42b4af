/* SPDX-License-Identifier: MIT */
/*
 * The directory of a mount, and files beneath it: what is opened stands there, whatever
 * dots, links and renamed folders are on the way.
 */
#ifndef DISPATCH_ROOT_H
#define DISPATCH_ROOT_H

#include <stdbool.h>

/** Open a mount's directory once, at the start, in the parent: a descriptor or -errno. */
int root_open(const char *directory);
/** Links beneath the roots that were opened are not followed, since openat2(2) fails so
 * (an errno); 0: those that lead to what is beneath them are. Known before the first fork. */
int root_refuses_links(void);
/** Open a file or folder beneath it for reading. `path` is relative, has no dots but "./" at
 * its beginning, and names something behind its last slash. A descriptor or -errno. */
int root_find(int root_fd, const char *path);
/** If the directory itself was removed, open what has its name now in its place, as the same
 * descriptor. 1: that was done; 0: it is there still; or -errno. */
int root_renew(int root_fd, const char *directory);

#endif

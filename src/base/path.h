/* SPDX-License-Identifier: MIT */
/* Names of files. */
#ifndef BASE_PATH_H
#define BASE_PATH_H

/** The same name for whoever works in another directory later; malloc'ed. 0 or -errno. */
int path_absolute(const char *path, char **ret_path);

#endif

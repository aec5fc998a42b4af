/* SPDX-License-Identifier: MIT */
/*
 * Relative names mean what they meant to who wrote the plan, though files are opened and
 * programs executed when the directory is a daemon's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/path.h"
#include "manage/group_tables.h"

static int keep_path(const char **path, char **ret_kept, struct crew_error *ret_error);
static int keep_program(const char *const **command, struct kept_paths *kept,
			struct crew_error *ret_error);

int group_tables_keep_paths(struct crew_group *groups, unsigned count,
			    struct kept_paths *ret_kept, struct crew_error *ret_error)
{
	int r = 0;

	for (unsigned i = 0; i < count && r == 0; i++) {
		struct kept_paths *kept = &ret_kept[i];

		if (groups[i].out.to == CREW_TO_FILE)
			r = keep_path(&groups[i].out.path, &kept->out, ret_error);
		if (r == 0 && groups[i].error.to == CREW_TO_FILE)
			r = keep_path(&groups[i].error.path, &kept->error, ret_error);
		if (r == 0 && groups[i].directory)
			r = keep_path(&groups[i].directory, &kept->directory, ret_error);
		else if (r == 0 && groups[i].kind == CREW_EXEC)
			r = keep_program(&groups[i].command, kept, ret_error);
	}
	return r;
}

static int keep_path(const char **path, char **ret_kept, struct crew_error *ret_error)
{
	int r = path_absolute(*path, ret_kept);

	if (r < 0)
		return error_set(ret_error, -r, "cannot tell where %s is: %s", *path,
				 strerror(-r));
	*path = *ret_kept;
	return 0;
}

/* Of a command only the first word, unless it is looked up in PATH. */
static int keep_program(const char *const **command, struct kept_paths *kept,
			struct crew_error *ret_error)
{
	size_t count = 1;

	if (!strchr((*command)[0], '/'))
		return 0;
	while ((*command)[count - 1])
		count++;
	kept->command = malloc(count * sizeof(**command));
	if (!kept->command)
		return error_set(ret_error, ENOMEM, "no memory for the command %s",
				 (*command)[0]);
	memcpy(kept->command, *command, count * sizeof(**command));
	*command = kept->command;
	return keep_path(&kept->command[0], &kept->program, ret_error);
}

void group_tables_free_paths(struct kept_paths *kept, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		free(kept[i].out);
		free(kept[i].error);
		free(kept[i].directory);
		free(kept[i].program);
		free(kept[i].command);
	}
}

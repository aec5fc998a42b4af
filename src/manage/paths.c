/* SPDX-License-Identifier: MIT */
/*
 * Relative names mean what they meant to who wrote the plan, though files are opened and
 * programs executed when the directory is a daemon's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/path.h"
#include "manage/private.h"

static int keep_path(const char **path, char **ret_kept, struct crew_error *ret_error);
static int keep_program(const char *const **command, struct kept_paths *kept,
			struct crew_error *ret_error);

int paths_keep(struct crew_supervisor *supervisor, struct crew_error *ret_error)
{
	struct crew_group *groups = supervisor->tables.groups;
	int r = 0;

	for (unsigned i = 0; i < CREW_GROUPS_MAX && groups[i].name && r == 0; i++) {
		struct kept_paths *kept = &supervisor->paths[i];

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

void paths_free(struct crew_supervisor *supervisor)
{
	for (unsigned i = 0; i < COUNT_OF(supervisor->paths); i++) {
		const struct kept_paths *kept = &supervisor->paths[i];

		free(kept->out);
		free(kept->error);
		free(kept->directory);
		free(kept->program);
		free(kept->command);
	}
}

/* SPDX-License-Identifier: MIT */
/* Where a server listens: from the text that a person writes to a socket. */
#ifndef SERVE_ADDRESS_H
#define SERVE_ADDRESS_H

#include <stdbool.h>
#include <sys/types.h>

#include <crew/error.h>

/** The file of a Unix socket; all 0: there is none. */
struct address_file {
	dev_t device;
	ino_t inode;
};

/** Is the text an address at all? 0, or -EINVAL with an error that says what
 * an address looks like. Opens nothing. */
int address_check(const char *listen, struct crew_error *ret_error);

/** Bind and listen on "ADDRESS:PORT", "[v6]:PORT", "unix:PATH" or "unix:@NAME" (an abstract
 * name, unix(7), which is no file). A socket file that nobody listens on any more is
 * replaced; a new one has the permissions `mode` from its first moment, whatever the
 * umask. `shared`: there will be others on the same address (address_listen_too). Not
 * beside other threads, which would see another umask. Returns the descriptor
 * (non-blocking, close-on-exec) or -errno with an error; `ret_name` (of `room`
 * bytes) gets the address with the port that was chosen. Blocks for the file
 * system, and a fifth of a second for an address that is in use. */
int address_listen(const char *listen, bool shared, unsigned mode, char *ret_name,
		   unsigned room, struct crew_error *ret_error);

/** Another socket on the same address, so that the kernel shares new connections
 * out among them (SO_REUSEPORT); of a Unix socket, which has no such thing, a
 * second descriptor. As address_listen. */
int address_listen_too(int fd, const char *listen, struct crew_error *ret_error);

/** Which file address_listen has left in the file system, if any: ask right after it. */
struct address_file address_file(const char *listen);

/** Remove that file, unless its name is another's by now. */
void address_forget(const char *listen, struct address_file file);

#endif

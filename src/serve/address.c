/* SPDX-License-Identifier: MIT */
/*
 * Listening sockets. Names are not looked up: a server that listens on a name
 * depends on a resolver at the moment when it should come up. The one
 * exception is "localhost", which is 127.0.0.1.
 */
#include "serve/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/os/os.h"

#define BACKLOG 4096
/* A client that has vanished without a word is found in two minutes: who is silent for a
 * minute is asked whether it is there, up to four times. A phone is not woken more often. */
#define ALIVE_IDLE_S  60
#define ALIVE_PAUSE_S 15
#define ALIVE_PROBES  4
/* Who was killed leaves children that follow it in some milliseconds, and what they
 * listened on with them: so long an address in use is tried again. */
#define IN_USE_PAUSE_MS 5
#define IN_USE_PAUSES   40
/* Who has bound and does not listen yet refuses too: a left-over still does so later. */
#define STALE_PAUSE_MS  10

union any_address {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
	struct sockaddr_un local;
};

static int listen_once(const union any_address *address, socklen_t size, bool shared,
		       unsigned mode);
static int bind_with(int fd, const union any_address *address, socklen_t size, unsigned mode);
static void set_options(int fd, const union any_address *address);
static bool is_loopback(const union any_address *address);
static int parse(const char *listen, union any_address *ret_address,
		 socklen_t *ret_size, struct crew_error *ret_error);
static int parse_local(const char *path, union any_address *ret_address,
		       socklen_t *ret_size, struct crew_error *ret_error);
static int parse_port(const char *text, in_port_t *ret_port);
static void remove_stale(const union any_address *address, socklen_t size);
static bool is_stale(const union any_address *address, socklen_t size,
		     struct address_file *ret_file);
static int bind_error(const char *listen, int error, struct crew_error *ret_error);
static void name_socket(int fd, const char *listen, char *ret_name, unsigned room);

int address_check(const char *listen, struct crew_error *ret_error)
{
	union any_address address;
	socklen_t size;

	return parse(listen, &address, &size, ret_error);
}

int address_listen(const char *listen_on, bool shared, unsigned mode, char *ret_name,
		   unsigned room, struct crew_error *ret_error)
{
	const struct timespec pause = { .tv_nsec = IN_USE_PAUSE_MS * 1000000l };
	union any_address address;
	socklen_t size;
	int fd;
	int r = parse(listen_on, &address, &size, ret_error);

	if (r < 0)
		return r;
	fd = listen_once(&address, size, shared, mode);
	for (int i = 0; fd == -EADDRINUSE && i < IN_USE_PAUSES; i++) {
		nanosleep(&pause, NULL);
		fd = listen_once(&address, size, shared, mode);
	}
	if (fd < 0)
		return bind_error(listen_on, -fd, ret_error);
	name_socket(fd, listen_on, ret_name, room);
	return fd;
}

int address_listen_too(int fd, const char *listen_on, struct crew_error *ret_error)
{
	union any_address address;
	socklen_t size = sizeof(address);
	const int on = 1;
	int other;
	int r;

	if (getsockname(fd, &address.any, &size) < 0)
		return bind_error(listen_on, errno, ret_error);
	if (address.any.sa_family == AF_UNIX) {
		other = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		return other < 0 ? bind_error(listen_on, errno, ret_error) : other;
	}
	other = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (other < 0)
		return bind_error(listen_on, errno, ret_error);
	set_options(other, &address);
	if (setsockopt(other, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(other, &address.any, size) < 0 || listen(other, BACKLOG) < 0) {
		r = bind_error(listen_on, errno, ret_error);
		close(other);
		return r;
	}
	return other;
}

struct address_file address_file(const char *listen)
{
	struct stat status;

	if (strncmp(listen, "unix:", 5) != 0 || listen[5] == '@' ||
	    lstat(listen + 5, &status) < 0)
		return (struct address_file){ 0 };
	return (struct address_file){ status.st_dev, status.st_ino };
}

/* The next server may have its own there already. */
void address_forget(const char *listen, struct address_file file)
{
	const struct address_file now = address_file(listen);

	if (file.inode && now.device == file.device && now.inode == file.inode)
		unlink(listen + 5);
}

/* What is accepted takes over from its listener what is said of it here. */
static void set_options(int fd, const union any_address *address)
{
	const int family = address->any.sa_family;
	const int on = 1;
	const int off = 0;
	const int idle_s = ALIVE_IDLE_S;
	const int pause_s = ALIVE_PAUSE_S;
	const int probes = ALIVE_PROBES;

	if (family == AF_UNIX) {
		os_refuse_descriptors(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &pause_s, sizeof(pause_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	/* There is no network to be shared there. Others, BBR above all, take more of the
	 * processors for what they would find out about it. */
	if (is_loopback(address))
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", strlen("reno"));
}

static bool is_loopback(const union any_address *address)
{
	const struct in6_addr *six = &address->six.sin6_addr;

	if (address->any.sa_family == AF_INET)
		return ntohl(address->four.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(six) ||
	       (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == IN_LOOPBACKNET);
}

/* A descriptor or -errno. */
static int listen_once(const union any_address *address, socklen_t size, bool shared,
		       unsigned mode)
{
	const int family = address->any.sa_family;
	const int on = 1;
	const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (family == AF_UNIX && address->local.sun_path[0])
		remove_stale(address, size);
	set_options(fd, address);
	/* SO_REUSEPORT only after bind, which so finds out if somebody else listens
	 * there. */
	if (bind_with(fd, address, size, mode) < 0 ||
	    (shared && family != AF_UNIX &&
	     setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) ||
	    listen(fd, BACKLOG) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* The umask decides at once; by chmod(2) it would be another file's, if somebody has put one
 * there meanwhile, and by fchmod(2) nobody's. */
static int bind_with(int fd, const union any_address *address, socklen_t size, unsigned mode)
{
	const bool is_file = address->any.sa_family == AF_UNIX && address->local.sun_path[0];
	const mode_t before = is_file ? umask(~mode & 0777) : 0;
	const int r = bind(fd, &address->any, size);
	const int error = errno;

	if (is_file)
		umask(before);
	errno = error;
	return r;
}

static int parse(const char *listen, union any_address *ret_address,
		 socklen_t *ret_size, struct crew_error *ret_error)
{
	const char *colon = strrchr(listen, ':');
	char host[INET6_ADDRSTRLEN + 2] = "";
	in_port_t port;

	memset(ret_address, 0, sizeof(*ret_address));
	if (strncmp(listen, "unix:", 5) == 0)
		return parse_local(listen + 5, ret_address, ret_size, ret_error);
	if (!colon || (size_t)(colon - listen) >= sizeof(host) ||
	    parse_port(colon + 1, &port) < 0)
		goto unknown;
	memcpy(host, listen, (size_t)(colon - listen));
	if (strcmp(host, "localhost") == 0)
		memcpy(host, "127.0.0.1", sizeof("127.0.0.1"));
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		ret_address->six.sin6_family = AF_INET6;
		ret_address->six.sin6_port = port;
		*ret_size = sizeof(ret_address->six);
		if (inet_pton(AF_INET6, host + 1, &ret_address->six.sin6_addr) == 1)
			return 0;
		goto unknown;
	}
	ret_address->four.sin_family = AF_INET;
	ret_address->four.sin_port = port;
	*ret_size = sizeof(ret_address->four);
	if (inet_pton(AF_INET, host, &ret_address->four.sin_addr) == 1)
		return 0;
unknown:
	return error_set(ret_error, EINVAL,
			 "\"%s\" is no address to listen on; write "
			 "ADDRESS:PORT (127.0.0.1:8080, 0.0.0.0:80), [IPV6]:PORT "
			 "([::]:8080), unix:PATH or unix:@NAME", listen);
}

static int parse_local(const char *path, union any_address *ret_address,
		       socklen_t *ret_size, struct crew_error *ret_error)
{
	struct sockaddr_un *local = &ret_address->local;

	if (!*path || strcmp(path, "@") == 0)
		return error_set(ret_error, EINVAL,
				 "\"unix:%s\" needs the %s of a socket behind it", path,
				 *path ? "name" : "path");
	if (strlen(path) >= sizeof(local->sun_path))
		return error_set(ret_error, EINVAL,
				 "the socket's path is longer than %zu bytes: %s",
				 sizeof(local->sun_path) - 1, path);
	local->sun_family = AF_UNIX;
	memcpy(local->sun_path, path, strlen(path) + 1);
	*ret_size = sizeof(*local);
	if (*path == '@') {
		local->sun_path[0] = '\0';
		*ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	}
	return 0;
}

static int parse_port(const char *text, in_port_t *ret_port)
{
	unsigned long port;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	port = strtoul(text, &end, 10);
	if (*end || port > 65535)
		return -EINVAL;
	*ret_port = htons((uint16_t)port);
	return 0;
}

/* A socket file outlives the process that made it. If nobody answers there it
 * is a left-over; any other kind of file is left alone, and bind says so. */
static void remove_stale(const union any_address *address, socklen_t size)
{
	const struct timespec pause = { .tv_nsec = STALE_PAUSE_MS * 1000000l };
	struct address_file before;
	struct address_file file;

	if (!is_stale(address, size, &before))
		return;
	nanosleep(&pause, NULL);
	if (is_stale(address, size, &file) && file.device == before.device &&
	    file.inode == before.inode)
		unlink(address->local.sun_path);
}

static bool is_stale(const union any_address *address, socklen_t size,
		     struct address_file *ret_file)
{
	struct stat status;
	bool refused;
	int fd;

	if (lstat(address->local.sun_path, &status) < 0 ||
	    !S_ISSOCK(status.st_mode))
		return false;
	*ret_file = (struct address_file){ status.st_dev, status.st_ino };
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	refused = connect(fd, &address->any, size) < 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

static int bind_error(const char *listen, int error, struct crew_error *ret_error)
{
	const char *advice = "";

	if (error == EADDRINUSE)
		advice = "; stop the program that uses it, or choose another "
			 "with --listen";
	else if (error == EACCES)
		advice = "; ports below 1024 and foreign directories need "
			 "privileges: choose another with --listen";
	else if (error == EADDRNOTAVAIL)
		advice = "; this machine has no such address";
	else if (error == ENOENT || error == ENOTDIR)
		advice = "; create the directory of the socket, or choose another "
			 "with --listen";
	return error_set(ret_error, error, "cannot listen on %s: %s%s", listen,
			 strerror(error), advice);
}

static void name_socket(int fd, const char *listen, char *ret_name, unsigned room)
{
	union any_address address;
	socklen_t size = sizeof(address);
	char text[INET6_ADDRSTRLEN];

	snprintf(ret_name, room, "%s", listen);
	if (getsockname(fd, &address.any, &size) < 0)
		return;
	if (address.any.sa_family == AF_INET &&
	    inet_ntop(AF_INET, &address.four.sin_addr, text, sizeof(text)))
		snprintf(ret_name, room, "%s:%u", text,
			 ntohs(address.four.sin_port));
	if (address.any.sa_family == AF_INET6 &&
	    inet_ntop(AF_INET6, &address.six.sin6_addr, text, sizeof(text)))
		snprintf(ret_name, room, "[%s]:%u", text,
			 ntohs(address.six.sin6_port));
}

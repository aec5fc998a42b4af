/* SPDX-License-Identifier: MIT */
/*
 * To be loaded before a program (LD_PRELOAD): the system as it is where pages are larger, of
 * PAGE_BYTES each, a multiple of the real ones. What mmap(2) and its like do there for whole
 * pages they do for whole ones of these, and refuse what does not begin with one.
 */
#undef _FILE_OFFSET_BITS /* mmap() and mmap64() are two here */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the system has by that name. */
static void find(const char *name, void *ret_function)
{
	void *const found = dlsym(RTLD_NEXT, name);

	memcpy(ret_function, &found, sizeof(found));
}

static size_t page_bytes(void)
{
	const char *bytes = getenv("PAGE_BYTES");

	return bytes ? strtoul(bytes, NULL, 10) : 4096;
}

static size_t whole_pages(size_t size)
{
	return (size + page_bytes() - 1) / page_bytes() * page_bytes();
}

static int is_page(uintptr_t at)
{
	return at % page_bytes() == 0;
}

static void *map(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
	void *(*system_mmap)(void *, size_t, int, int, int, off64_t);

	find("mmap64", &system_mmap);
	return system_mmap(at, size, protection, flags, fd, offset);
}

static int unmap(void *at, size_t size)
{
	int (*system_munmap)(void *, size_t);

	find("munmap", &system_munmap);
	return system_munmap(at, size);
}

static int refuse(void)
{
	errno = EINVAL;
	return -1;
}

/* A range of whole pages that nobody else is given. */
static void *reserve(size_t size)
{
	unsigned char *range = map(NULL, size + page_bytes(), PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	const size_t before = whole_pages((uintptr_t)range) - (uintptr_t)range;

	if (range == MAP_FAILED)
		return MAP_FAILED;
	if (before > 0)
		unmap(range, before);
	if (before < page_bytes())
		unmap(range + before + size, page_bytes() - before);
	return range + before;
}

void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
	if (((flags & MAP_FIXED) && !is_page((uintptr_t)at)) || !is_page((uintptr_t)offset)) {
		refuse();
		return MAP_FAILED;
	}
	if (!(flags & MAP_FIXED))
		at = reserve(whole_pages(size));
	return at == MAP_FAILED ? at : map(at, size, protection, flags | MAP_FIXED, fd, offset);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	return mmap64(at, size, protection, flags, fd, offset);
}

int munmap(void *at, size_t size)
{
	return is_page((uintptr_t)at) ? unmap(at, whole_pages(size)) : refuse();
}

int mprotect(void *at, size_t size, int protection)
{
	int (*system_mprotect)(void *, size_t, int);

	find("mprotect", &system_mprotect);
	return is_page((uintptr_t)at) ? system_mprotect(at, whole_pages(size), protection)
				      : refuse();
}

int getpagesize(void)
{
	return (int)page_bytes();
}

long sysconf(int name)
{
	long (*system_sysconf)(int);

	find("sysconf", &system_sysconf);
	return name == _SC_PAGESIZE ? (long)page_bytes() : system_sysconf(name);
}

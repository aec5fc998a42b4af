/* SPDX-License-Identifier: MIT */
/*
 * Links: where everything lies in the shared memory, and the calls of both
 * sides. The two halves are laid out alike, so one description serves both
 * sides; what differs is which half is one's own. A mapping of the peer's half
 * is read-only: a wild pointer in a worker can hurt its own half and the
 * claims, never a request.
 */
#include "transport/link.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/os/os.h"

#define LINE 64u
#define LINK_MAGIC 0x6b6e6c77657263u /* "crewlnk" */
#define DONE_ENTRIES (LINK_ARENA_BYTES / BLOCK_BYTES)

_Static_assert((DONE_ENTRIES & (DONE_ENTRIES - 1)) == 0, "a ring's capacity");

struct link_header {
	uint64_t magic;
	uint32_t version;
	uint32_t slots;
	uint32_t ring_entries;
	uint32_t arena_bytes;
};

/* What a half begins with: each word is written by the half's owner, on a line
 * of its own. */
struct half_words {
	_Alignas(LINE) _Atomic uint32_t out_tail;
	_Alignas(LINE) _Atomic uint32_t in_head;
	_Alignas(LINE) _Atomic uint32_t done_out_tail;
	_Alignas(LINE) _Atomic uint32_t done_in_head;
	_Alignas(LINE) _Atomic uint32_t epoch;
	_Alignas(LINE) _Atomic uint32_t processor; /* on which it rang, plus 1; 0: not yet */
	_Alignas(LINE) _Atomic uint32_t spins;     /* it looks for work before it sleeps */
};

#define HALF_ENTRIES sizeof(struct half_words)
#define HALF_DONE (HALF_ENTRIES + LINK_RING_ENTRIES * sizeof(struct message))
#define HALF_ARENA (HALF_DONE + DONE_ENTRIES * sizeof(uint32_t))
#define CLAIMS_BYTES (LINK_SLOTS * sizeof(uint64_t))

/* What is mapped by itself begins with a page, and so do arenas. */
struct layout {
	size_t claims; /* where they are in the whole */
	size_t halves;
	size_t arena;  /* in a half */
	size_t half;   /* how large one is */
	size_t link;   /* how large the whole is */
};

static const struct link_header the_header = {
	LINK_MAGIC, MESSAGE_VERSION, LINK_SLOTS, LINK_RING_ENTRIES,
	LINK_ARENA_BYTES,
};

static struct layout layout(void);
static int map(struct link *link, int fd);
static int map_part(unsigned char *base, size_t at, size_t size, int protection,
		    int fd);
static void wire_up(struct link *link, const struct link_fds *fds);
static bool may_send(enum link_side side, unsigned kind);

int link_create(struct link_fds *ret_fds)
{
	struct link_fds fds = { -1, { -1, -1 } };
	int r;

	fds.memory = os_memory_create("crew-link", layout().link);
	if (fds.memory < 0)
		return fds.memory;
	for (int i = 0; i < 2; i++) {
		fds.bell[i] = os_bell_create();
		if (fds.bell[i] < 0) {
			r = fds.bell[i];
			goto close_all;
		}
	}
	if (pwrite(fds.memory, &the_header, sizeof(the_header), 0) !=
	    sizeof(the_header)) {
		r = -EIO;
		goto close_all;
	}
	*ret_fds = fds;
	return 0;

close_all:
	link_close_fds(&fds);
	return r;
}

void link_close_fds(struct link_fds *fds)
{
	if (fds->memory >= 0)
		close(fds->memory);
	for (int i = 0; i < 2; i++) {
		if (fds->bell[i] >= 0)
			close(fds->bell[i]);
	}
	*fds = (struct link_fds){ -1, { -1, -1 } };
}

int link_open(struct link *link, enum link_side side, const struct link_fds *fds)
{
	int r;

	*link = (struct link){ .side = side };
	r = blocks_init(&link->blocks, LINK_ARENA_BYTES);
	if (r < 0)
		return r;
	r = map(link, fds->memory);
	if (r < 0)
		goto fini_blocks;
	if (memcmp(link->base, &the_header, sizeof(the_header)) != 0) {
		r = -EPROTO;
		goto unmap;
	}
	wire_up(link, fds);
	close(fds->memory);
	return 0;

unmap:
	munmap(link->base, layout().link);
fini_blocks:
	blocks_fini(&link->blocks);
	link->base = NULL;
	return r;
}

void link_fini(struct link *link)
{
	if (!link->base)
		return;
	munmap(link->base, layout().link);
	blocks_fini(&link->blocks);
	close(link->sleeper.fd);
	close(link->ringer.fd);
	*link = (struct link){ 0 };
}

void *link_alloc(struct link *link, uint32_t slot, uint32_t size,
		 uint32_t *ret_offset)
{
	if (size == 0 || blocks_alloc(&link->blocks, size, slot, ret_offset) < 0)
		return NULL;
	return link->arena + *ret_offset;
}

int link_free(struct link *link, uint32_t offset)
{
	uint32_t size;
	uint32_t slot;
	int r = blocks_free(&link->blocks, offset, &slot, &size);

	return r < 0 ? r : (int)size;
}

int link_reap(struct link *link,
	      void (*freed)(void *context, uint32_t slot, uint32_t size),
	      void *context)
{
	uint32_t offset;
	uint32_t slot;
	uint32_t size;
	int count = 0;
	int r;

	while ((r = ring_pop(&link->done_in, &offset)) > 0) {
		r = blocks_free(&link->blocks, offset, &slot, &size);
		if (r < 0)
			return r;
		if (freed)
			freed(context, slot, size);
		count++;
	}
	return r < 0 ? r : count;
}

int link_receive(struct link *link, struct message *ret_message)
{
	struct message message;
	int r = ring_pop(&link->in, &message);

	if (r <= 0)
		return r;
	if (!may_send(link->side == LINK_WORKER ? LINK_DISPATCHER : LINK_WORKER,
		      message.kind) ||
	    message.slot >= LINK_SLOTS ||
	    message.size > LINK_ARENA_BYTES ||
	    (message.size > 0 &&
	     message.offset > LINK_ARENA_BYTES - message.size) ||
	    (message.size > 0 && message.offset % 8 != 0))
		return -EBADMSG;
	*ret_message = message;
	return 1;
}

bool link_has_news(const struct link *link)
{
	return ring_has_entry(&link->in) || ring_has_entry(&link->done_in);
}

const void *link_bytes(const struct link *link, const struct message *message)
{
	check(message->size <= LINK_ARENA_BYTES);
	return link->peer_arena + (message->size ? message->offset : 0);
}

int link_release(struct link *link, uint32_t offset)
{
	int r = ring_push(&link->done_out, &offset);

	return r == -EAGAIN ? -EBADMSG : r;
}

unsigned link_writable(const struct link *link, void *ret_start[2],
		       uint64_t ret_size[2])
{
	const struct layout at = layout();

	ret_start[0] = link->claims;
	ret_size[0] = CLAIMS_BYTES;
	ret_start[1] = link->base + at.halves + link->side * at.half;
	ret_size[1] = at.half;
	return 2;
}

static size_t whole_pages(size_t size)
{
	const size_t page = os_page_bytes();

	return (size + page - 1) / page * page;
}

/* The same in all processes of a machine. */
static struct layout layout(void)
{
	struct layout at;

	at.claims = whole_pages(sizeof(the_header));
	at.halves = at.claims + whole_pages(CLAIMS_BYTES);
	at.arena = whole_pages(HALF_ARENA);
	at.half = at.arena + whole_pages(LINK_ARENA_BYTES);
	at.link = at.halves + 2 * at.half;
	return at;
}

/* Reserve one range, and lay the parts of the file over it, each with the
 * rights that this side has. */
static int map(struct link *link, int fd)
{
	const struct layout at = layout();
	const size_t own = at.halves + link->side * at.half;
	const size_t peer = at.halves + !link->side * at.half;
	unsigned char *base = mmap(NULL, at.link, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (base == MAP_FAILED)
		return -errno;
	r = map_part(base, 0, at.claims, PROT_READ, fd);
	if (r == 0)
		r = map_part(base, at.claims, at.halves - at.claims,
			     PROT_READ | PROT_WRITE, fd);
	if (r == 0)
		r = map_part(base, own, at.half, PROT_READ | PROT_WRITE, fd);
	if (r == 0)
		r = map_part(base, peer, at.half, PROT_READ, fd);
	if (r < 0) {
		munmap(base, at.link);
		return r;
	}
	link->base = base;
	return 0;
}

static int map_part(unsigned char *base, size_t at, size_t size, int protection,
		    int fd)
{
	void *place = mmap(base + at, size, protection, MAP_SHARED | MAP_FIXED, fd,
			   (off_t)at);

	return place == MAP_FAILED ? -errno : 0;
}

static void wire_up(struct link *link, const struct link_fds *fds)
{
	const struct layout at = layout();
	unsigned char *own = link->base + at.halves + link->side * at.half;
	unsigned char *peer = link->base + at.halves + !link->side * at.half;
	struct half_words *mine = (void *)own;
	struct half_words *theirs = (void *)peer;

	link->out = (struct ring_producer){
		own + HALF_ENTRIES, sizeof(struct message), LINK_RING_ENTRIES,
		&mine->out_tail, &theirs->in_head, 0, 0,
	};
	link->in = (struct ring_consumer){
		peer + HALF_ENTRIES, sizeof(struct message), LINK_RING_ENTRIES,
		&theirs->out_tail, &mine->in_head, 0,
	};
	link->done_out = (struct ring_producer){
		own + HALF_DONE, sizeof(uint32_t), DONE_ENTRIES,
		&mine->done_out_tail, &theirs->done_in_head, 0, 0,
	};
	link->done_in = (struct ring_consumer){
		peer + HALF_DONE, sizeof(uint32_t), DONE_ENTRIES,
		&theirs->done_out_tail, &mine->done_in_head, 0,
	};
	link->arena = own + at.arena;
	link->peer_arena = peer + at.arena;
	link->claims = (void *)(link->base + at.claims);
	link->sleeper = (struct bell_sleeper){ &mine->epoch, fds->bell[link->side] };
	link->ringer = (struct bell_ringer){ &theirs->epoch, fds->bell[!link->side], 0,
					     0, &mine->processor };
	link->peer_processor = &theirs->processor;
	link->spins = &mine->spins;
	link->peer_spins = &theirs->spins;
}

static bool may_send(enum link_side side, unsigned kind)
{
	static const unsigned char sender[MESSAGE_KIND_COUNT] = {
		[MESSAGE_REQUEST] = 1 + LINK_DISPATCHER,
		[MESSAGE_BODY_PART] = 1 + LINK_DISPATCHER,
		[MESSAGE_CANCEL] = 1 + LINK_DISPATCHER,
		[MESSAGE_CREDIT] = 1 + LINK_DISPATCHER,
		[MESSAGE_PUBLISHED] = 1 + LINK_DISPATCHER,
		[MESSAGE_CALL_ANSWER] = 1 + LINK_DISPATCHER,
		[MESSAGE_ANSWER] = 1 + LINK_WORKER,
		[MESSAGE_DEFER] = 1 + LINK_WORKER,
		[MESSAGE_ALIVE] = 1 + LINK_WORKER,
		[MESSAGE_SUBSCRIBE] = 1 + LINK_WORKER,
		[MESSAGE_UNSUBSCRIBE] = 1 + LINK_WORKER,
		[MESSAGE_PUBLISH] = 1 + LINK_WORKER,
		[MESSAGE_PAUSE] = 1 + LINK_WORKER,
		[MESSAGE_RESUME] = 1 + LINK_WORKER,
		[MESSAGE_CALL] = 1 + LINK_WORKER,
		[MESSAGE_ANSWER_PART] = 1 + LINK_WORKER,
	};

	return kind < MESSAGE_KIND_COUNT && sender[kind] == 1u + side;
}

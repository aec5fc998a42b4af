/* SPDX-License-Identifier: MIT */
/* The dispatcher's fixed limits, each with its unit and its reason. */
#ifndef DISPATCH_LIMITS_H
#define DISPATCH_LIMITS_H

/* One read of a client's socket: what one wake-up takes at most, so that a
 * fast sender does not starve the others. */
#define READ_BYTES (64u * 1024u)
/* The same where those of a turn are made with one call: for so many connections, each
 * so much; the rest of what is longer is read on as above. */
#define AHEAD_MAX 64u
#define AHEAD_BYTES (8u * 1024u)
/* Fewer have a call of their own: one alone takes less so. */
#define FEWEST_AHEAD 2u
/* A request line: longer than any browser sends. */
#define LINE_MAX_BYTES (8u * 1024u)
/* Chunk extensions and trailers of one body: nobody needs more. */
#define CHUNK_EXTRA_MAX_BYTES (4u * 1024u)
/* Requests of one connection that are in hand at once. */
#define PIPELINE_MAX 64u
/* Of these, those that hold a file open: descriptors are everybody's. */
#define PIPELINED_FILES_MAX 2u
/* Answers not yet taken by the client above which no more is read from it. */
#define OUT_HIGH_BYTES (64u * 1024u)
/* It is noted how large the answers of a route get, so that no more requests are read from a
 * client than whose answers, while they wait for those before them, take about as much. What
 * is larger than this is large. */
#define SIZE_NOTED_BYTES (2u * OUT_HIGH_BYTES)
/* Below this many unsent bytes a worker may send more of a body. */
#define OUT_LOW_BYTES (16u * 1024u)
/* Pieces of a body from which on a copy costs more than a system call. */
#define DIRECT_SEND_BYTES (16u * 1024u)
/* A body up to this size travels in its request's block. */
#define INLINE_BODY_BYTES (16u * 1024u)
/* A body above this size goes to an unlinked file. */
#define SPILL_BYTES (256u * 1024u)
/* Up to this size it may stay in memory all the same, if its length is announced, while
 * all of those together hold no more than that. */
#define LARGE_BODY_BYTES (4u * 1024u * 1024u)
#define LARGE_BODIES_BYTES (32u * 1024u * 1024u)
/* Rest of a refused body that is read and dropped to keep the connection. */
#define DROP_BODY_BYTES (64u * 1024u)
/* A connection that was answered and closed is listened to until its client has sent nothing
 * for so long, and so long at most: who sends a large body reads only when that is done. While
 * we stop for the first only. */
#define LINGER_MS 1000u
#define LINGER_MAX_MS 30000u
/* A client that takes nothing of its answer for so long is given up. It is looked at as
 * seldom, and has so much time again if it has taken any. */
#define WRITE_TIMEOUT_MS 30000u
/* Work outstanding at one worker up to which requests are packed, not spread. */
#define PACK_US 30u
/* The same for what a client pipelines, which waits for its neighbours anyway, for
 * quick requests while each processor has a worker (it costs less with a worker than in
 * the queue), and for trifles. */
#define FILL_US 250u
/* A trifle: what takes less than the dispatcher itself has to do for a request, so that
 * one worker keeps up with it. */
#define TRIFLE_US 2u
/* What takes less is done soonest by one worker that shares our processor: with one
 * elsewhere the dispatcher itself takes that much longer. */
#define BESIDE_US 1u
/* While requests queue, who is at one of a route that takes less has the next one at hand, so
 * that it does not wait for us between two. */
#define NEXT_US 1000u
/* However long one took, after some fifty much quicker ones there is a next one again. */
#define PEAK_MAX_US 1000000u
/* How long, at most, a turn waits for a worker that shares its processor and is full. */
#define GIVE_WAY_MS 1
/* What an answer took counts as no more than so many times what was expected. */
#define OUTLIER_TIMES 16
/* A worker that answered nothing for so long gives back what it has not begun. */
#define PULL_BACK_MS 1u
/* The same where no other worker is idle to take it. */
#define PULL_BACK_ANYWAY_MS 10u
/* The same for one that has nothing else, looked at each second, while another is idle. */
#define STILL_MS 100u
/* The same for a body that it has taken some of; twice as long for each time that this was so
 * before, up to so many times. */
#define PULL_BACK_DOUBLINGS 7u
/* What may wait for a subscriber of topics before it is cut off. */
#define SUBSCRIBER_MAX_BYTES (128u * 1024u)
/* Topics of one stream: each is looked at when another comes. */
#define SUBSCRIPTIONS_MAX 256u
/* Clients that are sent to in one turn, so that a large fan-out holds up nobody
 * for more than some milliseconds. */
#define FLUSHES_A_TURN 128u
/* A worker beside its dispatcher is rung when it has so many requests, or when so many
 * events have come in, or when no more come: earlier it would only take its place. */
#define RING_AT_WORK 64u
#define RING_AFTER_EVENTS 64u
/* An answer to a call; more is a failure. */
#define CALL_ANSWER_MAX_BYTES (8u * 1024u * 1024u)
/* So much is said to a worker before it has read it, answers to its own calls too; those
 * that are more wait until it has. */
#define ANSWERS_AHEAD_BYTES (1024u * 1024u)
/* What a worker may leave unread of what it is told otherwise. */
#define UNREAD_MAX_BYTES (64u * 1024u * 1024u)
/* All of them that are held, here and until their callers read them. A worker has no more of
 * that than is left for others. */
#define CALL_ANSWERS_MAX_BYTES (256u * 1024u * 1024u)
/* Calls without an answer yet, so that a loop through on_response or a worker
 * that only asks is bounded; of these too a worker leaves as many as it has. */
#define CALLS_MAX 4096u
/* A queue warning is armed again when so much of its threshold (1/n) is left. */
#define QUEUE_CALM_SHARE 2u
/* Exchanges that are kept at hand for the next requests, and the blocks of those that
 * had to wait for a worker: as many as some tens of pipelining clients have. */
#define KEPT_EXCHANGES_MAX 1024u
#define KEPT_BLOCKS_MAX 512u
#define KEPT_BLOCK_BYTES 1024u
/* Header lines of an answer up to which they are compared with those of the last. */
#define GOOD_LINES_BYTES 256u
/* An Accept up to which it is compared with that of the last request: browsers send some 130. */
#define ACCEPT_BYTES 256u
/* Messages of the parent that are obeyed in one turn. */
#define ORDERS_A_TURN 64
/* Events for the other dispatchers that the parent has not taken yet. */
#define UNTOLD_EVENTS_MAX_BYTES (4u * 1024u * 1024u)
/* Files of them that follow each other do so at this distance: the channel of another
 * dispatcher holds some two hundred, which is how late it may be without missing any. */
#define EVENTS_GATHER_MS 2u
/* A request that has waited for so long behind other dispatchers' requests is given
 * to a worker that is at one of those. */
#define TURN_TAKING_MS 2u
/* How soon a full ring is looked at again. */
#define RETRY_MS 1u
/* File bytes sent in one turn for one client. */
#define FILE_TURN_BYTES (512u * 1024u)
/* Descriptors that are not clients': listeners, logs, spill, links to workers that are added;
 * and those of the link to each worker, for which no more than half of all are kept. */
#define RESERVED_FDS 64u
#define LINK_FDS 3u
/* Requests that are named when their worker dies; of more it is said how many. */
#define LOSSES_NAMED_MAX 8u
/* How long the listener rests when descriptors have run out. */
#define ACCEPT_REST_MS 100u

#endif

/* SPDX-License-Identifier: MIT */
/* The request that is made again and again: a browser's. */
#ifndef MICRO_REQUEST_H
#define MICRO_REQUEST_H

#define REQUEST REQUEST_FOR("/hello")
#define REQUEST_FOR(path)                                             \
	"GET " path " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"           \
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"             \
	"Accept: text/html,application/json;q=0.9,*/*;q=0.8\r\n"      \
	"Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip\r\n" \
	"Cookie: session=0123456789abcdef; theme=dark\r\n"            \
	"Connection: keep-alive\r\n\r\n"

#endif

/* SPDX-License-Identifier: MIT */
/* Filling a struct crew_error. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>
#include <stdio.h>

#include <crew/error.h>

/** Write code and text; returns -code, to be returned on. `error` may be NULL. */
__attribute__((format(printf, 3, 4))) static inline int
error_set(struct crew_error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (error) {
		error->code = code;
		va_start(arguments, format);
		vsnprintf(error->text, sizeof(error->text), format, arguments);
		va_end(arguments);
	}
	return -code;
}

#endif

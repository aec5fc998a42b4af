/* SPDX-License-Identifier: MIT */
/* What the library says of itself. */
#include <crew/serve.h>

const char *crew_version(void)
{
	return CREW_VERSION;
}

unsigned crew_abi(void)
{
	return CREW_ABI;
}

/* SPDX-License-Identifier: MIT */
/* The items service by itself. Try:
 *   curl -d '{"name":"bolt"}' localhost:8080/api/items
 *   curl localhost:8080/api/item/1 */
#include "store.h"

int main(int argc, char **argv)
{
	return crew_main(argc, argv, &(struct crew_server){
		.pools = { { .app = &items_app, .workers = 1 } },
	});
}

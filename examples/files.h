/* SPDX-License-Identifier: MIT */
/* Where the examples' files stand. */
#ifndef EXAMPLES_FILES_H
#define EXAMPLES_FILES_H

/* examples/static, wherever the program was built: beside the build folder. */
const char *example_files(void);

#endif

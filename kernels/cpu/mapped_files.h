/*
 * What happens when a mapped file becomes shorter than its mapping, or its disk fails: the system
 * sends SIGBUS to whoever reads such a page, and a process that knows no better ends without a word.
 *
 * Only the CPU library exports these; they need no context and have nothing to do with the kernels.
 */
#ifndef SX_MAPPED_FILES_H
#define SX_MAPPED_FILES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Guards a mapping: when a page of it cannot be read, one line on standard error names the file, and
 * the process ends with code 3, that of a file that cannot be used. Other SIGBUS go to the handler
 * that was there before.
 * address, bytes: the mapping; path: NUL-terminated, shown in the line.
 * SX_OUT_OF_MEMORY if too many are guarded already: this one is not. */
int32_t sx_guard_mapping(const void* address, uint64_t bytes, const char* path);

/* Guards it no longer; call it before the library is closed. SX_INVALID_ARGUMENT if it is not
 * guarded. */
int32_t sx_release_mapping(const void* address);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

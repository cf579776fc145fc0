/* A GPU for tests: its memory is the host's, and its streams do nothing until somebody waits for
 * them, so that whoever reads too early or reuses a buffer too soon gets wrong numbers. */
#ifndef FAKE_GPU_H
#define FAKE_GPU_H

#include <stddef.h>
#include <stdint.h>

typedef struct Stream Stream;

/* What `run` returns when it has to be called again, as it waits for another process. */
enum { FAKE_AGAIN = -1 };

/* Puts work behind what the stream has, or into the graph that is being captured. `run` returns 0 or
 * FAKE_AGAIN, or else the stream fails. */
int fake_submit(Stream* stream, int (*run)(void* args), const void* args, size_t bytes);
int fake_is_capturing(Stream* stream);
/* The GPU of this thread, and that of a stream. */
int fake_current(void);
int fake_device(Stream* stream);
/* Whether memory belongs to another GPU than a stream's, or is the host's. */
int fake_is_foreign(Stream* stream, const void* pointer);

/* cudaError_t, the few that occur. */
enum {
  CUDA_OK = 0,
  CUDA_INVALID_VALUE = 1,
  CUDA_OUT_OF_MEMORY = 2,
  CUDA_NO_DEVICE = 100,
  CUDA_INVALID_DEVICE = 101,
  CUDA_NOT_READY = 600,
  CUDA_LAUNCH_FAILURE = 719,
  CUDA_CAPTURE_UNSUPPORTED = 900
};

int cudaSetDevice(int device);
int cudaMalloc(void** out, size_t bytes);
int cudaFree(void* memory);
int cudaStreamSynchronize(Stream* stream);
int cudaDeviceGetAttribute(int* out, int attribute, int device);

#endif

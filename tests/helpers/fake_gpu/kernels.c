/* The kernel library of the fake GPU: ops that the CPU library does when the stream gets to them;
 * see fake.h. What follows this file is made from kernels/sx_kernels.h: an exported function for
 * each op, which calls `cpu` when it is its turn. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "sx_kernels.h"

struct sx_context {
  Stream* stream;
  int device;
  sx_context* cpu;
  int64_t live;
  char error[512];
};

static void* library(void) {
  static void* opened;
  if (opened == NULL) opened = dlopen(CPU_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (opened == NULL) {
    fprintf(stderr, "fake GPU: %s\n", dlerror());
    abort();
  }
  return opened;
}

static void* cpu(const char* name) { return dlsym(library(), name); }

/* A GPU takes bf16 queries, the CPU's ops f32 ones. */
static float* widened(const void* in, int64_t count) {
  const uint16_t* from = in;
  float* out = malloc(sizeof(float) * (size_t)(count > 0 ? count : 1));
  for (int64_t i = 0; i < count; i++) {
    const uint32_t bits = (uint32_t)from[i] << 16;
    memcpy(&out[i], &bits, sizeof bits);
  }
  return out;
}

static int report(const char* op, sx_context* context, sx_status status) {
  if (status == SX_OK) return 0;
  sx_status (*text)(sx_context*, char*, uint64_t) = cpu("sx_error_text");
  char error[512] = "";
  text(context->cpu, error, sizeof error);
  fprintf(stderr, "fake GPU: %s failed with status %d: %s\n", op, status, error);
  return status;
}

uint32_t sx_abi_version(void) { return SX_ABI_VERSION; }

sx_status sx_describe(char* out, uint64_t size) {
  const char* text = "{\"backend\":\"cuda\",\"isa\":[\"fake\"],\"best\":\"fake\",\"scalar\":false}";
  if (size <= strlen(text)) return SX_INVALID_ARGUMENT;
  strcpy(out, text);
  return SX_OK;
}

sx_status sx_context_create(int32_t device, int32_t threads, int32_t isa, uint64_t stream,
                            uint64_t* out) {
  (void)threads;
  sx_status (*create)(int32_t, int32_t, int32_t, uint64_t, uint64_t*) = cpu("sx_context_create");
  if (device < 0 || isa != SX_ISA_AUTO || create == NULL) return SX_INVALID_ARGUMENT;
  int major = 0;
  cudaDeviceGetAttribute(&major, 75, device);
  if (major < 8) return SX_UNSUPPORTED;
  sx_context* context = calloc(1, sizeof *context);
  context->stream = (Stream*)stream;
  context->device = device;
  if (fake_device(context->stream) != device || cudaSetDevice(device) != CUDA_OK)
    return SX_DEVICE_ERROR;
  uint64_t made = 0;
  const sx_status status = create(0, 2, 0, 0, &made);
  context->cpu = (sx_context*)made;
  *out = (uint64_t)context;
  return status;
}

sx_status sx_context_destroy(sx_context* context) {
  cudaStreamSynchronize(context->stream);
  sx_status (*destroy)(sx_context*) = cpu("sx_context_destroy");
  destroy(context->cpu);
  if (context->live != 0) fprintf(stderr, "fake GPU: %ld allocations are left\n", context->live);
  free(context);
  return SX_OK;
}

sx_status sx_error_text(sx_context* context, char* out, uint64_t size) {
  snprintf(out, size, "%s", context->error);
  return SX_OK;
}

sx_status sx_alloc(sx_context* context, uint64_t bytes, uint64_t* out) {
  if (fake_is_capturing(context->stream)) return SX_DEVICE_ERROR;
  void* memory = NULL;
  if (cudaSetDevice(context->device) != CUDA_OK) return SX_DEVICE_ERROR;
  if (cudaMalloc(&memory, bytes) != CUDA_OK) {
    snprintf(context->error, sizeof context->error, "there is not enough memory");
    return SX_OUT_OF_MEMORY;
  }
  memset(memory, 0, bytes);
  context->live++;
  *out = (uint64_t)memory;
  return SX_OK;
}

sx_status sx_free(sx_context* context, void* memory) {
  context->live--;
  if (fake_is_foreign(context->stream, memory) || cudaSetDevice(context->device) != CUDA_OK)
    return SX_INVALID_ARGUMENT;
  return cudaFree(memory) == CUDA_OK ? SX_OK : SX_INVALID_ARGUMENT;
}

int64_t sx_live_allocations(sx_context* context) { return context->live; }

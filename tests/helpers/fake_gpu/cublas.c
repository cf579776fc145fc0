/* cuBLAS of the fake GPU: checks what it is given and multiplies on the CPU; see fake.h. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake.h"
#include "sx_kernels.h"

typedef int32_t (*Create)(int32_t, int32_t, int32_t, uint64_t, uint64_t*);
typedef sx_status (*Matmul)(sx_context*, const sx_matmul_params*);

typedef struct {
  Stream* stream;
  sx_context* context;
  Matmul matmul;
  int device, has_workspace, math_mode;
} Handle;

enum { OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, BF16 = 14, F32 = 0 };

int cublasCreate_v2(Handle** out) {
  void* library = dlopen(CPU_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  Create create = library == NULL ? NULL : (Create)dlsym(library, "sx_context_create");
  Handle* handle = calloc(1, sizeof *handle);
  uint64_t context = 0;
  if (create == NULL || create(0, 2, 0, 0, &context) != 0) return NOT_INITIALIZED;
  handle->context = (sx_context*)context;
  handle->device = fake_current();
  handle->matmul = (Matmul)dlsym(library, "sx_matmul");
  *out = handle;
  return OK;
}

int cublasDestroy_v2(Handle* handle) {
  free(handle);
  return OK;
}

int cublasGetVersion_v2(Handle* handle, int* version) {
  (void)handle;
  *version = 130000;
  return OK;
}

int cublasSetStream_v2(Handle* handle, Stream* stream) {
  handle->stream = stream;
  handle->has_workspace = 0;
  return fake_device(stream) == handle->device ? OK : INVALID_VALUE;
}

int cublasSetWorkspace_v2(Handle* handle, void* workspace, size_t bytes) {
  handle->has_workspace =
      workspace != NULL && bytes > 0 && !fake_is_foreign(handle->stream, workspace);
  return OK;
}

int cublasSetMathMode(Handle* handle, int mode) {
  handle->math_mode = mode;
  return OK;
}

typedef struct {
  Handle* handle;
  const void *a, *b;
  void* c;
  int c_type, accumulate, m, n, k, ldb, ldc;
} Product;

/* C[:, j] = sum over l of A[l, i] * B[l, j], column by column: row j of the row-major result. */
static int run_product(void* args) {
  const Product* p = args;
  const sx_matmul_params params = {.out = p->c,
                                   .out_dtype = p->c_type == F32 ? SX_F32 : SX_BF16,
                                   .x = p->b,
                                   .x_dtype = SX_BF16,
                                   .weight = p->a,
                                   .weight_dtype = SX_BF16,
                                   .accumulate = p->accumulate,
                                   .m = p->n,
                                   .n = p->m,
                                   .k = p->k,
                                   .x_stride = p->ldb,
                                   .out_stride = p->ldc};
  const int status = p->handle->matmul(p->handle->context, &params);
  if (status != 0) fprintf(stderr, "fake GPU: a product failed with status %d\n", status);
  return status;
}

int cublasGemmEx(Handle* handle, int transa, int transb, int m, int n, int k, const float* alpha,
                 const void* a, int a_type, int lda, const void* b, int b_type, int ldb,
                 const float* beta, void* c, int c_type, int ldc, int compute, int algorithm) {
  const int valid = transa == 1 && transb == 0 && *alpha == 1 && (*beta == 0 || *beta == 1) &&
                    a_type == BF16 && b_type == BF16 && (c_type == F32 || c_type == BF16) &&
                    compute == 68 && algorithm == -1 && lda == k && ldb >= k && ldc >= m && m > 0 &&
                    n > 0 && k > 0 && handle->has_workspace &&
                    /* Parts of sums are not rounded to the result's dtype. */
                    handle->math_mode == 16 && fake_current() == handle->device &&
                    !fake_is_foreign(handle->stream, a) && !fake_is_foreign(handle->stream, b) &&
                    !fake_is_foreign(handle->stream, c);
  if (!valid) return INVALID_VALUE;
  const Product product = {handle, a, b, c, c_type, *beta == 1, m, n, k, ldb, ldc};
  return fake_submit(handle->stream, run_product, &product, sizeof product);
}

/* cuBLASLt of the fake GPU: products of e4m3 with scales of rows, checked and done on the CPU; see fake.h. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "sx_kernels.h"

typedef int32_t (*Create)(int32_t, int32_t, int32_t, uint64_t, uint64_t*);
typedef sx_status (*Matmul)(sx_context*, const sx_matmul_params*);

typedef struct {
  sx_context* context;
  Matmul matmul;
  int device;
} Handle;

typedef struct {
  int transa, a_mode, b_mode, fast;
  const float *a_scales, *b_scales;
} Operation;

typedef struct {
  int type;
  uint64_t rows, columns;
  int64_t stride;
} Layout;

typedef struct {
  uint64_t workspace;
  int reductions, alignments[4];
} Preference;

/* An algorithm serves products with one matrix. */
typedef struct {
  uint64_t magic, n, k, free[5];
} Algorithm;

typedef struct {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int free[4];
} Result;

enum { OK = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { E4M3 = 28, F32 = 0, BF16 = 14, OF_ROWS = 3, MAGIC = 0x4c54 };

int cublasLtCreate(Handle** out) {
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

int cublasLtDestroy(Handle* handle) {
  free(handle);
  return OK;
}

size_t cublasLtGetVersion(void) {
  const char* text = getenv("FAKE_CUBLASLT_VERSION");
  return text == NULL ? 130000 : strtoull(text, NULL, 10);
}

int cublasLtMatmulDescCreate(Operation** out, int compute, int scale) {
  *out = calloc(1, sizeof **out);
  return compute == 68 && scale == F32 ? OK : INVALID_VALUE;
}

int cublasLtMatmulDescDestroy(Operation* operation) {
  free(operation);
  return OK;
}

static int copy(void* to, size_t size, const void* from, size_t given) {
  if (size != given) return INVALID_VALUE;
  memcpy(to, from, size);
  return OK;
}

int cublasLtMatmulDescSetAttribute(Operation* o, int attribute, const void* from, size_t size) {
  switch (attribute) {
    case 3: return copy(&o->transa, 4, from, size);
    case 17: return copy(&o->a_scales, 8, from, size);
    case 18: return copy(&o->b_scales, 8, from, size);
    case 25: return copy(&o->fast, 1, from, size);
    case 31: return copy(&o->a_mode, 4, from, size);
    case 32: return copy(&o->b_mode, 4, from, size);
    default: return INVALID_VALUE;
  }
}

int cublasLtMatrixLayoutCreate(Layout** out, int type, uint64_t rows, uint64_t columns,
                               int64_t stride) {
  *out = calloc(1, sizeof **out);
  **out = (Layout){type, rows, columns, stride};
  return OK;
}

int cublasLtMatrixLayoutDestroy(Layout* layout) {
  free(layout);
  return OK;
}

int cublasLtMatrixLayoutSetAttribute(Layout* layout, int attribute, const void* from, size_t size) {
  return attribute == 3 ? copy(&layout->columns, 8, from, size) : INVALID_VALUE;
}

int cublasLtMatmulPreferenceCreate(Preference** out) {
  *out = calloc(1, sizeof **out);
  (*out)->reductions = 7;
  return OK;
}

int cublasLtMatmulPreferenceDestroy(Preference* preference) {
  free(preference);
  return OK;
}

int cublasLtMatmulPreferenceSetAttribute(Preference* p, int attribute, const void* from,
                                         size_t size) {
  if (attribute == 1) return copy(&p->workspace, 8, from, size);
  if (attribute == 3) return copy(&p->reductions, 4, from, size);
  if (attribute >= 5 && attribute <= 8) return copy(&p->alignments[attribute - 5], 4, from, size);
  return INVALID_VALUE;
}

/* Whether the layouts are those of a product of e4m3 that Hopper has: rows and columns in 16s. */
static int fits(const Operation* o, const Layout* a, const Layout* b, const Layout* c) {
  return o->transa == 1 && o->a_mode == OF_ROWS && o->b_mode == OF_ROWS && o->a_scales != NULL &&
         o->b_scales != NULL && a->type == E4M3 && b->type == E4M3 &&
         (c->type == F32 || c->type == BF16) &&
         a->rows == b->rows && a->columns == c->rows && b->columns == c->columns &&
         a->rows % 16 == 0 && a->columns % 16 == 0 && a->stride == (int64_t)a->rows &&
         b->stride >= (int64_t)b->rows && b->stride % 16 == 0 && c->stride >= (int64_t)c->rows &&
         c->stride % (c->type == F32 ? 4 : 8) == 0;
}

int cublasLtMatmulAlgoGetHeuristic(Handle* handle, const Operation* o, const Layout* a,
                                   const Layout* b, const Layout* c, const Layout* d,
                                   const Preference* preference, int wanted, Result* results,
                                   int* count) {
  *count = 0;
  if (handle->device != fake_current() || wanted != 1 || c != d) return INVALID_VALUE;
  /* Sums that are split over the depth would depend on how many rows there are. */
  if (preference->reductions != 0 || preference->workspace == 0) return INVALID_VALUE;
  for (int i = 0; i < 4; i++) {
    if (preference->alignments[i] != 16) return INVALID_VALUE;
  }
  if (!fits(o, a, b, c)) return NOT_SUPPORTED;
  *results = (Result){.algorithm = {.magic = MAGIC, .n = a->columns, .k = a->rows}};
  *count = 1;
  return OK;
}

typedef struct {
  Handle* handle;
  sx_matmul_params params;
} Product;

static int run_product(void* args) {
  const Product* p = args;
  const int status = p->handle->matmul(p->handle->context, &p->params);
  if (status != 0) fprintf(stderr, "fake GPU: a scaled product failed with status %d\n", status);
  return status;
}

int cublasLtMatmul(Handle* handle, const Operation* o, const float* alpha, const void* a,
                   const Layout* a_layout, const void* b, const Layout* b_layout, const float* beta,
                   const void* c, const Layout* c_layout, void* d, const Layout* d_layout,
                   const Algorithm* algorithm, void* workspace, size_t bytes, Stream* stream) {
  const void* pointers[] = {a, b, c, d, o->a_scales, o->b_scales, workspace};
  for (int i = 0; i < 7; i++) {
    if (pointers[i] == NULL || fake_is_foreign(stream, pointers[i])) return INVALID_VALUE;
    if (i < 4 && (uintptr_t)pointers[i] % 16 != 0) return NOT_SUPPORTED;
  }
  const int valid = *alpha == 1 && (*beta == 0 || *beta == 1) && c == d && c_layout == d_layout &&
                    bytes > 0 && fits(o, a_layout, b_layout, c_layout) &&
                    algorithm->magic == MAGIC && algorithm->n == a_layout->columns &&
                    algorithm->k == a_layout->rows && b_layout->columns > 0 &&
                    handle->device == fake_current() && fake_device(stream) == handle->device;
  if (!valid) return INVALID_VALUE;
  const Product product = {handle,
                           {.out = d,
                            .out_dtype = c_layout->type == F32 ? SX_F32 : SX_BF16,
                            .x = b,
                            .x_dtype = SX_F8E4M3,
                            .x_scales = o->b_scales,
                            .weight = a,
                            .weight_dtype = SX_F8E4M3,
                            .weight_scales = o->a_scales,
                            .accumulate = *beta == 1,
                            .m = (int64_t)b_layout->columns,
                            .n = (int64_t)a_layout->columns,
                            .k = (int64_t)a_layout->rows,
                            .x_stride = b_layout->stride,
                            .out_stride = c_layout->stride}};
  return fake_submit(stream, run_product, &product, sizeof product);
}

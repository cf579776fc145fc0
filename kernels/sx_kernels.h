/*
 * The C interface of StarX's kernel libraries, and the only contract between them and TypeScript.
 *
 * The CPU library (kernels/cpu) and the CUDA library (kernels/cuda) export exactly these symbols.
 * Every function that can fail returns an sx_status and leaves its outputs untouched unless the
 * status is SX_OK; sx_error_text() then says why. Pointers are device pointers (on the CPU: plain
 * addresses), 64-byte alignment is not required of them, and none may be null unless "nullable" is
 * written. Sizes and strides are counted in elements unless "bytes" is written.
 *
 * An op sx_<op> takes one structure, sx_<op>_params, which it has read when it returns. Each pointer
 * has its shape beside it, and its dtype where the op takes several. lib/ffi/symbols.ts and params.ts
 * are generated from this file (`deno task generate`): a pointer stands on a line of its own.
 *
 * Letters in shapes: T query tokens, N keys (prefix and own together), P prefix keys, HQ query
 * heads, HK key/value heads (HQ is a multiple of HK; query head h reads key head h / (HQ / HK)),
 * D head size (64 or 128), S stride of the antidiagonal selection. A tile is 128 queries by 128 keys
 * (SX_TILE): what block-sparse attention computes or leaves out as a whole.
 *
 * Keys and values. A sequence of N keys lies in two segments, so that an anchor block's keys serve
 * every block of Star Attention without a copy: keys 0..P-1 in the prefix segment, keys P..N-1 in the
 * own segment. A segment is addressed as base[head * head_stride + token * token_stride + d]; keys and values of
 * a segment share their strides. With P = 0 the prefix pointers are null.
 *
 * Causality. Query row i sees the keys j <= q_offset + i. A plain causal pass over a sequence whose
 * first query is key number c has q_offset = c; q_offset >= N - 1 makes every key visible.
 */
#ifndef SX_KERNELS_H
#define SX_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The libraries are built with everything else hidden. */
#pragma GCC visibility push(default)

/* Raised whenever a signature or a meaning changes; checked when a library is loaded. */
#define SX_ABI_VERSION 9u

/* Tokens along a side of a tile of block-sparse attention (arXiv 2503.16428, section 2: a block). */
#define SX_TILE 128

/* 8-bit weights lie in panels of SX_PANEL_ROWS rows, the last one filled up with any: of every four
 * elements of depth 4 bytes for each row, so that a vector of any width has whole rows. The depth is
 * filled up to a multiple of SX_PANEL_DEPTH. A byte is the number plus 128:
 * byte[p, l / 4, j, l % 4] = 128 + q[SX_PANEL_ROWS * p + j, l], q being -128 to 127, 0 past the end. */
#define SX_PANEL_ROWS 16
#define SX_PANEL_DEPTH 64
/* Rows of x whose largest magnitude is above 10 times the root of their mean square get a second digit. */
#define SX_SECOND_DIGIT 160

typedef int32_t sx_status;
#define SX_OK 0
#define SX_INVALID_ARGUMENT 1 /* a size, stride, dtype value or pointer is out of its range */
#define SX_UNSUPPORTED 2      /* legal, but this library or device has no code for it */
#define SX_OUT_OF_MEMORY 3
#define SX_DEVICE_ERROR 4 /* the device reported an error */

typedef int32_t sx_dtype;
#define SX_F32 0
#define SX_BF16 1
#define SX_F16 2
#define SX_I32 3
#define SX_I8 4
/* 8 bits: sign, 4 of exponent, 3 of mantissa; up to 448, no infinity, 0x7f is NaN. */
#define SX_F8E4M3 5

/* Instruction sets of the CPU library, for sx_context_create. */
#define SX_ISA_AUTO 0
#define SX_ISA_SCALAR 1 /* the twins of kernels/reference; only in the tests' library */
#define SX_ISA_AVX2 2
#define SX_ISA_AVX512 3
#define SX_ISA_AVX512_BF16 4
#define SX_ISA_AMX_BF16 5
/* SX_ISA_X + SX_ISA_ROWS * SX_ISA_Y: sx_matmul_rows runs by Y, everything else by X. */
#define SX_ISA_ROWS 16

typedef struct sx_context sx_context;

/* ---------------------------------------------------------- library, context, memory, copies */

/* SX_ABI_VERSION of the library as it was built. */
uint32_t sx_abi_version(void);

/* Writes a JSON object about the library and this machine, NUL-terminated, to out [size bytes]:
 * {"backend":"cpu","isa":["avx2",...],"best":"avx2","rows":[],"scalar":false}; isa: what the machine can
 * run, best: what SX_ISA_AUTO takes ("" without AVX2), rows: what may run sx_matmul_rows faster than best,
 * to be found out by measuring. SX_INVALID_ARGUMENT if size is too small. */
sx_status sx_describe(char* out, uint64_t size);

/* Makes a context: a thread pool (CPU) or a device with a stream (CUDA).
 * device: ordinal of the GPU; 0 on a CPU. threads: 1..256, the caller's thread counts as one;
 * ignored by CUDA. isa: SX_ISA_*, or two of them (see SX_ISA_ROWS); an instruction set that the machine
 * lacks is SX_UNSUPPORTED.
 * stream: cudaStream_t, 0 on a CPU. out [1] receives the context.
 * A context runs one op at a time; different contexts are independent. */
sx_status sx_context_create(int32_t device, int32_t threads, int32_t isa, uint64_t stream,
                            uint64_t* out);
sx_status sx_context_destroy(sx_context* context);

/* Copies the text of the context's last failure, NUL-terminated and cut to size bytes, to out. */
sx_status sx_error_text(sx_context* context, char* out, uint64_t size);

/* Device memory, 64-byte aligned, zero-filled. out [1] receives the address; bytes may be 0. */
sx_status sx_alloc(sx_context* context, uint64_t bytes, uint64_t* out);
sx_status sx_free(sx_context* context, void* memory);
/* Allocations of this context that are not freed yet; -1 for a null context. */
int64_t sx_live_allocations(sx_context* context);

/* Copies rows of bytes between two places of this device. The ranges do not overlap. */
typedef struct sx_copy_params {
  void* out;                                  /* [rows, bytes], row r at out + r * out_stride */
  const void* in;                             /* [rows, bytes], row r at in + r * in_stride */
  int64_t bytes, rows, out_stride, in_stride; /* strides in bytes, at least `bytes` */
} sx_copy_params;
sx_status sx_copy(sx_context* context, const sx_copy_params* params);

/* out[i] = in[i], rounded to nearest even. */
typedef struct sx_convert_params {
  void* out; /* [count] F32, BF16, F16 */
  sx_dtype out_dtype;
  const void* in; /* [count] F32, BF16, F16 */
  sx_dtype in_dtype;
  int64_t count;
} sx_convert_params;
sx_status sx_convert(sx_context* context, const sx_convert_params* params);

/* out[0] = the sum of the words of some memory, modulo 2^32. It reads and does nothing else: what memory
 * gives an op that only reads is measured by it. */
typedef struct sx_word_sum_params {
  int32_t* out;   /* [1] */
  const void* in; /* [bytes], of words of 4 bytes that may lie at any multiple of 2 */
  int64_t bytes;  /* a multiple of 4 */
} sx_word_sum_params;
sx_status sx_word_sum(sx_context* context, const sx_word_sum_params* params);

/* -------------------------------------------------------------------------------- dense layers */

/* out[t,:] = scale * table[ids[t],:]. */
typedef struct sx_embedding_params {
  float* out;        /* [tokens, dim] */
  const void* table; /* [vocab, dim] F32, BF16 */
  sx_dtype table_dtype;
  const int32_t* ids; /* [tokens], each in 0..vocab-1 (checked on a CPU: SX_INVALID_ARGUMENT) */
  int64_t tokens, dim, vocab;
  float scale;
} sx_embedding_params;
sx_status sx_embedding(sx_context* context, const sx_embedding_params* params);

/* RMSNorm with the residual added first (arXiv 1910.07467):
 * residual[r,:] += delta[r,:] if delta is given;
 * out[r,:] = residual[r,:] / sqrt(mean(residual[r,:]^2) + eps) * weight. Accumulates in f32. */
typedef struct sx_rms_norm_params {
  void* out; /* [rows, dim] F32, BF16 */
  sx_dtype out_dtype;
  float* residual;    /* [rows, dim], written only if delta is given */
  const float* delta; /* [rows, dim], nullable */
  const void* weight; /* [dim] F32, BF16 */
  sx_dtype weight_dtype;
  int64_t rows, dim;
  float eps;
} sx_rms_norm_params;
sx_status sx_rms_norm(sx_context* context, const sx_rms_norm_params* params);

/* Rounds the rows of a matrix to 8 bits, for products with an I8 weight:
 * scales[j] = max_j / 127, max_j being the largest |in[j,l]|; q[j,l] = in[j,l] * (127 / max_j), rounded to
 * nearest even. A row whose max_j is below 2^-100 has scale 0 and zeros; one with a value that is not
 * finite has scale NaN and zeros. in I8: the numbers are taken as they are. */
typedef struct sx_quantize_params {
  void* out;      /* panels of [n, k] I8: see SX_PANEL_ROWS */
  float* scales;  /* [n]; null if in is I8 */
  const void* in; /* [n, k] F32, BF16, F16, I8, contiguous */
  sx_dtype in_dtype;
  int64_t n, k;
} sx_quantize_params;
sx_status sx_quantize(sx_context* context, const sx_quantize_params* params);

/* Rounds the rows of a matrix to 8 bits, each with a scale of its own: with c = max over l of |in[r,l]|,
 * scales[r] = c / 448; out[r,l] = in[r,l] * (448 / c), rounded to nearest even. A row whose c is below
 * 2^-100 has scale 0 and zeros; one with a value that is not finite has scale NaN and zeros. */
typedef struct sx_quantize_rows_params {
  void* out;      /* [rows, dim] F8E4M3, contiguous */
  float* scales;  /* [rows] */
  const void* in; /* [rows, dim] F32, BF16, F16, row r at in + r * in_stride */
  sx_dtype in_dtype;
  int64_t rows, dim, in_stride;
} sx_quantize_rows_params;
sx_status sx_quantize_rows(sx_context* context, const sx_quantize_rows_params* params);

/* out[i,j] (+)= sum over l of x[i,l] * weight[j,l]: a linear layer without bias.
 * x F32: products of f32 values, a BF16 weight being widened exactly. x BF16: products of bf16
 * values (weight BF16). Accumulates in f32. out overlaps nothing. FLOPs 2*m*n*k.
 * weight I8: each row of x is rounded to 8 bits as sx_quantize rounds a row, to q with scale s; then
 * out[i,j] = f32(sum over l of q[i,l] * weight[j,l]) * (s[i] * weight_scales[j]), where accumulate adds out
 * without rounding between. A row with sum over l of q[i,l]^2 < SX_SECOND_DIGIT * k, whose largest number is
 * far above the others, has a second digit, r[i,l] = 128 * f32(x[i,l] * (127 / max_i) - q[i,l]), rounded to
 * nearest even: then out[i,j] += f32(sum over l of r[i,l] * weight[j,l]) * (s[i] / 128 * weight_scales[j]),
 * again without rounding between. The sums are whole numbers and exact: the bits are the same in every
 * order. A CPU alone has it.
 * weight F8E4M3: products of x and the finite values of the codes, and of a sum times weight_scales[j]; x
 * is BF16 (F32: a CPU alone), or F8E4M3, and then the sum is also times x_scales[i]. On a GPU products of
 * two F8E4M3 are cuBLASLt's alone: SX_UNSUPPORTED here. */
typedef struct sx_matmul_params {
  float* out;    /* [m, n], row i at out + i * out_stride */
  const void* x; /* [m, k] F32, BF16, F8E4M3, row i at x + i * x_stride */
  sx_dtype x_dtype;
  const float* x_scales; /* [m]; null unless x is F8E4M3 */
  const void* weight; /* [n, k] F32, BF16, F8E4M3, contiguous; or I8 in panels, k at most 131072 */
  sx_dtype weight_dtype;
  const float* weight_scales; /* [n]; null unless weight is I8 or F8E4M3 */
  int32_t accumulate;         /* 1 adds to out, 0 overwrites it */
  int64_t m, n, k, x_stride, out_stride;
} sx_matmul_params;
sx_status sx_matmul(sx_context* context, const sx_matmul_params* params);

/* The same product for the few rows of a decode step, in one order of sums: a row of out is bit for bit
 * the same whatever m and the row's place. Weights are read once for up to 64 rows (a CPU: for all). */
typedef struct sx_matmul_rows_params {
  sx_matmul_params product;
} sx_matmul_rows_params;
sx_status sx_matmul_rows(sx_context* context, const sx_matmul_rows_params* params);

/* The rotation of each position (RoPE, arXiv 2104.09864), shared by all heads; R = rotary_dim:
 * a = f32(positions[t]) * inverse_frequency[t * frequency_stride + d], rounded to f32 as Hugging Face
 * does; table[t,d] = scale * cos(a), table[t,R/2+d] = scale * sin(a) for d < R/2. */
typedef struct sx_rope_table_params {
  float* table;                   /* [tokens, rotary_dim] */
  const float* inverse_frequency; /* [tokens, rotary_dim / 2], or [rotary_dim / 2] at stride 0 */
  const int32_t* positions;       /* [tokens] */
  int64_t tokens, rotary_dim, frequency_stride; /* stride 0: all tokens have the same */
  float scale;
} sx_rope_table_params;
sx_status sx_rope_table(sx_context* context, const sx_rope_table_params* params);

/* Rotates queries and keys and writes keys and values to the cache.
 * (x1, x2) = halves of the first rotary_dim elements of a head; rotated = (x1*cos - x2*sin, x2*cos +
 * x1*sin). The elements behind them are copied, and those from head_dim to out_dim become 0. */
typedef struct sx_rope_params {
  void* q_out; /* [tokens, q_heads, out_dim] F32, BF16 */
  sx_dtype q_dtype;
  void* keys;   /* a segment (see above) of out_dim F32, BF16; nullable if every rows[t] is -1 */
  void* values; /* as keys */
  sx_dtype cache_dtype;
  const float* qkv;    /* [tokens, (q_heads + 2 * kv_heads) * head_dim]: queries, keys, values */
  const float* table;  /* [tokens, rotary_dim], as sx_rope_table makes it; null if that is 0 */
  const int32_t* rows; /* [tokens]: the row of the segment for each token, -1 for none */
  int64_t tokens, q_heads, kv_heads, head_dim, token_stride, head_stride;
  int64_t rotary_dim, out_dim; /* even, at most head_dim; at least head_dim */
} sx_rope_params;
sx_status sx_rope(sx_context* context, const sx_rope_params* params);

/* RMSNorm of the heads of each row, in place (Qwen3 and others have it on queries and keys):
 * x[r,h,:] = x[r,h,:] / sqrt(mean(x[r,h,:]^2) + eps) * weight. Accumulates in f32. */
typedef struct sx_head_norm_params {
  float* x;           /* [rows, heads, dim], row r at x + r * row_stride */
  const void* weight; /* [dim] F32, BF16 */
  sx_dtype weight_dtype;
  int64_t rows, heads, dim, row_stride;
  float eps;
} sx_head_norm_params;
sx_status sx_head_norm(sx_context* context, const sx_head_norm_params* params);

/* out[r,:] += in[r,:]: a bias where in_stride is 0, and all rows add the same. */
typedef struct sx_add_params {
  float* out;      /* [rows, dim], row r at out + r * out_stride */
  const float* in; /* [rows, dim], row r at in + r * in_stride */
  int64_t rows, dim, out_stride, in_stride;
} sx_add_params;
sx_status sx_add(sx_context* context, const sx_add_params* params);

/* out[r,c] = silu(gate[r,c]) * up[r,c] (arXiv 2002.05202). */
typedef struct sx_swiglu_params {
  void* out; /* [rows, dim] F32, BF16 */
  sx_dtype out_dtype;
  const float* gate_up; /* [rows, 2 * dim]: gate, then up */
  int64_t rows, dim;
} sx_swiglu_params;
sx_status sx_swiglu(sx_context* context, const sx_swiglu_params* params);

/* ------------------------------------------------------------------------------------ sampling */

/* out[r] = the index of the largest value of row r; equal values: the lower index. A row with a value
 * that is not finite gives -1: nothing can be chosen by it. */
typedef struct sx_argmax_params {
  int32_t* out;        /* [rows] */
  const float* logits; /* [rows, count] */
  int64_t rows, count;
} sx_argmax_params;
sx_status sx_argmax(sx_context* context, const sx_argmax_params* params);

/* The k largest values of one row in falling order (equal: the lower index first). */
typedef struct sx_top_k_params {
  int32_t* out_ids;    /* [k] */
  float* out_values;   /* [k] */
  const float* logits; /* [count] */
  int64_t count, k;    /* k: 1 to count */
} sx_top_k_params;
sx_status sx_top_k(sx_context* context, const sx_top_k_params* params);

#include "sx_attention.h" /* attention and the choice of tiles */

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

/*
 * The C interface of StarX's kernel libraries, and the only contract between them and TypeScript.
 *
 * The CPU library (kernels/cpu) and the CUDA library (kernels/cuda) export exactly these symbols.
 * Every function that can fail returns an sx_status and leaves its outputs untouched unless the
 * status is SX_OK; sx_error_text() then says why. Pointers are device pointers (on the CPU: plain
 * addresses), 64-byte alignment is not required of them, and none may be null unless "nullable" is
 * written. Sizes and strides are counted in elements unless "bytes" is written.
 *
 * Letters in shapes: T query tokens, N keys (prefix and own together), P prefix keys, HQ query
 * heads, HK key/value heads (HQ is a multiple of HK; query head h reads key head h / (HQ / HK)),
 * D head size (64 or 128), B = 128 tokens per block, S stride of the antidiagonal selection.
 *
 * Keys and values. A sequence of N keys lies in two segments, so that an anchor block's keys serve
 * every block without a copy: keys 0..P-1 in the prefix segment, keys P..N-1 in the own segment.
 * A segment is addressed as base[head * head_stride + token * token_stride + d]; keys and values of
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
#define SX_ABI_VERSION 1u

/* Tokens per block of the block-sparse attention (XAttention, arXiv 2503.16428, section 2). */
#define SX_BLOCK 128

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

/* Instruction sets of the CPU library, for sx_context_create. */
#define SX_ISA_AUTO 0
#define SX_ISA_SCALAR 1 /* the twins of kernels/reference; only in the tests' library */
#define SX_ISA_AVX2 2
#define SX_ISA_AVX512 3
#define SX_ISA_AVX512_BF16 4
#define SX_ISA_AMX_BF16 5

typedef struct sx_context sx_context;

/* ------------------------------------------------------------------ library, context, memory */

/* SX_ABI_VERSION of the library as it was built. */
uint32_t sx_abi_version(void);

/* Writes a JSON object that describes the library and this machine, NUL-terminated:
 * {"backend":"cpu","isa":["avx2",...],"best":"avx2","scalar":false}; isa lists what this machine
 * can run, best is what SX_ISA_AUTO takes ("" when the machine lacks AVX2).
 * out [size bytes]. SX_INVALID_ARGUMENT if size is too small. */
sx_status sx_describe(char* out, uint64_t size);

/* Makes a context: a thread pool (CPU) or a device with a stream (CUDA).
 * device: ordinal of the GPU; 0 on a CPU. threads: 1..256, the caller's thread counts as one;
 * ignored by CUDA. isa: SX_ISA_*, an instruction set that the machine lacks is SX_UNSUPPORTED.
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
/* Copies bytes between two places of this device. The ranges do not overlap. */
sx_status sx_copy(sx_context* context, void* out, const void* in, uint64_t bytes);
/* out [count] of out_dtype = in [count] of in_dtype, rounded to nearest even; F32, BF16, F16. */
sx_status sx_convert(sx_context* context, void* out, const void* in, sx_dtype out_dtype,
                     sx_dtype in_dtype, int64_t count);

/* ------------------------------------------------------------------------------ dense layers */

/* out[t,:] = table[ids[t],:]. out [tokens, dim] f32; table [vocab, dim] F32, BF16;
 * ids [tokens] i32, each in 0..vocab-1 (checked on the CPU: SX_INVALID_ARGUMENT). */
sx_status sx_embedding(sx_context* context, float* out, const void* table, const int32_t* ids,
                       sx_dtype table_dtype, int64_t tokens, int64_t dim, int64_t vocab);

/* RMSNorm with the residual added first (arXiv 1910.07467):
 * residual[r,:] += delta[r,:] if delta is given;
 * out[r,:] = residual[r,:] / sqrt(mean(residual[r,:]^2) + eps) * weight.
 * out [rows, dim] F32, BF16; residual [rows, dim] f32, written only if delta is given;
 * delta [rows, dim] f32, nullable; weight [dim] F32, BF16. Accumulates in f32. */
sx_status sx_rms_norm(sx_context* context, void* out, float* residual, const float* delta,
                      const void* weight, sx_dtype out_dtype, sx_dtype weight_dtype, int64_t rows,
                      int64_t dim, float eps);

/* out[i,j] (+)= sum over l of x[i,l] * weight[j,l]: a linear layer without bias.
 * out [m, n] f32, row i at out + i * out_stride; x [m, k] F32, BF16, row i at x + i * x_stride;
 * weight [n, k] F32, BF16, contiguous. accumulate: 1 adds to out, 0 overwrites it.
 * x F32: products of f32 values, a BF16 weight being widened exactly. x BF16: products of bf16
 * values (weight BF16). Accumulates in f32. out overlaps nothing. FLOPs 2*m*n*k. */
sx_status sx_matmul(sx_context* context, float* out, const void* x, const void* weight,
                    sx_dtype x_dtype, sx_dtype weight_dtype, int32_t accumulate, int64_t m,
                    int64_t n, int64_t k, int64_t x_stride, int64_t out_stride);

/* The rotation of each position (RoPE, arXiv 2104.09864), shared by all layers and heads:
 * a = f32(positions[t]) * inverse_frequency[d], rounded to f32 as Hugging Face does;
 * table[t,d] = cos(a), table[t,D/2+d] = sin(a) for d < D/2.
 * table [tokens, head_dim] f32; inverse_frequency [head_dim/2] f32; positions [tokens] i32. */
sx_status sx_rope_table(sx_context* context, float* table, const float* inverse_frequency,
                        const int32_t* positions, int64_t tokens, int64_t head_dim);

/* Rotates queries and keys and writes keys and values to the cache.
 * (x1, x2) = halves of a head; rotated = (x1*cos - x2*sin, x2*cos + x1*sin).
 * q_out [tokens, q_heads, head_dim] F32, BF16;
 * keys, values: a segment (see above) of cache_dtype F32, BF16; token t goes to row rows[t], and
 * to none if rows[t] is -1; keys and values may be null if every rows[t] is -1.
 * qkv [tokens, (q_heads + 2 * kv_heads) * head_dim] f32: queries, keys, values of a token in turn.
 * table as sx_rope_table makes it; rows [tokens] i32. */
sx_status sx_rope(sx_context* context, void* q_out, void* keys, void* values, const float* qkv,
                  const float* table, const int32_t* rows, sx_dtype q_dtype, sx_dtype cache_dtype,
                  int64_t tokens, int64_t q_heads, int64_t kv_heads, int64_t head_dim,
                  int64_t token_stride, int64_t head_stride);

/* out[r,c] = silu(gate[r,c]) * up[r,c] (arXiv 2002.05202).
 * out [rows, dim] F32, BF16; gate_up [rows, 2 * dim] f32: gate, then up. */
sx_status sx_swiglu(sx_context* context, void* out, const float* gate_up, sx_dtype out_dtype,
                    int64_t rows, int64_t dim);

/* -------------------------------------------------------------------------------- attention */

/* Exact attention with log-sum-exp, flash style: no buffer of T x N (arXiv 2205.14135).
 * out[t,h,:] = sum over visible j of p[j] * v[j,:], p = softmax(scale * q[t,h,:] . k[j,:]);
 * lse_log2[t,h] = log2(sum over visible j of exp(scale * q . k)); without a visible key out is 0
 * and lse_log2 is -inf.
 * out [T, q_heads, head_dim] F32, BF16; lse_log2 [T, q_heads] f32, nullable;
 * q [T, q_heads, head_dim] F32 (CPU), BF16 (CUDA); keys, values: own segment, key_tokens = N - P;
 * prefix_keys, prefix_values: prefix segment, P = prefix_tokens; kv_dtype F32, BF16.
 * Accumulates in f32. FLOPs 4*D*HQ per visible (query, key) pair. */
sx_status sx_attention_dense(sx_context* context, void* out, float* lse_log2, const void* q,
                             const void* keys, const void* values, const void* prefix_keys,
                             const void* prefix_values, sx_dtype out_dtype, sx_dtype q_dtype,
                             sx_dtype kv_dtype, int64_t q_tokens, int64_t q_offset,
                             int64_t key_tokens, int64_t prefix_tokens, int64_t q_heads,
                             int64_t kv_heads, int64_t head_dim, int64_t token_stride,
                             int64_t head_stride, int64_t prefix_token_stride,
                             int64_t prefix_head_stride, float scale);

/* sx_attention_dense over chosen blocks of keys only (XAttention, arXiv 2503.16428).
 * q_offset and P are multiples of 128. Query row block b holds the queries 128*b.. of this call;
 * key block c holds the keys 128*c.. of the sequence. Within a chosen block causality holds.
 * Blocks that are not chosen are not read.
 * counts [q_heads, q_blocks] i32, how many key blocks row block b of head h reads;
 * indices [q_heads, q_blocks, index_stride] i32, their numbers, ascending;
 * q_blocks = ceil(T / 128). The CPU library refuses numbers out of range. */
sx_status sx_attention_block_sparse(
    sx_context* context, void* out, float* lse_log2, const void* q, const void* keys,
    const void* values, const void* prefix_keys, const void* prefix_values, const int32_t* counts,
    const int32_t* indices, sx_dtype out_dtype, sx_dtype q_dtype, sx_dtype kv_dtype,
    int64_t q_tokens, int64_t q_offset, int64_t key_tokens, int64_t prefix_tokens, int64_t q_heads,
    int64_t kv_heads, int64_t head_dim, int64_t token_stride, int64_t head_stride,
    int64_t prefix_token_stride, int64_t prefix_head_stride, int64_t index_stride, float scale);

/* sx_attention_dense for few queries against a long cache (T <= 16, no prefix), the keys being
 * split over threads or SMs. The number of keys is read from key_count, so that a captured graph
 * can be replayed as the cache grows.
 * key_count [1] i32, 0..key_capacity; query t sees the keys j <= key_count - T + t if causal is 1,
 * all key_count keys if causal is 0. Other parameters as there. */
sx_status sx_attention_decode(sx_context* context, void* out, float* lse_log2, const void* q,
                              const void* keys, const void* values, const int32_t* key_count,
                              sx_dtype out_dtype, sx_dtype q_dtype, sx_dtype kv_dtype,
                              int32_t causal, int64_t q_tokens, int64_t key_capacity,
                              int64_t q_heads, int64_t kv_heads, int64_t head_dim,
                              int64_t token_stride, int64_t head_stride, float scale);

/* Merges partial attentions over disjoint sets of keys (Star Attention, arXiv 2411.17116, 2.2).
 * Part p lies at parts + p * part_stride: out [tokens, heads, head_dim], then lse_log2
 * [tokens, heads], then score [heads], all f32. Weights over p, per token and head:
 * by_score = 0: 2^lse normalized; a part of lse -inf weighs nothing, all empty gives zeros.
 * by_score = 1: softmax of the parts' scores, the same for every token (the seed's antidiagonal
 * weights; lse is not read).
 * out [tokens, heads, head_dim] F32, BF16. Adds in part order, in f32. */
sx_status sx_merge_states(sx_context* context, void* out, const float* parts, sx_dtype out_dtype,
                          int32_t by_score, int64_t part_count, int64_t part_stride,
                          int64_t tokens, int64_t heads, int64_t head_dim);

/* ------------------------------------------------------------------ antidiagonal block selection */

/* Antidiagonal mass of every 128 x 128 block (XAttention, arXiv 2503.16428, section 2.1).
 * Groups of S tokens: Kr[j] = concat over s of k[j*S + s], Qr[i] = concat of q[i*S + S-1-s], rows
 * past the end being zero; logits[i][j] = Qr[i] . Kr[j] * scale / S over j <= i (i counted in the
 * sequence); with pad = -N mod 128, the last floor(pad / S) groups of keys are left out, and query
 * groups that hold only padding count as zero; p = softmax over j; mass = sum of p over the cell.
 * mass [q_heads, q_blocks, key_blocks] f32, q_blocks = ceil(T/128), key_blocks = ceil(N/128);
 * non-causal cells are 0. q_offset and P are multiples of 128 and N = q_offset + T; S divides 128.
 * q, keys, values' strides, scale as in sx_attention_dense. */
sx_status sx_antidiagonal_score(sx_context* context, float* mass, const void* q, const void* keys,
                                const void* prefix_keys, sx_dtype q_dtype, sx_dtype kv_dtype,
                                int64_t q_tokens, int64_t q_offset, int64_t key_tokens,
                                int64_t prefix_tokens, int64_t q_heads, int64_t kv_heads,
                                int64_t head_dim, int64_t token_stride, int64_t head_stride,
                                int64_t prefix_token_stride, int64_t prefix_head_stride,
                                int64_t stride, float scale);

/* Chooses blocks by their mass: block 0 and the diagonal block always; of the others, in falling
 * order of mass (equal: lower number first), each whose mass is above 0, as long as the mass taken
 * before it (block 0 and diagonal included) is below threshold * (mass of the row).
 * threshold >= 1 takes every causal block. Row block b of the call is number first_block + b.
 * counts, indices as in sx_attention_block_sparse, indices ascending; index_stride >= key_blocks.
 * mass [heads, q_blocks, key_blocks] f32. */
sx_status sx_select_blocks(sx_context* context, int32_t* counts, int32_t* indices,
                           const float* mass, int64_t heads, int64_t q_blocks, int64_t key_blocks,
                           int64_t first_block, int64_t index_stride, float threshold);

/* out[h,:] = mean over the first `tokens` rows of a segment's keys. out [kv_heads, head_dim] f32;
 * kv_dtype F32, BF16; tokens >= 1. */
sx_status sx_key_mean(sx_context* context, float* out, const void* keys, sx_dtype kv_dtype,
                      int64_t tokens, int64_t kv_heads, int64_t head_dim, int64_t token_stride,
                      int64_t head_stride);

/* The seed's score of a host (phase 2, merge "antidiagonal"; zer0-data/StarXAttention c33af48):
 * K' = [anchor_mean, keys]; L = min(T, key_tokens + 1); rows past L are zero;
 * score[h] = scale * sum over g, r < S of q[g*S + r, h] . K'[g*S + S-1-r, h mod kv_heads].
 * Note the tiled, not grouped, key head. score [q_heads] f32; anchor_mean [kv_heads, head_dim] f32;
 * q [T, q_heads, head_dim] F32 (CPU), BF16 (CUDA). */
sx_status sx_host_score(sx_context* context, float* score, const void* q, const float* anchor_mean,
                        const void* keys, sx_dtype q_dtype, sx_dtype kv_dtype, int64_t q_tokens,
                        int64_t key_tokens, int64_t q_heads, int64_t kv_heads, int64_t head_dim,
                        int64_t token_stride, int64_t head_stride, int64_t stride, float scale);

/* -------------------------------------------------------------------------------- sampling */

/* out[r] = the index of the largest value of row r; equal values: the lower index; NaN never wins.
 * out [rows] i32; logits [rows, count] f32. */
sx_status sx_argmax(sx_context* context, int32_t* out, const float* logits, int64_t rows,
                    int64_t count);

/* The k largest values of one row in falling order (equal: the lower index first).
 * out_ids [k] i32; out_values [k] f32; logits [count] f32; 1 <= k <= count. */
sx_status sx_top_k(sx_context* context, int32_t* out_ids, float* out_values, const float* logits,
                   int64_t count, int64_t k);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif

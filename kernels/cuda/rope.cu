/*
 * Rotary positions (see sx_rope_table and sx_rope in ../sx_kernels.h; arXiv 2104.09864).
 *
 * table[t,d] = cos(a), table[t,R/2+d] = sin(a), a = f32(positions[t]) * inverse_frequency[d] in f32;
 * rotated = (x1*cos - x2*sin, x2*cos + x1*sin) for the halves of the rotated part of a head.
 * A thread of sx_rope takes eight elements of both halves of one head of one token: queries go to
 * q_out, keys and values to their rows of the cache. Where a part of a head is not rotated, or padded,
 * a thread takes one element of what is written. Moves tokens * (HQ + 2*HK) * D * (in + out)
 * bytes and the table once; 256 threads a block.
 */
#include "element.cuh"
#include "ops.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;

/* sin and cos in double precision of the angle in half turns: the reduction is then exact to far
 * below a bit of the f32 result, for positions of any size. */
__global__ void __launch_bounds__(kThreads)
    rope_table_kernel(const __grid_constant__ sx_rope_table_params args) {
  let_next_begin();
  wait_for_previous();
  const int half = static_cast<int>(args.rotary_dim / 2);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
       i < args.tokens * half; i += step) {
    const int64_t t = i / half;
    const int d = static_cast<int>(i % half);
    const float frequency = args.inverse_frequency[t * args.frequency_stride + d];
    const float angle = static_cast<float>(args.positions[t]) * frequency;
    double sine, cosine;
    sincospi(static_cast<double>(angle) * 0.31830988618379067154, &sine, &cosine);
    args.table[t * 2 * half + d] = static_cast<float>(cosine) * args.scale;
    args.table[t * 2 * half + half + d] = static_cast<float>(sine) * args.scale;
  }
}

struct RopeSizes {
  int64_t tokens, token_stride, head_stride;
  int q_heads, kv_heads, half;
};

template <bool kAligned, class T>
__device__ inline void load_some(float (&out)[8], const T* in) {
  if constexpr (kAligned) {
    load8(out, in);
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) out[i] = widen(in[i]);
  }
}

template <bool kAligned, class T>
__device__ inline void store_some(T* out, const float (&in)[8]) {
  if constexpr (kAligned) {
    store8(out, in);
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) put(out + i, in[i]);
  }
}

/* out + first, out + first + half = the rotated halves of x. */
template <bool kAligned, class In, class T>
__device__ inline void rotate(T* out, const In* x, const float* table, int half) {
  float x1[8], x2[8], cosine[8], sine[8], y1[8], y2[8];
  load_some<kAligned>(x1, x);
  load_some<kAligned>(x2, x + half);
  load_some<kAligned>(cosine, table);
  load_some<kAligned>(sine, table + half);
#pragma unroll
  for (int i = 0; i < 8; i++) {
    y1[i] = x1[i] * cosine[i] - x2[i] * sine[i];
    y2[i] = x2[i] * cosine[i] + x1[i] * sine[i];
  }
  store_some<kAligned>(out, y1);
  store_some<kAligned>(out + half, y2);
}

template <bool kAligned, class In, class T>
__device__ inline void move(T* out, const In* x, int half) {
  float values[8];
  load_some<kAligned>(values, x);
  store_some<kAligned>(out, values);
  load_some<kAligned>(values, x + half);
  store_some<kAligned>(out + half, values);
}

template <bool kAligned, class In, class Query, class Cache>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(Query* q_out, Cache* keys, Cache* values, const In* qkv, const float* table,
                const int32_t* rows, RopeSizes sizes) {
  let_next_begin();
  wait_for_previous();
  const int half = sizes.half, dim = 2 * half, lanes = half / 8;
  const int heads = sizes.q_heads + 2 * sizes.kv_heads;
  const int64_t items = sizes.tokens * heads * lanes;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < items;
       i += step) {
    const int64_t t = i / (heads * lanes);
    const int rest = static_cast<int>(i % (heads * lanes));
    const int head = rest / lanes, d = rest % lanes * 8;
    const In* x = qkv + (t * heads + head) * dim + d;
    const float* angles = table + t * dim + d;
    if (head < sizes.q_heads) {
      rotate<kAligned>(q_out + (t * sizes.q_heads + head) * dim + d, x, angles, half);
      continue;
    }
    const int64_t row = rows[t];
    if (row < 0 || keys == nullptr || values == nullptr) continue;
    const int kv_head = (head - sizes.q_heads) % sizes.kv_heads;
    const int64_t at = kv_head * sizes.head_stride + row * sizes.token_stride + d;
    if (head < sizes.q_heads + sizes.kv_heads) {
      rotate<kAligned>(keys + at, x, angles, half);
    } else {
      move<kAligned>(values + at, x, half);
    }
  }
}

/* Element d of a head whose first `rotated` elements are turned; 0 behind its end. */
template <class In>
__device__ inline float turned(const sx_rope_params& args, const In* x, const float* table,
                               int rotated, int d) {
  if (d >= args.head_dim) return 0;
  if (d >= rotated) return widen(x[d]);
  const int half = rotated / 2;
  return d < half ? widen(x[d]) * table[d] - widen(x[half + d]) * table[half + d]
                  : widen(x[d]) * table[d - half] + widen(x[d - half]) * table[d];
}

/* Any part of a head, and any padding. */
template <class In, class Query, class Cache>
__global__ void __launch_bounds__(kThreads)
    rope_any_kernel(const __grid_constant__ sx_rope_params args) {
  let_next_begin();
  wait_for_previous();
  const int64_t heads = args.q_heads + 2 * args.kv_heads;
  const int64_t items = args.tokens * heads * args.out_dim;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  const int rotated = static_cast<int>(args.rotary_dim);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < items;
       i += step) {
    const int64_t t = i / (heads * args.out_dim), head = i / args.out_dim % heads;
    const int d = static_cast<int>(i % args.out_dim);
    const In* x = static_cast<const In*>(args.qkv) + (t * heads + head) * args.head_dim;
    const float* table = args.table + t * rotated;
    if (head < args.q_heads) {
      put(static_cast<Query*>(args.q_out) + (t * args.q_heads + head) * args.out_dim + d,
          turned(args, x, table, rotated, d));
      continue;
    }
    const int64_t row = args.rows[t];
    if (row < 0 || args.keys == nullptr || args.values == nullptr) continue;
    const int64_t kv_head = (head - args.q_heads) % args.kv_heads;
    const int64_t at = kv_head * args.head_stride + row * args.token_stride + d;
    if (head < args.q_heads + args.kv_heads) {
      put(static_cast<Cache*>(args.keys) + at, turned(args, x, table, rotated, d));
    } else {
      put(static_cast<Cache*>(args.values) + at, turned(args, x, table, 0, d));
    }
  }
}

template <class In, class Query, class Cache>
sx_status launch(Context& context, const sx_rope_params& args) {
  if (args.rotary_dim != args.head_dim || args.out_dim != args.head_dim ||
      args.head_dim % 16 != 0) {
    const int64_t all = args.tokens * (args.q_heads + 2 * args.kv_heads) * args.out_dim;
    const unsigned blocks = grid_of(min64(ceil_div(all, kThreads), kMaxBlocks));
    return launch_ahead(context, "rotate", rope_any_kernel<In, Query, Cache>, blocks, kThreads, 0,
                        args);
  }
  const int half = static_cast<int>(args.head_dim / 2);
  const RopeSizes sizes = {args.tokens,
                           args.token_stride,
                           args.head_stride,
                           static_cast<int>(args.q_heads),
                           static_cast<int>(args.kv_heads),
                           half};
  const int64_t items = args.tokens * (args.q_heads + 2 * args.kv_heads) * (half / 8);
  const unsigned grid = grid_of(min64(ceil_div(items, kThreads), kMaxBlocks));
  const bool aligned = is_aligned(args.q_out) && is_aligned(args.keys) && is_aligned(args.values) &&
                       is_aligned(args.qkv) && is_aligned(args.table) &&
                       args.token_stride % 8 == 0 && args.head_stride % 8 == 0;
  Query* q_out = static_cast<Query*>(args.q_out);
  Cache* keys = static_cast<Cache*>(args.keys);
  Cache* values = static_cast<Cache*>(args.values);
  auto kernel =
      aligned ? rope_kernel<true, In, Query, Cache> : rope_kernel<false, In, Query, Cache>;
  const In* qkv = static_cast<const In*>(args.qkv);
  return launch_ahead(context, "rotate", kernel, grid, kThreads, 0, q_out, keys, values, qkv,
                      args.table, args.rows, sizes);
}

template <class In>
sx_status launch_from(Context& context, const sx_rope_params& args) {
  const bool narrow = args.cache_dtype == SX_BF16;
  if (args.q_dtype == SX_BF16) {
    return narrow ? launch<In, bf16, bf16>(context, args) : launch<In, bf16, float>(context, args);
  }
  return narrow ? launch<In, float, bf16>(context, args) : launch<In, float, float>(context, args);
}

}  // namespace

sx_status rope_table(Context& context, const sx_rope_table_params& args) {
  if (args.tokens == 0) return SX_OK;
  const int64_t items = args.tokens * args.rotary_dim / 2;
  const unsigned grid = grid_of(min64(ceil_div(items, kThreads), kMaxBlocks));
  return launch_ahead(context, "make rotations", rope_table_kernel, grid, kThreads, 0, args);
}

sx_status rope(Context& context, const sx_rope_params& args) {
  if (args.tokens == 0) return SX_OK;
  return args.qkv_dtype == SX_BF16 ? launch_from<bf16>(context, args)
                                   : launch_from<float>(context, args);
}

}  // namespace cuda
}  // namespace sx

/*
 * Chooses the tiles of keys that a decode step reads, by the means of their keys (see
 * sx_decode_select in ../sx_attention.h).
 *
 * mass[c] = sum over the queries and heads of a key head of softmax(scale * q . mean_keys[c]) within
 * a unit; then the largest leave a heap. A unit of work is one key head of a sequence. Logits, softmax
 * and mass in f32, sums of masses in double precision, all in a fixed order. Bytes read
 * T*HQ/HK times 4*D a tile, from the cache; FLOPs 2*D*T*HQ a tile, about log2(tiles) comparisons for
 * each that is chosen.
 */
#include <math.h>

#include "ops.h"
#include "simd.h"
#include "thread_pool.h"
#include "tile_heap.h"

namespace sx {
namespace SX_ISA {

namespace {

/* Working memory of a worker: logits of a unit, padded to whole vectors, a heap, and marks. */
struct Scratch {
  float* logits;
  int32_t* heap;
  uint8_t* taken;
};

constexpr int64_t scratch_bytes(int64_t tiles) {
  return (tiles + 16) * 4 + tiles * 4 + (tiles + 63) / 64 * 64;
}

Scratch scratch_at(char* memory, int64_t tiles) {
  Scratch scratch;
  scratch.logits = reinterpret_cast<float*>(memory);
  scratch.heap = reinterpret_cast<int32_t*>(scratch.logits + tiles + 16);
  scratch.taken = reinterpret_cast<uint8_t*>(scratch.heap + tiles);
  return scratch;
}

/* sum over d of q[d] * k[d]. */
template <class Key>
float dot(const float* q, const Key* k, int64_t dim) {
  Vec first = zero(), second = zero();
  for (int64_t d = 0; d < dim; d += 2 * kLanes) {
    first = fma(load(q + d), load(k + d), first);
    second = fma(load(q + d + kLanes), load(k + d + kLanes), second);
  }
  return reduce_add(add(first, second));
}

/* Adds the softmax of one row over a unit of `tiles` means to their masses. */
template <class Key>
void add_row(const sx_decode_select_params& args, const float* q, const Key* means, int64_t tiles,
             float* logits, float* mass) {
  const float scale_log2 = args.scale * 1.44269504088896341f;
  float top = -INFINITY;
  for (int64_t c = 0; c < tiles; c++) {
    float logit = dot(q, means + c * args.head_dim, args.head_dim) * scale_log2;
    if (!(logit < INFINITY)) {
      mass[c] = NAN;
      logit = -INFINITY;
    }
    logits[c] = logit;
    top = larger(logit, top);
  }
  if (top == -INFINITY) return;
  const int64_t padded = round_up(tiles, kLanes);
  for (int64_t c = tiles; c < padded; c++) logits[c] = -INFINITY;
  Vec sums = zero();
  for (int64_t c = 0; c < padded; c += kLanes) {
    const Vec weight = exp2(sub(load(logits + c), broadcast(top)));
    store(logits + c, weight);
    sums = add(sums, weight);
  }
  const float factor = 1 / reduce_add(sums);
  for (int64_t c = 0; c < tiles; c++) mass[c] += logits[c] * factor;
}

/* Marks the chosen tiles of the unit first..end-1. */
void choose(const sx_decode_select_params& args, int64_t first, int64_t end, const float* mass,
            const Scratch& scratch) {
  int64_t chosen = 0, size = 0;
  double total = 0, sum = 0;
  for (int64_t c = first; c < end; c++) {
    const bool is_number = mass[c] == mass[c];
    const bool is_first = c < args.first_tiles;
    const bool taken = args.keep >= 1 || !is_number || is_first;
    scratch.taken[c] = taken;
    if (taken) chosen++;
    if (is_number) total += mass[c];
    if (is_number && is_first) sum += mass[c];
    if (!taken && (args.by_threshold == 0 || mass[c] > 0)) {
      scratch.heap[size++] = static_cast<int32_t>(c);
    }
  }
  const double keep = args.keep, tiles = static_cast<double>(end - first);
  const int64_t wanted = static_cast<int64_t>(ceil(keep * (1 - 0x1p-20) * tiles));
  for (int64_t at = size / 2 - 1; at >= 0; at--) sift_down(mass, scratch.heap, at, size);
  while (size > 0 && (args.by_threshold ? sum < keep * total : chosen < wanted)) {
    const int32_t tile = scratch.heap[0];
    scratch.taken[tile] = 1;
    chosen++;
    sum += mass[tile];
    scratch.heap[0] = scratch.heap[--size];
    if (size > 0) sift_down(mass, scratch.heap, 0, size);
  }
}

template <class Key>
void select_head(const sx_decode_select_params& args, int64_t unit, const Scratch& scratch) {
  const int64_t s = unit / args.kv_heads, kv_head = unit % args.kv_heads;
  const int64_t group = args.q_heads / args.kv_heads, tiles = args.pooled_tiles[s];
  const int64_t row = (args.first_row == nullptr ? 0 : args.first_row[s]) / SX_TILE;
  const Key* means = static_cast<const Key*>(args.mean_keys) + kv_head * args.mean_head_stride +
                     row * args.head_dim;
  const float* q = static_cast<const float*>(args.q) +
                   (s * args.q_tokens * args.q_heads + kv_head * group) * args.head_dim;
  float* mass = args.mass + unit * args.index_stride;
  const int64_t step = args.unit_tiles == 0 ? max64(1, tiles) : args.unit_tiles;
  for (int64_t c = 0; c < tiles; c++) mass[c] = 0;
  for (int64_t first = 0; first < tiles; first += step) {
    const int64_t end = min64(first + step, tiles);
    for (int64_t t = 0; t < args.q_tokens; t++) {
      for (int64_t g = 0; g < group; g++) {
        add_row(args, q + (t * args.q_heads + g) * args.head_dim, means + first * args.head_dim,
                end - first, scratch.logits, mass + first);
      }
    }
    choose(args, first, end, mass, scratch);
  }
  int32_t* list = args.indices + unit * args.index_stride;
  int32_t count = 0;
  for (int64_t c = 0; c < tiles; c++) count += scratch.taken[c];
  int64_t chosen = 0, others = count;
  for (int64_t c = 0; c < tiles; c++) {
    list[scratch.taken[c] ? chosen++ : others++] = static_cast<int32_t>(c);
  }
  args.counts[unit] = count;
}

template <class Key>
sx_status run(Context& context, const sx_decode_select_params& args) {
  int64_t most = 0;
  for (int64_t s = 0; s < args.sequences; s++) most = max64(most, args.pooled_tiles[s]);
  const int64_t bytes = round_up(scratch_bytes(most), 64);
  char* memory = static_cast<char*>(scratch(context, context.threads * bytes));
  if (memory == nullptr) return out_of_scratch(context, "decode_select", context.threads * bytes);
  parallel_for(context, args.sequences * args.kv_heads, 1,
               [&](int64_t begin, int64_t end, int32_t worker) {
                 for (int64_t unit = begin; unit < end; unit++) {
                   select_head<Key>(args, unit, scratch_at(memory + worker * bytes, most));
                 }
               });
  return SX_OK;
}

}  // namespace

sx_status decode_select(Context& context, const sx_decode_select_params& args) {
  if (args.sequences == 0) return SX_OK;
  return args.kv_dtype == SX_BF16 ? run<bf16>(context, args) : run<float>(context, args);
}

}  // namespace SX_ISA
}  // namespace sx

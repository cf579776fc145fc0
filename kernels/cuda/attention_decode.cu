/*
 * Attention of few queries of some sequences, each against its own keys (see sx_attention_decode in
 * ../sx_attention.h), keys split over the device (Flash-Decoding): out[t,h,:] = sum over visible j of
 * softmax(scale * q . k[j]) * v[j,:], bf16 products, f32 sums, weights rounded to bf16. Bound by
 * memory: 4*HK*N*D bytes, or 2*HK*N*(D + 4) of keys and values of 8 bits.
 *
 * A block of 4 warps takes up to 8 or 16 rows of a sequence (a row: one query of one of the heads
 * that share a key head, so that they share one read of the keys) and a split of its keys, 16 keys a
 * warp at a time. Keys, and values transposed, are the factor of 16 rows of the tensor cores' product,
 * queries and weights the one of 8 columns. A warp copies its keys asynchronously into a queue of its
 * own in shared memory, a step ahead, and waits for no other (decode_pieces.cuh). A second kernel merges
 * the splits in order.
 *
 * Codes of 8 bits become bf16 on their way to the tensor cores, which is exact: a key's scale
 * multiplies its logit, a value's its weight before that is rounded, so that nothing else is lost.
 *
 * The splits of a sequence depend on the numbers of its keys and heads, of its queries and of the
 * multiprocessors alone: what other sequences a call has changes no bit. The grid depends on
 * the most keys that a sequence may have, and the splits on the numbers that the device reads, so that
 * a captured graph stays right while sequences grow. Rows outside of the cache, which the host cannot
 * see, give NaN.
 *
 * What is copied leaves L2 first. Discarded on an H200: copies of 256 bytes at once, blocks that take one
 * split after the other with copies across the borders, longer queues with fewer blocks of a batch, steps
 * of 32 keys of 8 bits.
 * One sequence has two blocks a multiprocessor, with longer queues and no room for more of them: as
 * they are started while kernels in front still run (overlap.cuh), they would gather where room is first. A
 * token of the 8B shape with weights and cache of e4m3 on an H200, after 8,192 and 131,072: 2.99 and 5.26 ms,
 * and 3.13 and 7.41 ms with the queues and blocks of a batch.
 *
 * Discarded: queries as the factor of 16 rows, keys and values in registers a tile ahead: with the
 * four heads a group of the 8B shape three quarters of the products were empty, and registers left
 * room for 8 warps a multiprocessor.
 */
#include "attention_decode.cuh"
#include "attention_decode_plan.cuh"
#include "overlap.cuh"

namespace sx {
namespace cuda {

namespace {

using namespace decode;

/* kHides: whether some row may not see all keys of a step, so that values that are not finite are looked
 * for; one query of a sequence sees all that is read for it. */
template <class Element, int kDim, int kTiles, bool kAligned, int kDepth, bool kHides>
__global__ void __launch_bounds__(kThreads,
                                  kDepth == kStages ? kResident<Element, kTiles> : kDeepResident)
    decode_kernel(const __grid_constant__ Decode decode) {
  extern __shared__ uint4 memory[];
  let_next_begin();
  const int warp = threadIdx.x / 32;
  const Job job(decode, kTiles * 8);
  const Range range = range_of(decode, job.sequence);
  wait_for_previous();
  if (job.split >= range.splits) return;
  const int64_t begin = range.low + job.split * range.share;
  const int64_t end = min64(begin + range.share, range.count);
  const Rows<Element> rows(decode, job.kv_head, range.first_row);
  const Queue<Element, kDim, 0, kDepth> queue(memory);
  int64_t first = begin + warp * kKeys;
#pragma unroll
  for (int i = 0; i + 1 < kDepth; i++) {
    fetch_step<kAligned>(queue, i, rows, first + i * kBlockKeys, end);
  }
  WarpState<kDim, kTiles> state = {};
  load_queries<PiecesOf<Element, kDim>, kAligned>(
      state, decode,
      decode.q + static_cast<int64_t>(job.sequence) * decode.tokens * decode.q_heads * kDim,
      job.kv_head, job.first, range);
  int stage = 0;
  bool cleaned = false;
  const auto take_until = [&](int64_t until, auto cleans) {
    for (; first < until; first += kBlockKeys) {
      /* The place of the step before is free: its elements were multiplied already. */
      __syncwarp();
      fetch_step<kAligned>(queue, stage == 0 ? kDepth - 1 : stage - 1, rows,
                           first + (kDepth - 1) * kBlockKeys, end);
      wait_copies<kDepth - 1>();
      __syncwarp(); /* lanes read each other's copies */
      if constexpr (decltype(cleans)::value) {
        cleaned |= clean_values<PiecesOf<Element, kDim>>(queue.stage(stage));
      }
      take_step(state, queue, stage, decode.scale_log2, first);
      stage = stage + 1 == kDepth ? 0 : stage + 1;
    }
  };
  if constexpr (kHides) {
    /* Steps that all rows see whole lie between those in front of windows and the last ones. */
#pragma unroll 1
    for (int turn = 0; turn < 2; turn++) {
      take_until(turn == 0 ? min64(end, range.whole_first) : end, std::true_type{});
      take_until(min64(end, range.whole_last + int64_t{1}), std::false_type{});
    }
  } else {
    take_until(end, std::false_type{});
  }
  const bool found =
      finish_split<PiecesOf<Element, kDim>, kHides>(decode, job, state, memory, cleaned);
  if constexpr (kHides) {
    if (found) add_unfinite<kDim, kTiles>(decode, job, rows.values, range, begin, end);
  }
}

template <int kDim, class Out>
__global__ void __launch_bounds__(kDim) merge_splits_kernel(const __grid_constant__ Decode decode) {
  let_next_begin();
  const int sequence = blockIdx.x / (decode.tokens * decode.q_heads);
  const Range range = range_of(decode, sequence);
  wait_for_previous();
  merge_splits<kDim, Out>(decode, range.splits, range.valid);
}

constexpr const char* kOp = "attend to the cache";

template <class Element, int kDim, int kTiles, bool kAligned, int kDepth>
sx_status launch_splits(Context& context, const Decode& decode, unsigned grid) {
  constexpr int kBytes = kSharedBytes<Queue<Element, kDim, 0, kDepth>, kDim, kTiles>;
  auto kernel = hides_keys(decode)
                    ? decode_kernel<Element, kDim, kTiles, kAligned, kDepth, !kScaled<Element>>
                    : decode_kernel<Element, kDim, kTiles, kAligned, kDepth, false>;
  SX_RETURN_IF_BAD(allow_shared(context, kOp, kernel, kBytes));
  return launch_ahead(context, kOp, kernel, grid, kThreads, kBytes, decode);
}

template <class Element, int kDim, int kTiles>
sx_status launch(Context& context, const Decode& decode, bool aligned,
                 Shape<Element, kDim, kTiles>) {
  const unsigned grid = split_blocks(decode);
  const bool deep = context.capability == 90 && aligned &&
                    grid <= static_cast<unsigned>(context.multiprocessors) * kDeepResident;
  auto launch_it = !aligned ? launch_splits<Element, kDim, kTiles, false, kStages>
                   : deep   ? launch_splits<Element, kDim, kTiles, true, kDeepStages<Element>>
                            : launch_splits<Element, kDim, kTiles, true, kStages>;
  /* More blocks than fill the multiprocessors evenly would gather where places are free first. */
  if (!deep) begin_after_all(context);
  if (grid > 0) SX_RETURN_IF_BAD(launch_it(context, decode, grid));
  auto merge = decode.out_dtype == SX_BF16 ? merge_splits_kernel<kDim, bf16>
                                           : merge_splits_kernel<kDim, float>;
  return launch_ahead(context, kOp, merge, merge_blocks(decode), kDim, 0, decode);
}

}  // namespace

sx_status attention_decode(Context& context, const sx_attention_decode_params& args) {
  const bool aligned = has_aligned_rows(args);
  return for_parts(context, kOp, args, [&](const Decode& decode, int64_t, auto shape) {
    return launch(context, decode, aligned, shape);
  });
}

}  // namespace cuda
}  // namespace sx

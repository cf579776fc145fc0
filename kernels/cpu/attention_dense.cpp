/*
 * Exact attention with log-sum-exp (see sx_attention_dense in ../sx_attention.h), flash style
 * (arXiv 2205.14135): no buffer of T x N.
 *
 * out[t,h,:] = sum over j <= q_offset + t of softmax(scale * q[t,h,:] . k[j,:]) * v[j,:].
 * Accumulates in f32. FLOPs 4*D*HQ per visible (query, key) pair.
 *
 * A unit of work is one tile of attention_tile.h: some 252 rows, which are all query heads of one
 * key/value head for 252 / (HQ / HK) tokens, against their visible keys in tiles of 16384 / D; on the
 * matrix unit 448 rows and tiles of 32768 / D. All heads share the packed keys and values, so a unit
 * reads 2*N*D*sizeof(kv) bytes and packing costs below 3 % of the multiplications. Units of late
 * tokens see most keys and are dealt out first.
 *
 * Where few tokens leave too few units for the threads, the keys are split too, by sizes that
 * depend on the shapes alone, and attention_parts.h merges the splits in order.
 */
#include "attention_amx.h"
#include "attention_pairs.h"
#include "attention_parts.h"
#include "attention_tile.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* With fewer units than this the threads would end at different times: tiles of half the rows. */
constexpr int64_t kEnoughUnits = 48;
/* With fewer units than this some cores have nothing to do: the keys are split. */
constexpr int64_t kFewUnits = 16;
/* A split is worth its merge from some thousand keys on. */
constexpr int64_t kSplitKeys = 1024;

/* How the work is cut; depends on the shapes only. */
struct Plan {
  int64_t group;      /* query heads per key head */
  int64_t heads;      /* query heads per unit */
  int64_t tokens;     /* tokens per unit */
  int64_t head_tiles; /* units per key head and token tile */
  int64_t token_tiles;
  int64_t splits;
  int64_t split_keys;
  int64_t units;
};

Plan make_plan(const AttentionArgs& args) {
  Plan plan = {};
  plan.group = args.q_heads / args.kv.kv_heads;
  plan.heads = min64(plan.group, kTileRows);
  plan.head_tiles = ceil_div(plan.group, plan.heads);
  for (int64_t rows = kTileRows; rows >= kTileRows / 2; rows -= kTileRows / 2) {
    plan.tokens = max64(1, min64(args.q_tokens, rows / plan.heads));
    plan.token_tiles = ceil_div(args.q_tokens, plan.tokens);
    plan.units = args.kv.kv_heads * plan.head_tiles * plan.token_tiles;
    if (plan.units >= kEnoughUnits) break;
  }
  const int64_t keys = visible_keys(args.q_offset, args.q_tokens - 1, all_keys(args.kv));
  plan.splits = 1;
  if (plan.units < kFewUnits) {
    const int64_t wanted = ceil_div(2 * kFewUnits, max64(1, plan.units));
    plan.splits = max64(1, min64(wanted, keys / kSplitKeys));
  }
  plan.split_keys = round_up(ceil_div(keys, plan.splits), kSplitKeys / 2);
  plan.splits = max64(1, ceil_div(keys, max64(1, plan.split_keys)));
  plan.units *= plan.splits;
  return plan;
}

/* Runs unit number `unit`; parts is null if there is one split. */
template <class Tile, int D>
void run_unit(const AttentionArgs& args, const Plan& plan, int64_t unit, void* scratch,
              float* parts) {
  const int64_t split = unit % plan.splits;
  const int64_t head_tile = unit / plan.splits % plan.head_tiles;
  const int64_t kv_head = unit / plan.splits / plan.head_tiles % args.kv.kv_heads;
  const int64_t earlier = unit / plan.splits / plan.head_tiles / args.kv.kv_heads;
  const int64_t first_token = (plan.token_tiles - 1 - earlier) * plan.tokens;
  const int64_t tokens = min64(plan.tokens, args.q_tokens - first_token);
  const int64_t first_head = head_tile * plan.heads;
  Tile tile(scratch);
  tile.begin(args, first_token, tokens, kv_head * plan.group + first_head,
             min64(plan.heads, plan.group - first_head));
  const int64_t visible = visible_keys(args.q_offset, first_token + tokens - 1, all_keys(args.kv));
  const int64_t end = min64(visible, (split + 1) * plan.split_keys);
  const int64_t begin = max64(split * plan.split_keys, first_visible(args, first_token));
  for (int64_t key = begin; key < end;) {
    const int64_t segment_end = key < args.kv.prefix_tokens ? args.kv.prefix_tokens : end;
    const int64_t next = min64(key + Tile::kKeys, min64(segment_end, end));
    if (next < end) tile.expect(args, kv_head, next);
    tile.add_keys(args, kv_head, key, next);
    key = next;
  }
  if (parts == nullptr) {
    tile.finish(args);
  } else {
    tile.finish_part(args, parts + split * args.q_tokens * args.q_heads * (D + 2));
  }
}

template <class Tile, int D>
sx_status run(Context& context, const AttentionArgs& args) {
  const Plan plan = make_plan(args);
  const int64_t tile_bytes = context.threads * Tile::kBytes;
  const int64_t part_bytes =
      plan.splits == 1 ? 0 : plan.splits * args.q_tokens * args.q_heads * (D + 2) * 4;
  char* memory = static_cast<char*>(scratch(context, tile_bytes + part_bytes));
  if (memory == nullptr) {
    return out_of_scratch(context, "attention_dense", tile_bytes + part_bytes);
  }
  float* parts = plan.splits == 1 ? nullptr : reinterpret_cast<float*>(memory + tile_bytes);
  parallel_for(context, plan.units, 1, [&](int64_t begin, int64_t end, int32_t worker) {
    for (int64_t unit = begin; unit < end; unit++) {
      run_unit<Tile, D>(args, plan, unit, memory + worker * Tile::kBytes, parts);
    }
  });
  if (parts != nullptr) merge_parts<D>(context, args, parts, plan.splits);
  return SX_OK;
}

}  // namespace

/* A part that is to be merged with others, which is what a log-sum-exp is for, keeps its weights in
 * f32: rounded to bf16 they would depend on how the keys are spread over ranks, and with them the
 * tokens. Such calls are those of a query, and short. */
sx_status attention_dense(Context& context, const sx_attention_dense_params& params) {
  const AttentionArgs args = attention_args(params);
  [[maybe_unused]] const bool rounds = args.kv.dtype == SX_BF16 && args.lse_log2 == nullptr;
#if defined(SX_HAS_TILES)
  if (rounds) {
    return args.kv.head_dim == 64 ? run<AmxTile<64, 512>, 64>(context, args)
                                  : run<AmxTile<128, 256>, 128>(context, args);
  }
#elif defined(SX_HAS_PAIRS)
  if (rounds) {
    return args.kv.head_dim == 64 ? run<PairTile<64>, 64>(context, args)
                                  : run<PairTile<128>, 128>(context, args);
  }
#endif
  return args.kv.head_dim == 64 ? run<AttentionTile<64>, 64>(context, args)
                                : run<AttentionTile<128>, 128>(context, args);
}

}  // namespace SX_ISA
}  // namespace sx

/*
 * Attention over chosen tiles of 128 keys (see sx_attention_block_sparse in ../sx_attention.h;
 * XAttention, arXiv 2503.16428, section 2).
 *
 * The formula is attention_dense's, the sum running over the visible keys of the blocks
 * indices[h, b, 0..counts[h, b]) of row block b. Accumulates in f32. FLOPs 4*D per chosen visible
 * (query, key) pair and query head; keys and values of other blocks are never read.
 *
 * Every query head has its own blocks, so a unit of work is one head's row block of 128 queries: a
 * tile of attention_tile.h that packs 2*128*D keys and values for each of its key blocks (bytes
 * read: that times sizeof(kv)), at some 5 % of the cost of multiplying them. A key block never
 * lies in both segments since P is a multiple of 128.
 */
#include "attention_amx.h"
#include "attention_pairs.h"
#include "attention_tile.h"
#include "thread_pool.h"

namespace sx {
namespace SX_ISA {

namespace {

/* From here on threads take two units at a time, so that the second one's queries are known. */
constexpr int64_t kManyUnits = 64;

static_assert(SX_TILE <= kTileRows, "the queries of a row block fit a tile");
static_assert(SX_TILE <= kTileKeys<128>, "a key block fits a tile");

/* Runs row block `unit % q_tiles` of head `unit / q_tiles`; `next` comes next, or is negative. */
template <class Tile>
void run_row_block(const AttentionArgs& args, int64_t unit, int64_t next, void* scratch) {
  const int64_t q_tiles = ceil_div(args.q_tokens, SX_TILE);
  const int64_t head = unit / q_tiles;
  const int64_t first_token = unit % q_tiles * SX_TILE;
  const int64_t tokens = min64(SX_TILE, args.q_tokens - first_token);
  const int64_t kv_head = head / (args.q_heads / args.kv.kv_heads);
  const int64_t visible = visible_keys(args.q_offset, first_token + tokens - 1, all_keys(args.kv));
  const int32_t* tiles = args.indices + unit * args.index_stride;
  Tile tile(scratch);
  const int64_t first = first_visible(args, first_token);
  tile.begin(args, first_token, tokens, head, 1);
  for (int32_t i = 0; i < args.counts[unit]; i++) {
    const int64_t begin = static_cast<int64_t>(tiles[i]) * SX_TILE;
    if (begin >= visible) break;
    if (begin + SX_TILE <= first) continue;
    if (i + 1 < args.counts[unit]) {
      tile.expect(args, kv_head, static_cast<int64_t>(tiles[i + 1]) * SX_TILE);
    } else {
      tile.expect_rows(args, next < 0 ? -1 : next % q_tiles * SX_TILE, next / q_tiles);
    }
    tile.add_keys(args, kv_head, begin, min64(begin + SX_TILE, visible));
  }
  tile.finish(args);
}

template <class Tile>
sx_status run(Context& context, const AttentionArgs& args) {
  const int64_t bytes = context.threads * Tile::kBytes;
  char* memory = static_cast<char*>(scratch(context, bytes));
  if (memory == nullptr) return out_of_scratch(context, "attention_block_sparse", bytes);
  const int64_t units = args.q_heads * ceil_div(args.q_tokens, SX_TILE);
  const int64_t grain = units < kManyUnits ? 1 : 2;
  parallel_for(context, units, grain, [&](int64_t begin, int64_t end, int32_t worker) {
    for (int64_t unit = units - 1 - begin; unit > units - 1 - end; unit--) {
      const int64_t next = unit - 1 > units - 1 - end ? unit - 1 : -1;
      run_row_block<Tile>(args, unit, next, memory + worker * Tile::kBytes);
    }
  });
  return SX_OK;
}

}  // namespace

sx_status attention_block_sparse(Context& context, const sx_attention_block_sparse_params& params) {
  const AttentionArgs args = attention_args(params);
#if defined(SX_HAS_TILES)
  if (args.kv.dtype == SX_BF16) {
    return args.kv.head_dim == 64 ? run<AmxTile<64, SX_TILE>>(context, args)
                                  : run<AmxTile<128, SX_TILE>>(context, args);
  }
#elif defined(SX_HAS_PAIRS)
  if (args.kv.dtype == SX_BF16) {
    return args.kv.head_dim == 64 ? run<PairTile<64>>(context, args)
                                  : run<PairTile<128>>(context, args);
  }
#endif
  return args.kv.head_dim == 64 ? run<AttentionTile<64>>(context, args)
                                : run<AttentionTile<128>>(context, args);
}

}  // namespace SX_ISA
}  // namespace sx

/*
 * The second part of sx_kernels.h, which includes it and says what letters, segments and tiles are:
 * attention, and the choice of tiles. It is not included by itself.
 */
#ifndef SX_ATTENTION_H
#define SX_ATTENTION_H

/* Keys and values in their two segments (see above). */
typedef struct sx_key_values {
  const void* keys;          /* own segment, [kv_heads, key_tokens, head_dim]; null if empty */
  const void* values;        /* as keys */
  const void* prefix_keys;   /* [kv_heads, prefix_tokens, head_dim]; null if empty */
  const void* prefix_values; /* as prefix_keys */
  sx_dtype dtype;            /* of all four: F32, BF16 (CUDA: BF16) */
  int64_t key_tokens, prefix_tokens; /* N - P, P */
  int64_t kv_heads, head_dim, token_stride, head_stride, prefix_token_stride;
  int64_t prefix_head_stride, prefix_gap; /* positions between the prefix and the own keys */
} sx_key_values;

/* Rounds keys and values to 8 bits and writes them to rows of a cache. Each row of a head has a scale of
 * its own: with c = max over d of |x[d]| and top = 127 (I8) or 448 (F8E4M3), scale = c / top and code[d] =
 * x[d] * (top / c), rounded to nearest even. A row whose c is below 2^-100 has scale 0 and zeros; one with
 * a value that is not finite has scale NaN and zeros, so that all that is read of it is NaN. */
typedef struct sx_kv_store_params {
  void* keys;   /* a segment, [kv_heads, capacity, head_dim] I8, F8E4M3 */
  void* values; /* as keys */
  sx_dtype kv_dtype;
  float* key_scales;     /* [kv_heads, capacity], row r of head g at g * scale_head_stride + r */
  float* value_scales;   /* as key_scales */
  const void* in_keys;   /* [kv_heads, tokens, head_dim] F32, BF16, strides of its own */
  const void* in_values; /* as in_keys */
  sx_dtype in_dtype;
  const int32_t* rows; /* [tokens]: the row for each token, -1 for none; no row twice */
  int64_t tokens, kv_heads, head_dim, token_stride, head_stride, scale_head_stride;
  int64_t in_token_stride, in_head_stride;
} sx_kv_store_params;
sx_status sx_kv_store(sx_context* context, const sx_kv_store_params* params);

/* Rows of a cache of 8 bits in floats: out[g,j,:] = code * scale, an f32, rounded to out_dtype. */
typedef struct sx_kv_expand_params {
  void* out_keys;   /* [kv_heads, tokens, head_dim] F32, BF16, strides of its own */
  void* out_values; /* as out_keys; null for keys alone */
  sx_dtype out_dtype;
  const void* keys;   /* a segment, [kv_heads, tokens, head_dim] I8, F8E4M3; null if empty */
  const void* values; /* as keys; null for keys alone */
  sx_dtype kv_dtype;
  const float* key_scales;   /* [kv_heads, tokens], as in sx_kv_store; null if empty */
  const float* value_scales; /* as key_scales; null for keys alone */
  int64_t tokens, kv_heads, head_dim, token_stride, head_stride, scale_head_stride;
  int64_t out_token_stride, out_head_stride;
} sx_kv_expand_params;
sx_status sx_kv_expand(sx_context* context, const sx_kv_expand_params* params);

/* Exact attention with log-sum-exp, flash style: no buffer of T x N (arXiv 2205.14135).
 * out[t,h,:] = sum over visible j of p[j] * v[j,:], p = softmax(scale * q[t,h,:] . k[j,:]);
 * lse_log2[t,h] = log2(sum over visible j of exp(scale * q . k)); without a visible key out is 0
 * and lse_log2 is -inf. Accumulates in f32. FLOPs 4*D*HQ per visible (query, key) pair. */
typedef struct sx_attention_dense_params {
  void* out; /* [q_tokens, q_heads, head_dim] F32, BF16 */
  sx_dtype out_dtype;
  float* lse_log2; /* [q_tokens, q_heads], nullable */
  const void* q;   /* [q_tokens, q_heads, head_dim] F32 (CPU), BF16 (CUDA) */
  sx_dtype q_dtype;
  sx_key_values kv;
  /* With a window a query sees so many positions, its own included; 0: all before it. */
  int64_t q_tokens, q_offset, q_heads, window;
  float scale;
} sx_attention_dense_params;
sx_status sx_attention_dense(sx_context* context, const sx_attention_dense_params* params);

/* sx_attention_dense over chosen tiles only (XAttention, arXiv 2503.16428).
 * q_offset and P are multiples of 128. Row tile b holds the queries 128*b.. of this call; key tile c
 * holds the keys 128*c.. of the sequence; q_tiles = ceil(T / 128). Within a chosen tile causality
 * holds. Tiles that are not chosen are not read. The CPU library refuses numbers out of range. */
typedef struct sx_attention_block_sparse_params {
  sx_attention_dense_params attention;
  const int32_t* counts;  /* [q_heads, q_tiles]: how many key tiles row tile b of head h reads */
  const int32_t* indices; /* [q_heads, q_tiles, index_stride]: their numbers, ascending */
  int64_t index_stride;
} sx_attention_block_sparse_params;
sx_status sx_attention_block_sparse(sx_context* context,
                                    const sx_attention_block_sparse_params* params);

/* sx_attention_dense for few queries of each of some sequences against their own keys (no more than
 * 16 queries a sequence, no prefix), the keys being split over threads or SMs. Keys and values of all
 * sequences lie in one cache: those of sequence s are its rows first_row[s] to first_row[s] +
 * key_count[s] - 1. Both are read by the device, so that a captured graph can be replayed as sequences
 * grow. Query t of a sequence sees its keys j <= key_count - T + t if causal is 1, all key_count keys
 * if causal is 0; with a window, of these the last `window`.
 * Keys and values of 8 bits have scales, as sx_kv_store writes them: a logit is scale * (q . code) *
 * key_scale, and a value enters as (p * value_scale) * code.
 * What is computed for a sequence is bit for bit the same whatever others there are, and in any order.
 * A CPU refuses numbers out of range, a GPU writes NaN for their sequence. */
typedef struct sx_attention_decode_params {
  void* out; /* [sequences, q_tokens, q_heads, head_dim] F32, BF16 */
  sx_dtype out_dtype;
  float* lse_log2; /* [sequences, q_tokens, q_heads], nullable */
  const void* q;   /* [sequences, q_tokens, q_heads, head_dim] F32 (CPU), BF16 (CUDA) */
  sx_dtype q_dtype;
  const void* keys;   /* [kv_heads, key_capacity, head_dim] F32, BF16 (CUDA: BF16), I8, F8E4M3 */
  const void* values; /* as keys */
  sx_dtype kv_dtype;
  const float* key_scales;   /* [kv_heads, key_capacity]; null unless keys are I8 or F8E4M3 */
  const float* value_scales; /* as key_scales */
  const int32_t* first_row;  /* [sequences], nullable: 0 */
  const int32_t* key_count;  /* [sequences], 0..sequence_capacity */
  int32_t causal;
  int64_t window, sequences, q_tokens; /* window 0: none */
  int64_t sequence_capacity; /* the most keys that a sequence may have; the grid's size on a GPU */
  int64_t key_capacity, q_heads, kv_heads, head_dim, token_stride, head_stride;
  int64_t scale_head_stride; /* row r of head g has its scale at g * scale_head_stride + r */
  float scale;
} sx_attention_decode_params;
sx_status sx_attention_decode(sx_context* context, const sx_attention_decode_params* params);

/* Chooses the tiles of keys that sx_attention_decode_tiles reads, by a short form of their keys, of each
 * sequence and key head for all its queries together. The first pooled_tiles[s] tiles of sequence s have
 * a mean and codes, which sx_key_codes has written: tile c is row first_row[s] / 128 + c of the means,
 * its key j row first_row[s] + 128*c + j of the codes; all queries see them. With the keys k~ of a tile
 * in this form, and tiles of one floor(c / unit_tiles) being a unit,
 * p[t,h,c] = softmax over the unit's c of (log of the sum over the keys j of c of exp(scale * q . k~[j]));
 * mass[c] = sum of p over t and the heads h of the key head. Where such a logit is NaN or +inf, the
 * softmax is without its tile, whose mass is NaN.
 * Chosen are the first `first_tiles` tiles of the sequence and those of mass NaN; of the others of a
 * unit, in falling order of mass (equal: lower number first),
 * by_threshold = 0: as many as bring the unit's chosen ones to ceil(keep * (1 - 2^-20) * its tiles);
 * by_threshold = 1: each whose mass is above 0, as long as the mass taken before it (that of the first
 * tiles included) is below keep * (mass of the unit), NaN counting as 0.
 * keep >= 1 chooses all. What is chosen for a sequence does not depend on the others. A CPU refuses
 * numbers out of range, a GPU writes counts of -1 for their sequence. */
typedef struct sx_decode_select_params {
  int32_t* counts;  /* [sequences, kv_heads]: how many tiles are chosen */
  int32_t* indices; /* [sequences, kv_heads, index_stride]: these, ascending, then the others */
  float* mass;      /* [sequences, kv_heads, index_stride] */
  const void* q;    /* [sequences, q_tokens, q_heads, head_dim] F32 (CPU), BF16 (CUDA) */
  sx_dtype q_dtype;
  const void* mean_keys; /* [kv_heads, mean_capacity, head_dim] F32, BF16 (CUDA: BF16) */
  const void* spread;    /* as mean_keys */
  const int32_t* codes;  /* [kv_heads, 128 * mean_capacity, head_dim / 16] */
  sx_dtype kv_dtype;
  const int32_t* first_row;    /* [sequences], nullable: 0; multiples of 128 */
  const int32_t* pooled_tiles; /* [sequences], 0..index_stride */
  int32_t by_threshold;
  int64_t sequences, q_tokens, mean_capacity, index_stride; /* q_tokens: 0..16 */
  int64_t unit_tiles, first_tiles;                          /* unit_tiles 0: all are one unit */
  int64_t q_heads, kv_heads, head_dim;                      /* rows are head_dim apart */
  int64_t mean_head_stride, code_head_stride;
  float scale, keep; /* keep: above 0 */
} sx_decode_select_params;
sx_status sx_decode_select(sx_context* context, const sx_decode_select_params* params);

/* sx_attention_decode over chosen tiles and, of the others, their means: for each key head, the keys of
 * the chosen tiles and those behind the pooled ones as they are, and each other pooled tile as one key
 * of the logit scale * q . mean_keys[c] + ln(128) with the value mean_values[c], all in one softmax.
 * Tiles that are not chosen are not read. Where all are, every bit is that of sx_attention_decode. There
 * is no window; with causal = 1, 128 * pooled_tiles is at most key_count - T + 1. */
typedef struct sx_attention_decode_tiles_params {
  sx_attention_decode_params attention; /* first_row: multiples of 128 */
  const void* mean_keys;       /* [kv_heads, mean_capacity, head_dim] F32, BF16 (CUDA: BF16) */
  const void* mean_values;     /* as mean_keys */
  sx_dtype mean_dtype;         /* the keys', unless these have 8 bits */
  const int32_t* pooled_tiles; /* as in sx_decode_select, and from there: */
  const int32_t* counts;
  const int32_t* indices;
  int64_t index_stride, mean_capacity, mean_head_stride;
} sx_attention_decode_tiles_params;
sx_status sx_attention_decode_tiles(sx_context* context,
                                    const sx_attention_decode_tiles_params* params);

/* Merges partial attentions over disjoint sets of keys (Star Attention, arXiv 2411.17116, 2.2).
 * Weights over the parts, per token and head:
 * by_score = 0: 2^lse normalized; a part of lse -inf weighs nothing, all empty gives zeros.
 * by_score = 1: softmax of the parts' scores, the same for every token (StarXAttention's
 * antidiagonal weights; lse is not read). Adds in part order, in f32. */
typedef struct sx_merge_states_params {
  void* out; /* [tokens, heads, head_dim] F32, BF16 */
  sx_dtype out_dtype;
  /* Part p at parts + p * part_stride: its out, lse_log2 [tokens, heads], score [heads]. */
  const float* parts;
  int32_t by_score;
  int64_t part_count, part_stride, tokens, heads, head_dim;
} sx_merge_states_params;
sx_status sx_merge_states(sx_context* context, const sx_merge_states_params* params);

/* Antidiagonal mass of every tile (XAttention, arXiv 2503.16428, section 2.1).
 * Groups of S tokens: Kr[j] = concat over s of k[j*S + s], Qr[i] = concat of q[i*S + S-1-s], rows
 * past the end being zero (which may make NaN of what is not finite); logits[i][j] = Qr[i] . Kr[j] *
 * scale / S over j <= i (i counted in the sequence) from the first tile on that row i's tile sees in the
 * window; with pad = -N mod 128, the last floor(pad / S) groups of keys are left out, and query groups
 * that hold only padding count as zero; p = softmax over j; mass = sum of p over the tile. q_tiles =
 * ceil(T / 128), key_tiles = ceil(N / 128); tiles after the diagonal are 0. q_offset and P are multiples
 * of 128, N = q_offset + T. */
typedef struct sx_antidiagonal_score_params {
  float* mass;   /* [q_heads, q_tiles, key_tiles] */
  const void* q; /* [q_tokens, q_heads, head_dim] F32 (CPU), BF16 (CUDA) */
  sx_dtype q_dtype;
  sx_key_values kv;                                    /* its values are not read and may be null */
  int64_t q_tokens, q_offset, q_heads, window, stride; /* stride S, a divisor of 128 */
  float scale;
} sx_antidiagonal_score_params;
sx_status sx_antidiagonal_score(sx_context* context, const sx_antidiagonal_score_params* params);

/* Chooses tiles by their mass: the first tile that the row sees (0 without a window) and the diagonal
 * one always; of those between, in falling order of mass (equal: lower number first), each whose mass is
 * above 0, as long as the mass taken before it (the two included) is below threshold * (mass of the row).
 * A threshold of 0 takes the two alone, 1 or more every tile that the row sees. Row tile b of the call is
 * number first_tile + b. The CPU library refuses thresholds of heads that are below 0 or NaN.
 * by_share = 1: the diagonal one always, and each whose mass is at least threshold * (mass of the row);
 * a threshold of 0 takes every tile that the row sees. */
typedef struct sx_select_tiles_params {
  int32_t* counts;   /* [heads, q_tiles], as in sx_attention_block_sparse */
  int32_t* indices;  /* [heads, q_tiles, index_stride], ascending */
  const float* mass; /* [heads, q_tiles, key_tiles] */
  int64_t heads, q_tiles, key_tiles, first_tile, index_stride; /* a stride of at least key_tiles */
  int64_t window, prefix_tokens, prefix_gap; /* as in sx_attention_dense and sx_key_values */
  const float* head_thresholds;              /* [heads], in place of threshold; nullable */
  float threshold;                           /* at least 0 */
  int32_t by_share;                          /* 0 or 1 */
} sx_select_tiles_params;
sx_status sx_select_tiles(sx_context* context, const sx_select_tiles_params* params);

/* The exact attention mass of every tile, which selections by a score are measured by:
 * mass[h,b,c] = sum over the queries t of row tile b and the keys j of key tile c that t sees of
 * exp(scale * q[t,h] . k[j]) / 2^lse_log2[t,h]; a row of tiles adds up to its number of queries. Nothing
 * of T x N is kept. Tiles that no query sees are 0. FLOPs 2*D*HQ per visible (query, key) pair. */
typedef struct sx_tile_mass_params {
  sx_antidiagonal_score_params tiles; /* mass, queries and keys; its stride is not looked at */
  const float* lse_log2;              /* [q_tokens, q_heads], as of sx_attention_dense */
} sx_tile_mass_params;
sx_status sx_tile_mass(sx_context* context, const sx_tile_mass_params* params);

/* The mean key and the mean value of tiles of 128 keys, which stand for tiles that are not chosen:
 * mean[g,c,:] = (sum over the keys j of tile c of x[g,j,:]) / (how many keys tile c has), x being keys or
 * values; tile c holds the keys 128*c.. of the sequence (prefix first), the last one maybe fewer than 128.
 * Writes the tiles first_tile to first_tile + tile_count - 1 and reads their keys and values alone, so
 * that the means of a growing cache can be written piece by piece; tile_count may be 0. Tile c of head
 * g begins at mean_keys + g * mean_head_stride + c * D. f32 sums in an order that depends on the tile
 * alone. P is a multiple of 128. */
typedef struct sx_tile_means_params {
  void* mean_keys;   /* [kv_heads, tiles, head_dim] F32, BF16 */
  void* mean_values; /* as mean_keys */
  sx_dtype mean_dtype;
  sx_key_values kv;
  int64_t first_tile, tile_count, mean_head_stride;
} sx_tile_means_params;
sx_status sx_tile_means(sx_context* context, const sx_tile_means_params* params);

/* Keys of tiles in two bits a number, by which sx_decode_select tells which tiles matter (the mean of 128
 * keys hides a single one). With the mean m of a tile's 128 keys as sx_tile_means has written it,
 * spread[g,c,d] = (sum over the keys j of the tile, in their order, of |k[g,j,d] - m[g,c,d]|) / 128;
 * code = 0, 1, 2 or 3 where k - m is below -SX_CODE_EDGE * spread, below 0, below SX_CODE_EDGE * spread,
 * or none of these; the key stands for k~ = m + spread * (-SX_CODE_FAR, -SX_CODE_NEAR, SX_CODE_NEAR,
 * SX_CODE_FAR)[code]: the quantizer of least square error for a normal distribution (Max, 1960).
 * spread is rounded to its dtype before codes are made; a tile with a number that is not finite has a
 * spread of NaN there. Number d of a key is bits 2 * (d mod 16) and the next of word d / 16. Writes
 * the tiles first_tile to first_tile + tile_count - 1, all whole, and reads their keys and means alone. */
#define SX_CODE_EDGE 1.2302f
#define SX_CODE_NEAR 0.5675f
#define SX_CODE_FAR 1.8925f
typedef struct sx_key_codes_params {
  int32_t* codes;        /* [kv_heads, 128 * tiles, head_dim / 16] */
  void* spread;          /* [kv_heads, tiles, head_dim] F32, BF16 */
  const void* mean_keys; /* as spread */
  sx_dtype mean_dtype;
  const void* keys; /* [kv_heads, key_tokens, head_dim] F32, BF16 (CUDA: BF16) */
  sx_dtype kv_dtype;
  int64_t key_tokens, kv_heads, head_dim, token_stride, head_stride;
  int64_t first_tile, tile_count, mean_head_stride, code_head_stride;
} sx_key_codes_params;
sx_status sx_key_codes(sx_context* context, const sx_key_codes_params* params);

/* Continues the softmax of sx_attention_block_sparse over what was not chosen: a tile of 128 keys enters
 * as one key and one value, its means, with the weight of 128 keys. Row tile b of the call is tile
 * B = q_offset / 128 + b of the sequence; its rest are the key tiles c < B that are not in its list.
 * A query counts those of which it sees all keys: without a window the whole rest, with one the tiles
 * that begin at its first visible key or after it. With these c, g = h / (HQ / HK) and
 * W = 2^partial_lse_log2[t,h]:
 *   w[c] = exp(scale * q[t,h,:] . mean_keys[g,c,:] + ln 128);
 *   out[t,h,:] = (W * partial[t,h,:] + sum of w[c] * mean_values[g,c,:]) / (W + sum of w[c]);
 *   lse_log2[t,h] = log2(W + sum of w[c]).
 * Where there is no such c, out is partial, rounded once, and lse_log2 is partial_lse_log2, bit for bit.
 * Means of chosen tiles and of those from B on are not read. The queries are the sequence's last
 * tokens, so that all tiles before B are whole. q_offset and prefix_tokens are multiples of 128.
 * Accumulates in f32, tiles in ascending order. FLOPs 4*D*HQ per query and tile of the rest. */
typedef struct sx_attention_rest_params {
  void* out; /* [q_tokens, q_heads, head_dim] F32, BF16; may be partial */
  sx_dtype out_dtype;
  float* lse_log2;      /* [q_tokens, q_heads], nullable; may be partial_lse_log2 */
  const float* partial; /* [q_tokens, q_heads, head_dim], out of sx_attention_block_sparse */
  const float* partial_lse_log2; /* [q_tokens, q_heads], of the same */
  const void* q;                 /* [q_tokens, q_heads, head_dim] F32 (CPU), BF16 (CUDA) */
  sx_dtype q_dtype;
  const void* mean_keys;   /* as sx_tile_means writes them, F32 (CPU), BF16 (CUDA) */
  const void* mean_values; /* as mean_keys */
  sx_dtype mean_dtype;
  const int32_t* counts;  /* as in sx_attention_block_sparse */
  const int32_t* indices; /* as there */
  int64_t index_stride, mean_head_stride;
  int64_t q_tokens, q_offset, q_heads, kv_heads, head_dim, window, prefix_tokens, prefix_gap;
  float scale;
} sx_attention_rest_params;
sx_status sx_attention_rest(sx_context* context, const sx_attention_rest_params* params);

/* out[h,:] = mean over the first `tokens` rows of a segment's keys. */
typedef struct sx_key_mean_params {
  float* out;       /* [kv_heads, head_dim] */
  const void* keys; /* a segment, [kv_heads, tokens, head_dim] F32, BF16 */
  sx_dtype kv_dtype;
  int64_t tokens, kv_heads, head_dim, token_stride, head_stride; /* tokens: at least 1 */
} sx_key_mean_params;
sx_status sx_key_mean(sx_context* context, const sx_key_mean_params* params);

/* StarXAttention's score of a rank (phase 2, merge "antidiagonal"; zer0-data/StarXAttention c33af48):
 * K' = [anchor_mean, keys]; L = min(T, key_tokens + 1); rows past L are zero;
 * score[h] = scale * sum over g, r < S of q[g*S + r, h] . K'[g*S + S-1-r, h mod kv_heads].
 * S = stride, a divisor of 128. Note the tiled, not grouped, key head. */
typedef struct sx_rank_score_params {
  float* score;  /* [q_heads] */
  const void* q; /* [q_tokens, q_heads, head_dim] F32 (CPU), BF16 (CUDA) */
  sx_dtype q_dtype;
  const float* anchor_mean; /* [kv_heads, head_dim] */
  const void* keys;         /* [kv_heads, key_tokens, head_dim] F32, BF16; null if empty */
  sx_dtype kv_dtype;
  int64_t q_tokens, key_tokens, q_heads, kv_heads, head_dim, token_stride, head_stride, stride;
  float scale;
} sx_rank_score_params;
sx_status sx_rank_score(sx_context* context, const sx_rank_score_params* params);

#endif

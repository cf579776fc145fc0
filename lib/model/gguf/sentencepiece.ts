/**
 * SentencePiece's byte-pair encoding (arXiv 1808.06226) from a table of tokens with scores.
 *
 * SentencePiece joins the neighbours whose union has the best score, and of several the first ones.
 * A list of merges in the order of the scores does the same, as long as no two tokens have one score.
 * Runs of spaces may have: whatever is joined first, all of a run is joined in the end. It is the
 * conversion of transformers' `convert_slow_tokenizer.py`.
 *
 * @module
 */
import { describeValue } from "../../text_file.ts";
import type { GgufMetadata } from "./metadata.ts";
import { refuseTables, TOKEN_TYPES, type TokenTable } from "./token_table.ts";

const PREFIX = "tokenizer.ggml";
/** What stands for a space. */
const SPACE = "\u2581";
/** Far longer than any token: all its cuts are looked at. */
const MAX_TOKEN_LENGTH = 1024;
const BYTE_COUNT = 256;

/**
 * The parts of a `tokenizer.json`.
 *
 * @throws {FileError} If the tables are incomplete, or are not those of byte-pair encoding.
 */
export function sentencePieceParts(
  metadata: GgufMetadata,
  table: TokenTable,
): Record<string, unknown> {
  const { path, texts, types, ids } = table;
  const scores = metadata.array(`${PREFIX}.scores`)?.numbers() ?? [];
  if (scores.length !== texts.length) {
    throw refuseTables(
      path,
      `'${PREFIX}.scores' must have ${texts.length} items as '${PREFIX}.tokens' has: ` +
        `current value is ${scores.length}`,
    );
  }
  const byteCount = types.filter((type) => type === TOKEN_TYPES.byte).length;
  if (byteCount !== BYTE_COUNT) {
    throw refuseTables(
      path,
      `it must have ${BYTE_COUNT} tokens of a byte each: current value is ${byteCount}`,
    );
  }
  const unknown = texts[metadata.number(`${PREFIX}.unknown_token_id`) ?? 0];
  const addsSpace = metadata.flag(`${PREFIX}.add_space_prefix`) ?? true;
  const replace = { type: "Replace", pattern: { String: " " }, content: SPACE };
  const prepend = { type: "Prepend", prepend: SPACE };
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  return {
    normalizer: { type: "Sequence", normalizers: addsSpace ? [prepend, replace] : [replace] },
    pre_tokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: SPACE }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        ...(addsSpace ? [strip] : []),
      ],
    },
    added_tokens: addedTokens(table, metadata),
    model: {
      type: "BPE",
      dropout: null,
      unk_token: unknown ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(ids),
      merges: mergesOf(table, scores),
    },
  };
}

/** A way to make a token of two others. */
interface Merge {
  readonly left: string;
  readonly right: string;
  readonly score: number;
}

/** All ways to make a token of two others, the best score first. */
function mergesOf(table: TokenTable, scores: readonly number[]): string[] {
  const { path, types, ids } = table;
  const isPiece = (text: string) => types[ids.get(text) ?? -1] === TOKEN_TYPES.normal;
  const merges: Merge[] = [];
  const owners = new Map<number, string>();
  for (const [text, id] of ids) {
    if (types[id] !== TOKEN_TYPES.normal) continue;
    if (text.length > MAX_TOKEN_LENGTH) {
      throw refuseTables(
        path,
        `token ${id} must have at most ${MAX_TOKEN_LENGTH} characters: ` +
          `current value is ${text.length}`,
      );
    }
    const score = scores[id] ?? NaN;
    const own: Merge[] = [];
    for (const cut of cutsOf(text)) {
      const [left, right] = [text.slice(0, cut), text.slice(cut)];
      if (isPiece(left) && isPiece(right)) own.push({ left, right, score });
    }
    if (own.length === 0) continue;
    checkScore({ path, text, score, other: owners.get(score) });
    owners.set(score, text);
    const idOf = (piece: string) => ids.get(piece) ?? 0;
    own.sort((a, b) => idOf(a.left) - idOf(b.left) || idOf(a.right) - idOf(b.right));
    merges.push(...own);
  }
  merges.sort((a, b) => b.score - a.score);
  return merges.map(({ left, right }) => `${left} ${right}`);
}

/** Where a text can be cut between two characters. */
function cutsOf(text: string): number[] {
  const cuts: number[] = [];
  let at = 0;
  for (const character of text) {
    if (at > 0) cuts.push(at);
    at += character.length;
  }
  return cuts;
}

/** Scores of byte-pair encoding are ranks; probabilities are those of Unigram, which merges nothing. */
function checkScore(
  found: { path: string; text: string; score: number; other: string | undefined },
): void {
  const { path, text, score, other } = found;
  const token = describeValue(text);
  if (!Number.isInteger(score)) {
    throw refuseTables(
      path,
      `the score of token ${token} must be a whole number, a rank: current value is ${score}`,
    );
  }
  if (other === undefined || (isRun(text) && isRun(other))) return;
  throw refuseTables(
    path,
    `tokens must have different scores: ${describeValue(other)} and ${token} both have ${score}`,
  );
}

function isRun(text: string): boolean {
  return text.replaceAll(SPACE, "") === "";
}

/** Phi-3's special tokens take the white space behind them, but for these. */
const PHI3_PLAIN: readonly string[] = ["<unk>", "<s>", "<|endoftext|>"];

/** The tokens that are recognized before a text is split. */
function addedTokens({ ids, types }: TokenTable, metadata: GgufMetadata): unknown[] {
  const isPhi3 = metadata.text("general.architecture") === "phi3";
  return [...ids].flatMap(([content, id]) => {
    const type = types[id];
    const isSpecial = type === TOKEN_TYPES.control || type === TOKEN_TYPES.unknown;
    if (!isSpecial && type !== TOKEN_TYPES.userDefined) return [];
    return [{
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: isPhi3 && !PHI3_PLAIN.includes(content),
      normalized: false,
      special: isSpecial,
    }];
  });
}

import { selectAttentionBlocks, type SelectionInput } from "../../../lib/attention/selection.ts";
import { uniformNumbers } from "../../../lib/random.ts";
import { assert, assertEquals, assertRejects } from "../../helpers/assert.ts";

const SEED = 7;
const SHAPE = { queryHeads: 4, kvHeads: 2, headDim: 64 } as const;

/** Queries and keys in [-1, 1), and how to select. */
function inputOf(tokens: number, changes: Partial<SelectionInput> = {}): SelectionInput {
  const random = uniformNumbers(SEED);
  const numbers = (count: number) => Float32Array.from({ length: count }, () => 2 * random() - 1);
  const { queryHeads, kvHeads, headDim } = SHAPE;
  return {
    queries: numbers(tokens * queryHeads * headDim),
    keys: numbers(tokens * kvHeads * headDim),
    ...SHAPE,
    stride: 16,
    threshold: 0.9,
    ...changes,
  };
}

Deno.test("selectAttentionBlocks() takes all causal tiles at threshold 1, and no other ones", async () => {
  const { shape, mask, density } = await selectAttentionBlocks(inputOf(300, { threshold: 1 }));
  assertEquals(shape, [4, 3, 3]);
  const causal = [1, 0, 0, 1, 1, 0, 1, 1, 1];
  assertEquals([...mask], [...causal, ...causal, ...causal, ...causal], `seed ${SEED}`);
  assertEquals(density, 1);
});

Deno.test("selectAttentionBlocks() selects a row's largest masses, the diagonal and tile 0", async () => {
  const tiles = 5;
  const { mass, mask, density } = await selectAttentionBlocks(
    inputOf(tiles * 128, { threshold: 0.5 }),
  );
  let taken = 0;
  for (let row = 0; row < SHAPE.queryHeads * tiles; row++) {
    const cells = [...mask.subarray(row * tiles, (row + 1) * tiles)];
    const masses = [...mass.subarray(row * tiles, (row + 1) * tiles)];
    const total = masses.reduce((sum, value) => sum + value, 0);
    const held = masses.reduce((sum, value, i) => sum + (cells[i] ?? 0) * value, 0);
    assert(held >= 0.5 * total * (1 - 1e-5), `row ${row} holds ${held} of ${total}, seed ${SEED}`);
    assertEquals([cells[0], cells[row % tiles]], [1, 1], `row ${row}, seed ${SEED}`);
    assertEquals(cells.slice(row % tiles + 1).filter((cell) => cell === 1), []);
    taken += cells.filter((cell) => cell === 1).length;
  }
  assertEquals(density, taken / (SHAPE.queryHeads * tiles * (tiles + 1) / 2));
  assert(density < 1, "half of the mass is in fewer tiles");
});

Deno.test("selectAttentionBlocks() refuses arrays that do not fit", async () => {
  const input = inputOf(130);
  await assertRejects(
    () => selectAttentionBlocks({ ...input, queries: input.queries.slice(1) }),
    RangeError,
    "Cannot select tiles as 'queries' must hold a multiple of 4 x 64 numbers: current value is 33279",
  );
  await assertRejects(
    () => selectAttentionBlocks({ ...input, keys: input.keys.slice(1) }),
    RangeError,
    "Cannot select tiles as 'keys' must hold 130 x 2 x 64 numbers: current value is 16639",
  );
  await assertRejects(() => selectAttentionBlocks({ ...input, stride: 3 }), RangeError, "'stride'");
});

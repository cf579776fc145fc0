/**
 * Products of vectors, for the scores of `try_scores.ts`.
 *
 * @module
 */

/** The product of `a[i..]` and `b[j..]`, whose length is a multiple of 4. */
export function dot(
  a: Float32Array,
  i: number,
  b: Float32Array,
  j: number,
  length: number,
): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  for (let d = 0; d < length; d += 4) {
    s0 += (a[i + d] as number) * (b[j + d] as number);
    s1 += (a[i + d + 1] as number) * (b[j + d + 1] as number);
    s2 += (a[i + d + 2] as number) * (b[j + d + 2] as number);
    s3 += (a[i + d + 3] as number) * (b[j + d + 3] as number);
  }
  return s0 + s1 + s2 + s3;
}

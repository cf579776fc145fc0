/**
 * Products of e4m3 by e4m3 with scales of rows, as a GPU's prefill makes them.
 *
 * @module
 */
import type { Device } from "../../lib/device/device.ts";
import { Fp8Matrix } from "../../lib/device/fp8_matrix.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { quantizeRows } from "../../lib/ops/quantize_rows.ts";
import type { Random } from "./random.ts";

/** Sizes of a product. */
export interface ScaledSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** x and weight of a product, rounded to e4m3 by the device; out [m, n + gap] has its columns at the end. */
export class ScaledFactors implements Disposable {
  readonly x: Fp8Matrix;
  readonly weight: Fp8Matrix;
  readonly #device: Device;
  readonly #owned = new DisposableStack();

  private constructor(device: Device, { m, n, k }: ScaledSizes) {
    this.#device = device;
    this.x = Fp8Matrix.allocate(device, { shape: [m, k], label: "x" }, this.#owned);
    this.weight = Fp8Matrix.allocate(device, { shape: [n, k], label: "weight" }, this.#owned);
  }

  /** Random ones; every row has another size. @param faults Rows of x that are NaN. */
  static async random(
    device: Device,
    options: { sizes: ScaledSizes; random: Random; faults?: readonly number[] },
  ): Promise<ScaledFactors> {
    const { sizes, random, faults = [] } = options;
    const factors = new ScaledFactors(device, sizes);
    const { x, weight } = factors;
    const fill = async (out: Fp8Matrix, bad: readonly number[]) => {
      const [rows, dim] = out.shape;
      using wide = Tensor.allocate(device, { dtype: "bf16", shape: [rows, dim], label: "wide" });
      const values = random.floats(rows * dim, 1).map((value, i) =>
        value * 2 ** (Math.floor(i / dim) % 7 - 3)
      );
      for (const row of bad) values[row * dim + 5] = NaN;
      await wide.writeFrom(values);
      await quantizeRows(device, { out, in: wide });
    };
    await fill(x, faults);
    await fill(weight, []);
    return factors;
  }

  /** The same numbers on another device. */
  async copyTo(device: Device): Promise<ScaledFactors> {
    const [m, k] = this.x.shape;
    const [n] = this.weight.shape;
    const copy = new ScaledFactors(device, { m, n, k });
    for (const name of ["x", "weight"] as const) {
      await copy[name].codes.writeFrom(await this[name].codes.toBytes());
      await copy[name].scales.writeFrom(await this[name].scales.toBytes());
    }
    return copy;
  }

  /** The product of some rows of x, behind `gap` columns; it is added to 1 where `accumulate` says so. */
  async multiply(
    options: { first?: number; count?: number; gap?: number; accumulate?: boolean } = {},
  ): Promise<Float32Array> {
    const [rows] = this.x.shape;
    const [n] = this.weight.shape;
    const { first = 0, count = rows, gap = 0, accumulate = false } = options;
    const device = this.#device;
    const { x, weight } = this;
    using out = Tensor.allocate(device, { dtype: "f32", shape: [count, gap + n], label: "out" });
    await out.writeFrom(new Float32Array(out.size).fill(1));
    await matmul(device, {
      out: out.columns(gap, n),
      x: x.rows(first, count),
      weight,
      accumulate,
    });
    return await out.toFloats();
  }

  /** The product that is recorded and then run: what `multiply()` gives without options. */
  async replay(): Promise<Float32Array> {
    const device = this.#device;
    const { x, weight } = this;
    const shape = [x.shape[0], weight.shape[0]];
    using out = Tensor.allocate(device, { dtype: "f32", shape, label: "out" });
    const run = () => matmul(device, { out, x, weight });
    // Code that is used for the first time has to be loaded, which is no work to be recorded.
    await run();
    const { recorder } = device;
    if (recorder === undefined) throw new TypeError("Cannot record without a recorder");
    using recorded = await recorder.record(run);
    await out.writeFrom(new Float32Array(out.size));
    await recorded.run();
    return await out.toFloats();
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/**
 * `--device` for a model: `auto` knows what a GPU has no code for, be it asked for or in the model's
 * files.
 *
 * @module
 */
import {
  chooseDevice,
  type DeviceChoice,
  type DeviceKind,
  type DeviceWish,
} from "../../lib/device/open.ts";
import { precisionFor } from "../../lib/engine/options.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import {
  type ComputeDType,
  PRECISIONS,
  type WeightWish,
  widest,
} from "../../lib/model/precision.ts";

/**
 * The device of a run.
 *
 * @param config Of the model.
 * @throws {UsageError} If a GPU is asked for that has no code for the numbers of the run.
 */
export async function chooseRunDevice(
  config: Pick<ModelShape, "storedWeights">,
  options: WeightWish & { readonly device: DeviceWish; readonly dtype: ComputeDType },
): Promise<DeviceChoice> {
  const { weights, head, cache } = options;
  const wish = { weights, head, cache };
  const precision = precisionFor(config, { precision: PRECISIONS[options.dtype], wish });
  return await chooseDevice(options.device, { ...precision, dtype: widest(precision) });
}

/**
 * As {@linkcode chooseRunDevice}, and tells the user what there is to know of the choice.
 *
 * @param log Takes the line.
 * @throws {UsageError} As there.
 */
export async function announcedDevice(
  config: Pick<ModelShape, "storedWeights">,
  options: Parameters<typeof chooseRunDevice>[1],
  log: (line: string) => void,
): Promise<DeviceKind> {
  const { kind, note } = await chooseRunDevice(config, options);
  if (note !== undefined) log(note);
  return kind;
}

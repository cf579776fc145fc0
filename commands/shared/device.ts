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

/** A device, and what there is to say of its choice. */
export interface AnnouncedDevice {
  readonly device: DeviceKind;
  /** Tells the user, at most once: when computing begins, so that no mistake of theirs is told after it. */
  readonly announce: () => void;
}

/**
 * As {@linkcode chooseRunDevice}, with a word to the user.
 *
 * @param log Takes the line.
 * @throws {UsageError} As there.
 */
export async function announcedDevice(
  config: Pick<ModelShape, "storedWeights">,
  options: Parameters<typeof chooseRunDevice>[1],
  log: (line: string) => void,
): Promise<AnnouncedDevice> {
  const { kind, note } = await chooseRunDevice(config, options);
  let untold = note;
  const announce = (): void => {
    if (untold !== undefined) log(untold);
    untold = undefined;
  };
  return { device: kind, announce };
}

/**
 * The layers of a model on one device or spread over several, in order.
 *
 * @module
 */
import { invariant } from "../errors.ts";
import type { Device } from "./device.ts";

/** Consecutive layers. */
export interface LayerRange {
  readonly firstLayer: number;
  /** The layer behind the last one. */
  readonly endLayer: number;
}

/** A device, and the layers that lie and run there. */
export interface Stage extends LayerRange {
  readonly device: Device;
}

/**
 * Deals layers evenly, in order: a function of the two numbers alone, so that all ranks of a run cut
 * between the same layers.
 *
 * @param layerCount At least `count`.
 */
export function splitLayers(layerCount: number, options: { count: number }): LayerRange[] {
  const { count } = options;
  invariant(count >= 1 && count <= layerCount, "every stage has a layer");
  const border = (stage: number) => Math.floor(stage * layerCount / count);
  return Array.from(
    { length: count },
    (_, stage) => ({ firstLayer: border(stage), endLayer: border(stage + 1) }),
  );
}

/** All layers of a model, dealt evenly to some devices. */
export function stagesOn(devices: readonly Device[], options: { layerCount: number }): Stage[] {
  const { layerCount } = options;
  const ranges = splitLayers(layerCount, { count: devices.length });
  return devices.flatMap((device, stage) => {
    const range = ranges[stage];
    return range === undefined ? [] : [{ device, ...range }];
  });
}

/** Something that each stage has of its own, found by a layer's number. */
export class PerStage<T> {
  /** In the order of the stages. */
  readonly all: readonly T[];
  readonly #byLayer: readonly T[];

  constructor(stages: readonly Stage[], make: (stage: Stage) => T) {
    this.all = stages.map(make);
    this.#byLayer = stages.flatMap(({ firstLayer, endLayer }, stage) =>
      Array.from({ length: endLayer - firstLayer }, () => this.all[stage] as T)
    );
  }

  /** That of the stage which has a layer. */
  of(layer: number): T {
    invariant(layer >= 0 && layer < this.#byLayer.length, "every layer has a stage");
    return this.#byLayer[layer] as T;
  }
}

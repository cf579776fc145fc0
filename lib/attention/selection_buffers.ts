/**
 * What the selections of all chunks share: working memory and thresholds, on the devices of the layers.
 *
 * @module
 */
import { PerStage, type Stage } from "../device/stages.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import type { TileSelection } from "./plan.ts";
import { LayerThresholds } from "./thresholds.ts";
import { type SelectionOptions, selectionTensors } from "./xattention.ts";

/** Memory for one chunk at a time on each device. */
export class SelectionBuffers implements Disposable {
  /** Heads times query tiles of the longest chunk. */
  readonly countWidth: number;
  readonly #owned: DisposableStack;
  readonly #parts: PerStage<Pick<SelectionOptions, "stride" | "thresholds" | "scratch">>;

  /** @param sizes Those of the longest chunk. */
  constructor(
    stages: readonly Stage[],
    selection: TileSelection,
    sizes: { queryHeads: number; queryTokens: number; keyTokens: number },
  ) {
    const { mass, indices } = selectionTensors(sizes);
    const [heads = 0, rowTiles = 0] = mass;
    this.countWidth = heads * rowTiles;
    const bytes = workspaceBytes([{ dtype: "f32", shape: mass }, { dtype: "i32", shape: indices }]);
    const { stride, threshold } = selection;
    using owned = new DisposableStack();
    const thresholds = owned.use(new LayerThresholds(stages, threshold));
    this.#parts = new PerStage(stages, ({ device }) => ({
      stride,
      thresholds,
      scratch: owned.use(Workspace.allocate(device, bytes)),
    }));
    this.#owned = owned.move();
  }

  /** What the selection of a layer works with. */
  of(layer: number): Pick<SelectionOptions, "stride" | "thresholds" | "scratch"> {
    return this.#parts.of(layer);
  }

  /** Frees the memory; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

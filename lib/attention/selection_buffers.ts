/**
 * What the selections of all chunks share: working memory and thresholds, on the devices of the layers.
 *
 * @module
 */
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";
import type { TileSelection } from "./plan.ts";
import { type KeptMeans, keptMeansTensor, type RestSizes, restTensors } from "./rest.ts";
import { LayerThresholds } from "./thresholds.ts";
import { type SelectionOptions, selectionTensors } from "./xattention.ts";

/** What is the same for all chunks. */
type SelectionPart = Pick<
  SelectionOptions,
  "stride" | "thresholds" | "rest" | "meansOf" | "scratch"
>;

/** Memory for one chunk at a time on each device, and for the means of one sequence. */
export class SelectionBuffers implements Disposable {
  /** Heads times query tiles of the longest chunk. */
  readonly countWidth: number;
  readonly #owned: DisposableStack;
  readonly #parts: PerStage<SelectionPart>;

  /** @param sizes Those of the longest chunk. */
  constructor(
    stages: readonly Stage[],
    selection: TileSelection,
    sizes: RestSizes,
  ) {
    const { mass, indices } = selectionTensors(sizes);
    const [heads = 0, rowTiles = 0] = mass;
    this.countWidth = heads * rowTiles;
    const { stride, threshold, rest } = selection;
    const cells = [{ dtype: "f32", shape: mass }, { dtype: "i32", shape: indices }] as const;
    using owned = new DisposableStack();
    const thresholds = owned.use(new LayerThresholds(stages, threshold));
    this.#parts = new PerStage(stages, (stage) => ({
      stride,
      thresholds,
      rest,
      meansOf: rest === "mean" ? takeMeans(stage, { sizes, owned }) : undefined,
      scratch: owned.use(Workspace.allocate(
        stage.device,
        workspaceBytes([
          ...cells,
          ...rest === "mean" ? restTensors(stage.device, sizes, { keepsMeans: true }) : [],
        ]),
      )),
    }));
    this.#owned = owned.move();
  }

  /** What the selection of a layer works with. */
  of(layer: number): SelectionPart {
    return this.#parts.of(layer);
  }

  /** Frees the memory; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** Memory for the means of each layer of a stage. */
function takeMeans(
  { device, firstLayer, endLayer }: Stage,
  { sizes, owned }: { sizes: RestSizes; owned: DisposableStack },
): (layer: number) => KeptMeans {
  const plan = keptMeansTensor(device, sizes);
  const take = (label: string) => owned.use(Tensor.allocate(device, { ...plan, label }));
  const layers = Array.from({ length: endLayer - firstLayer }, () => ({
    keys: take("mean keys"),
    values: take("mean values"),
  }));
  return (layer) => {
    const means = layers[layer - firstLayer];
    invariant(means !== undefined, "every layer of a stage has means");
    return means;
  };
}

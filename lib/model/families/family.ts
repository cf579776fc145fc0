/**
 * What a family of models is: its names, and the shape that its `config.json` describes.
 *
 * @module
 */
import type { ConfigReader } from "../config_reader.ts";
import type { ModelShape } from "../model_shape.ts";

/** A family of models. */
export interface Family {
  /** The class in `architectures`. */
  readonly architecture: string;
  /** Its name in `model_type`. */
  readonly modelType: string;
  /**
   * The shape of a model.
   *
   * @throws {FileError} If a key has the wrong type or is out of its range, or asks for something
   * that is not computed; the message names it.
   */
  readonly describe: (config: ConfigReader) => ModelShape;
}

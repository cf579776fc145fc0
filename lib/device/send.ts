/**
 * The copy of a tensor from one device to another.
 *
 * @module
 */
import { shapeText } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/**
 * Starts a copy between two devices of a kind, in the order of the ops of both: see `DeviceLink`.
 *
 * @throws {TypeError} If the dtypes differ, or the devices cannot reach each other.
 * @throws {RangeError} If the shapes differ, or rows lie apart.
 * @throws {DeviceError} If a device failed.
 */
export function sendTensor(tensors: { readonly from: Tensor; readonly to: Tensor }): void {
  const { from, to } = tensors;
  const links = [from.device.link, to.device.link] as const;
  if (links[0] === undefined || links[1] === undefined || from.dtype !== to.dtype) {
    throw new TypeError(
      `Cannot send tensor '${from.label}' as devices must have a link and dtypes must be equal: ` +
        `current value is ${from.device.kind} ${from.dtype} and ${to.device.kind} ${to.dtype}`,
    );
  }
  if (String(from.shape) !== String(to.shape)) {
    throw new RangeError(
      `Cannot send tensor '${from.label}' as its shape must be ${shapeText(to.shape)}: ` +
        `current value is ${shapeText(from.shape)}`,
    );
  }
  links[0].send(from, { link: links[1], target: to });
}

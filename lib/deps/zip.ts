/**
 * Zip archives, by the fflate package.
 *
 * @module
 */
export { unzipSync, zipSync } from "npm:fflate@0.8.3";

export function serveUser(_name: string, _options: unknown): Promise<number> {
  return Promise.resolve(1);
}

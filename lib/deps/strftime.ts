/**
 * Dates as Python's `strftime()` writes them in English: chat templates ask for today's by
 * `strftime_now(format)`.
 *
 * @module
 */
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  ...["January", "February", "March", "April", "May", "June", "July", "August"],
  ...["September", "October", "November", "December"],
];
const DAY_MS = 24 * 60 * 60 * 1000;

const two = (value: number) => `${value}`.padStart(2, "0");
const short = (name: string | undefined) => (name ?? "").slice(0, 3);

function dayOfYear(date: Date): number {
  const begin = Date.UTC(date.getFullYear(), 0, 1);
  return (Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - begin) / DAY_MS + 1;
}

/** What stands for each letter, in local time. */
const FIELDS: Readonly<Record<string, (date: Date) => string>> = {
  a: (date) => short(DAYS[date.getDay()]),
  A: (date) => DAYS[date.getDay()] ?? "",
  b: (date) => short(MONTHS[date.getMonth()]),
  B: (date) => MONTHS[date.getMonth()] ?? "",
  d: (date) => two(date.getDate()),
  e: (date) => `${date.getDate()}`.padStart(2),
  F: (date) => strftime(date, "%Y-%m-%d"),
  H: (date) => two(date.getHours()),
  I: (date) => two((date.getHours() + 11) % 12 + 1),
  j: (date) => `${dayOfYear(date)}`.padStart(3, "0"),
  m: (date) => two(date.getMonth() + 1),
  M: (date) => two(date.getMinutes()),
  p: (date) => date.getHours() < 12 ? "AM" : "PM",
  S: (date) => two(date.getSeconds()),
  T: (date) => strftime(date, "%H:%M:%S"),
  w: (date) => `${date.getDay()}`,
  y: (date) => two(date.getFullYear() % 100),
  Y: (date) => `${date.getFullYear()}`,
  "%": () => "%",
};

/**
 * A date in a format.
 *
 * @param format As in Python; a hyphen before a letter leaves zeros in front of a number out.
 * @throws {Error} If a letter is not known.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)(.?)/gsu, (all, hyphen: string, letter: string) => {
    const field = Object.hasOwn(FIELDS, letter) ? FIELDS[letter] : undefined;
    if (field === undefined) throw new Error(`strftime_now() does not know '${all}'`);
    const text = field(date);
    return hyphen === "" ? text : text.replace(/^[0 ]+(?=.)/, "");
  });
}

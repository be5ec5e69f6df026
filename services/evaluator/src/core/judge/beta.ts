/**
 * The regularized incomplete beta function I_x(a, b) for real a, b > 0, to about 1e-12 relative, also far out in its tails.
 *
 * Sources: continued fraction NIST DLMF 8.17.22 (https://dlmf.nist.gov/8.17.E22), evaluated by the modified Lentz method
 * (Thompson and Barnett 1986; DLMF 3.10(iii)); symmetry I_x(a, b) = 1 - I_{1-x}(b, a), DLMF 8.17.4; the factor
 * x^a (1-x)^b / B(a, b) through Stirling's series, DLMF 5.11.1, as in Didonato and Morris, ACM TOMS 708 (1992), so that
 * nothing cancels when a and b are large.
 */

/** The fraction needs about sqrt(max(a, b)) steps near the mean; more steps than this do not improve the value. */
const MAX_STEPS = 100_000;
const EPSILON = 2 ** -52;
const TINY = 1e-300;

/**
 * I_x(a, b).
 * @param x 0 to 1
 * @param y 1 - x, passed separately so that an x close to 1 loses no precision
 * @param a greater than 0
 * @param b greater than 0
 * @returns a probability, 0 to 1
 */
export function incompleteBeta(x: number, y: number, a: number, b: number): number {
  return lessStep(x, y, a, b, 0);
}

/** The mean of I_x(a, b) and I_x(a + 1, b), at the cost of one evaluation. Parameters and range as above. */
export function neighborMean(x: number, y: number, a: number, b: number): number {
  return lessStep(x, y, a, b, 1 / 2);
}

/** I_x(a, b) minus a share of the step from it to I_x(a + 1, b), which is x^a y^b / (a B(a, b)), DLMF 8.17.20. */
function lessStep(x: number, y: number, a: number, b: number, share: number): number {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  // The fraction converges quickly on this side of the mean; the symmetry maps the other side to it.
  const near = x <= (a + 1) / (a + b + 2);
  const factor = powerFactor(x, y, a, b);
  if (factor === 0) return near ? 0 : 1;
  const value = near
    ? (factor / a) * (continuedFraction(x, a, b) - share)
    : 1 - factor * (continuedFraction(y, b, a) / b + share / a);
  return Math.min(1, Math.max(0, value));
}

/** 1 / (1 + d1 / (1 + d2 / (1 + ...))), DLMF 8.17.22 and 8.17.23. */
function continuedFraction(x: number, a: number, b: number): number {
  let c = 1;
  let d = nonZero(1 - ((a + b) * x) / (a + 1));
  d = 1 / d;
  let h = d;
  for (let m = 1; m <= MAX_STEPS; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonZero(1 + even * d);
    c = nonZero(1 + even / c);
    h *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonZero(1 + odd * d);
    c = nonZero(1 + odd / c);
    const step = d * c;
    h *= step;
    if (Math.abs(step - 1) <= 2 * EPSILON) break;
  }
  return h;
}

function nonZero(value: number): number {
  return Math.abs(value) < TINY ? TINY : value;
}

/** x^a y^b / B(a, b) with x + y = 1. */
function powerFactor(x: number, y: number, a: number, b: number): number {
  const distance = x * b - y * a;
  // a ln(x / x0) + b ln(y / y0) with x0 = a / (a + b); the linear parts of the two logarithms cancel exactly and are omitted.
  const exponent = a * logMinusLinear(distance / a, (x * (a + b)) / a) + b * logMinusLinear(-distance / b, (y * (a + b)) / b);
  const remainder = stirlingRemainder(a + b) - stirlingRemainder(a) - stirlingRemainder(b);
  return Math.sqrt((a / (a + b)) * (b / (2 * Math.PI))) * Math.exp(exponent + remainder);
}

/** ln(1 + u) - u; `ratio` is 1 + u computed without loss when u is near -1. */
function logMinusLinear(u: number, ratio: number): number {
  if (Math.abs(u) > 0.1) return Math.log(ratio) - u;
  // -u^2/2 + u^3/3 - ...: log1p(u) - u itself would cancel here.
  let power = -u;
  let sum = 0;
  for (let k = 2; k <= 40; k++) {
    power *= -u;
    const term = -power / k;
    sum += term;
    if (Math.abs(term) <= EPSILON * Math.abs(sum)) break;
  }
  return sum;
}

/** ln Gamma(z) - ((z - 1/2) ln z - z + ln(2 pi) / 2), DLMF 5.11.1; raised by recurrence until the series is exact. */
function stirlingRemainder(z: number): number {
  let product = 1;
  let at = z;
  for (; at < 12; at++) product *= at;
  const raised = at === z ? 0 : (at - 0.5) * Math.log(at) - (z - 0.5) * Math.log(z) - Math.log(product) - (at - z);
  const r = 1 / (at * at);
  const series = 1 / 12 - r * (1 / 360 - r * (1 / 1260 - r * (1 / 1680 - r * (1 / 1188 - r * (691 / 360360 - r / 156)))));
  return raised + series / at;
}

/**
 * The addresses an outgoing call may reach. Neither a configured URL nor a name server may direct a service to a cloud metadata
 * service, to neighbors on the link, or to listeners on its own machine, unless the operator allows that host.
 * Private networks are allowed, because gateways, Prometheus and webhooks are there. Pure.
 */
import { BlockList, isIPv4, isIPv6 } from "node:net";

const METADATA_NAMES: ReadonlySet<string> = new Set([
  "metadata",
  "metadata.google.internal",
  "metadata.goog",
  "metadata.azure.com",
  "metadata.azure.internal",
  "metadata.tencentyun.com",
  "instance-data",
  "instance-data.ec2.internal",
]);

function blockList(...networks: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [address, bits] of networks) list.addSubnet(address, bits, isIPv4(address) ? "ipv4" : "ipv6");
  return list;
}

const LOOPBACK = blockList(["127.0.0.0", 8], ["::1", 128]);
const DENIED: readonly (readonly [string, BlockList])[] = [
  ["a link-local address", blockList(["169.254.0.0", 16], ["fe80::", 10])],
  [
    "a cloud metadata address",
    // Alibaba, Azure, Oracle; Amazon and Google over IPv6. Their common 169.254.169.254 is link-local.
    blockList(["100.100.100.200", 32], ["168.63.129.16", 32], ["192.0.0.192", 32], ["fd00:ec2::254", 128], ["fd20:ce::254", 128]),
  ],
  ["an unspecified address", blockList(["0.0.0.0", 8], ["::", 128])],
  ["a multicast or reserved address", blockList(["224.0.0.0", 3], ["ff00::", 8])],
  ["a tunnel address", blockList(["2001::", 32])],
];

/** The reason a host name must not be called, or undefined if it may be resolved. */
export function deniedName(name: string): string | undefined {
  return METADATA_NAMES.has(plainHost(name)) ? "a cloud metadata name" : undefined;
}

/**
 * The reason an IP address must not be called, or undefined. IPv4 addresses embedded in IPv6 (mapped, compatible, NAT64, 6to4)
 * are checked as IPv4.
 */
export function deniedAddress(address: string, loopback: boolean): string | undefined {
  const plain = plainHost(address);
  if (!isIPv4(plain) && !isIPv6(plain)) return "not an IP address";
  const family = isIPv4(plain) ? "ipv4" : "ipv6";
  if (LOOPBACK.check(plain, family)) return loopback ? undefined : "a loopback address";
  const denied = DENIED.find(([, list]) => list.check(plain, family));
  if (denied !== undefined) return denied[0];
  const inner = family === "ipv6" ? embeddedIpv4(plain) : undefined;
  return inner === undefined ? undefined : deniedAddress(inner, loopback);
}

/** A host in the form used for comparison: lower case, without brackets, zone and trailing dot. */
export function plainHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[|\]$/g, "")
    .replace(/%.*$/, "")
    .replace(/\.$/, "");
}

/** The IPv4 address embedded in an IPv6 address (RFC 4291 mapped and compatible, RFC 6052 and 8215 NAT64, RFC 3056 6to4). */
function embeddedIpv4(address: string): string | undefined {
  const words = ipv6Words(address);
  const [w0, w1, w2, w3, w4, w5, w6, w7] = words;
  if (w0 === undefined || w1 === undefined || w2 === undefined || w6 === undefined || w7 === undefined) return undefined;
  const leadingZeros = w0 === 0 && w1 === 0 && w2 === 0 && w3 === 0;
  const nat64 = w0 === 0x64 && w1 === 0xff9b;
  if ((leadingZeros && ((w4 === 0 && (w5 === 0 || w5 === 0xffff)) || (w4 === 0xffff && w5 === 0))) || nat64)
    return dotted(w6, w7);
  return w0 === 0x2002 ? dotted(w1, w2) : undefined;
}

/** The eight 16-bit words of a valid IPv6 address; the URL parser has already normalized it. */
function ipv6Words(address: string): number[] {
  const [head = "", tail] = plainHost(new URL(`http://[${address}]/`).hostname).split("::");
  const words = (text: string): number[] => (text === "" ? [] : text.split(":").map((word) => Number.parseInt(word, 16)));
  if (tail === undefined) return words(head);
  const [front, back] = [words(head), words(tail)];
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back];
}

function dotted(high: number, low: number): string {
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

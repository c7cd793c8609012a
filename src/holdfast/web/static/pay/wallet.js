/* A wallet in the browser (EIP-1193, found at window.ethereum or by EIP-6963). It holds the keys and asks its owner;
   this page sees addresses, what a token says of itself, and signatures. */

const announced = [];
addEventListener("eip6963:announceProvider", (event) => announced.push(event.detail.provider));
dispatchEvent(new Event("eip6963:requestProvider"));

const provider = () => window.ethereum ?? announced[0] ?? null;

export const found = () => provider() !== null;

function refused(error) {
  if (error?.code === 4001) return { code: "wallet.refused", message: "You said no in the wallet", hint: "Nothing was signed" };
  return { code: "wallet.failed", message: `The wallet says: ${String(error?.message ?? error).slice(0, 200)}`, hint: "" };
}

async function request(method, params = []) {
  try {
    return await provider().request({ method, params });
  } catch (error) {
    throw refused(error);
  }
}

/** The address that the wallet's owner lets this page see. */
export async function connect() {
  const [address] = await request("eth_requestAccounts");
  if (!/^0x[0-9a-fA-F]{40}$/.test(address ?? "")) throw refused("it names no account");
  return address.toLowerCase();
}

/** The address that is known already, without asking anybody. */
export async function known() {
  if (!found()) return null;
  const [address] = await request("eth_accounts");
  return address ? address.toLowerCase() : null;
}

const UNKNOWN_CHAIN = 4902;

/** Have the wallet on this chain; a wallet signs for the chain it is on alone. `rpc` is where a development chain is
    reached, for a wallet that does not know it. */
export async function beOn(chainId, rpc = "") {
  if (Number(await request("eth_chainId")) === chainId) return;
  const chain = { chainId: `0x${chainId.toString(16)}` };
  try {
    await provider().request({ method: "wallet_switchEthereumChain", params: [chain] });
  } catch (error) {
    if (error?.code !== UNKNOWN_CHAIN || !rpc) throw refused(error);
    const coin = { name: "Ether", symbol: "ETH", decimals: 18 };
    await request("wallet_addEthereumChain", [{ ...chain, chainName: `Development ${chainId}`, rpcUrls: [rpc], nativeCurrency: coin }]);
  }
  if (Number(await request("eth_chainId")) !== chainId)
    throw { code: "wallet.chain", message: `The wallet is on another chain than ${chainId}`, hint: "Add that chain to the wallet and choose it" };
}

/** An EIP-712 signature, 65 bytes in hex. */
export async function sign(address, typed) {
  const signature = await request("eth_signTypedData_v4", [address, JSON.stringify(typed)]);
  if (!/^0x[0-9a-fA-F]{130}$/.test(signature ?? "")) throw refused("what it gave is no signature");
  return signature;
}

const word = (address) => address.slice(2).padStart(64, "0");
const ask = (token, data) => request("eth_call", [{ to: token, data }, "latest"]);
const number = (answer) => BigInt(answer === "0x" ? 0 : answer);

export const balance = async (token, owner) => number(await ask(token, `0x70a08231${word(owner)}`));
export const allowance = async (token, owner, spender) => number(await ask(token, `0xdd62ed3e${word(owner)}${word(spender)}`));
export const nonces = async (token, owner) => number(await ask(token, `0x7ecebe00${word(owner)}`));

/** What a token says of itself: `{symbol, decimals}`. Its own word. */
export async function describe(token) {
  const [name, decimals] = await Promise.all([ask(token, "0x95d89b41"), ask(token, "0x313ce567")]);
  const size = Number(BigInt(`0x${name.slice(66, 130)}`));
  const bytes = (name.slice(130, 130 + 2 * Math.min(size, 32)).match(/../g) ?? []).map((pair) => parseInt(pair, 16));
  const symbol = new TextDecoder().decode(Uint8Array.from(bytes)).replace(/[^\x20-\x7e]/g, "");
  const places = Number(number(decimals));
  if (!symbol || places > 36) throw refused("the token does not describe itself");
  return { symbol, decimals: places };
}

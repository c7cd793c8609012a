/* A key of a memory that follows from a passkey (spec/memory.md §8(7)): WebAuthn's `prf` extension gives 32 bytes that
   only this credential gives, HKDF makes of them a key like any other. Nothing of it is stored: each time it is made
   anew. What stands in the way is said in words. */

const NAME = new TextEncoder().encode("holdfast/memory/passkey/v1");
const ALGORITHMS = [-8, -7, -257];
const ID_BYTES = 8;
const SECRET_BYTES = 32;

const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const challenge = () => crypto.getRandomValues(new Uint8Array(32));

const prf = () => ({ prf: { eval: { first: NAME } } });

const NO_PRF = {
  code: "page.passkey_prf",
  message: "this passkey derives no secrets, so it opens nothing",
  hint: "it takes an authenticator and a browser with the PRF extension; your key and passphrase open the rows as before",
};

/** A new passkey for this user; the key that follows from it. */
export async function addPasskey(user) {
  const made = await attempt(() =>
    navigator.credentials.create({
      publicKey: {
        challenge: challenge(),
        rp: { name: "Holdfast" },
        user: { id: new TextEncoder().encode(user), name: user, displayName: `Memory ${user}` },
        pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: "public-key", alg })),
        authenticatorSelection: { residentKey: "required", userVerification: "required" },
        extensions: prf(),
      },
    }),
  );
  const found = made.getClientExtensionResults().prf;
  if (!found?.enabled) throw NO_PRF;
  // Some authenticators derive nothing while a credential is made: then it is asked once more.
  return found.results?.first ? derive(found.results.first) : passkeyKey(made.rawId);
}

/** The key of a passkey that somebody chooses, or of the one with this id. */
export async function passkeyKey(id = null) {
  const given = await attempt(() =>
    navigator.credentials.get({
      publicKey: {
        challenge: challenge(),
        userVerification: "required",
        allowCredentials: id ? [{ type: "public-key", id }] : [],
        extensions: prf(),
      },
    }),
  );
  const first = given.getClientExtensionResults().prf?.results?.first;
  if (!first) throw NO_PRF;
  return derive(first);
}

async function derive(secret) {
  const base = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: NAME };
  const bytes = new Uint8Array(await crypto.subtle.deriveBits(how, base, 8 * (ID_BYTES + SECRET_BYTES)));
  return `hfm_${hex(bytes.subarray(0, ID_BYTES))}.${base64url(bytes.subarray(ID_BYTES))}`;
}

/* What a browser refuses, by the name of its error. */
const WHY = {
  SecurityError: ["passkeys belong to a name, and this address is none they can belong to", "open this page as https:// with a host name, or as http://localhost"],
  NotAllowedError: ["no passkey was given", "it was cancelled, took too long, or there is none for this address"],
  InvalidStateError: ["this authenticator has a passkey of yours for this address already", "use it, or another authenticator"],
  NotSupportedError: ["this authenticator cannot hold such a passkey", "use another, or a key or passphrase"],
};

async function attempt(does) {
  if (!window.PublicKeyCredential || !navigator.credentials)
    throw { code: "page.passkey", message: "this browser has no passkeys here", hint: "it takes a secure address: https://, or http://localhost" };
  try {
    return await does();
  } catch (error) {
    const [message, hint] = WHY[error.name] ?? [`the browser refused: ${error.message}`, "use a key or your passphrase"];
    throw { code: "page.passkey", message, hint };
  }
}

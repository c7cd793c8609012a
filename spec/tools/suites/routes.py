"""routes: which policies are none, and whom a request may be taken to under those that are (routes.md)."""

from __future__ import annotations

from typing import Any

from reference import routes
from reference.cases import Writer
from reference.text import jcs


def upstream(code: str, **more: Any) -> dict[str, Any]:
    """An upstream as it is known before anything is sent."""
    plain = {
        "code": code,
        "label": "small",
        "provider_model": "small-1",
        "enclave": False,
        "artifact": None,
        "jurisdiction": None,
        "most_usd": None,
    }
    return {**plain, **more}


EU = upstream("eu-host", jurisdiction="eu", most_usd="0.01")
US = upstream("us-host", jurisdiction="us", most_usd="0.002")
BARE = upstream("bare")
INSIDE = upstream("inside", enclave=True, artifact="ab" * 32, most_usd="0")
ALL = [EU, US, BARE, INSIDE]


def write(out: Writer) -> None:
    """Write the suite."""

    def case(
        name: str,
        why: str,
        policies: list[Any],
        expected: list[str] | str,
        *,
        starts: list[dict[str, Any]] = ALL,
        follow: list[dict[str, Any]] = ALL,
        section: str = "§4",
    ) -> None:
        code = expected if isinstance(expected, str) else None
        if code in (None, "route.policy"):
            found = routes.order(policies, starts, follow)
            if found != (expected if code is None else []):
                raise SystemExit(f"routes/{name}: the reference says {found}")
        value = {"policies": policies, "starts": starts, "follow": follow}
        out.case(
            f"routes/{name}",
            why,
            spec=f"routes.md {section}",
            run=["decide-route", "route.json"],
            expect="accept" if code is None else "reject" if code == "route.policy" else "malformed",
            code=code,
            bug=None if code is None else "WRONG_ROUTE" if code == "route.policy" else "MALFORMED_POLICY",
            files={"route.json": jcs(value)},
            result=None if code is not None else {"order": list(expected)},
        )

    everybody = ["eu-host", "us-host", "bare", "inside"]
    case("no-policy", "Nothing is restricted.", [], everybody)
    case("empty-policy", "A policy that says nothing restricts nothing.", [{}], everybody)
    case("allowed-providers", "Two are named.", [{"providers": {"allow": ["us-host", "bare"]}}], ["us-host", "bare"])
    case("denied-provider", "The first is not turned to, so the second is no fallback.",
         [{"providers": {"deny": ["eu-host"]}, "fallback": "none"}], ["us-host"])  # fmt: skip
    case("nobody-is-allowed", "An empty list allows nobody.", [{"providers": {"allow": []}}], "route.policy")
    case(
        "allowed-model-of-one-provider", "The model by its provider.", [{"models": {"allow": ["bare:small"]}}], ["bare"]
    )
    case("denied-by-the-providers-name", "By what the provider calls it.",
         [{"models": {"deny": ["eu-host:small-1", "us-host:small-1"]}}], ["bare", "inside"])  # fmt: skip
    case("denied-model", "The label, wherever it is.", [{"models": {"deny": ["small"]}}], "route.policy")
    case("no-fallback", "One, and nobody after it.", [{"fallback": "none"}], ["eu-host"])
    case("named-fallback", "Nobody after it but one.", [{"fallback": ["inside"]}], ["eu-host", "inside"])
    case("enclave-alone", "Plaintext stays in the enclave.", [{"plaintext": "enclave"}], ["inside"])
    case("no-enclave", "Nobody here is in one: refused, and not sent anyway.", [{"plaintext": "enclave"}],
         "route.policy", starts=[EU, US])  # fmt: skip
    case("enclave-does-not-fall-out", "The fallback would see the plaintext outside.", [{"plaintext": "enclave"}],
         ["inside"], starts=[INSIDE], follow=[EU])  # fmt: skip
    case("jurisdiction", "By its operator's word.", [{"jurisdictions": ["us"]}], ["us-host"])
    case("undeclared-jurisdiction", "Where nothing is declared, it is in none.", [{"jurisdictions": ["eu"]}],
         "route.policy", starts=[BARE])  # fmt: skip
    case("maximum-price", "What costs more is refused.", [{"max_usd": "0.005"}], ["us-host", "inside"])
    case("at-the-maximum", "As much as that is not more.", [{"max_usd": "0.01"}], ["eu-host", "us-host", "inside"])
    case("no-price", "What has no price costs too much.", [{"max_usd": "1000"}], "route.policy", starts=[BARE])
    case("same-artifact", "The label still means it.", [{"same_artifact": "ab" * 32}], ["inside"])
    case("another-artifact", "The label means another one now.", [{"same_artifact": "cd" * 32}], "route.policy",
         starts=[INSIDE])  # fmt: skip
    case("unknown-artifact", "Nobody knows which bytes a provider runs.", [{"same_artifact": "ab" * 32}],
         "route.policy", starts=[EU])  # fmt: skip
    narrow, wide = {"providers": {"allow": ["bare"]}}, {"providers": {"allow": ["bare", "eu-host"]}}
    case("a-request-cannot-widen", "The workspace names one; the request names two.", [narrow, wide], ["bare"],
         section="§2")  # fmt: skip
    case("a-request-can-narrow", "The other way round.", [wide, narrow], ["bare"], section="§2")
    case("nothing-in-common", "Each allows somebody, together they allow nobody.",
         [narrow, {"providers": {"allow": ["eu-host"]}}], "route.policy", section="§2")  # fmt: skip
    case("fallback-of-both", "Each names one; neither names the other's.",
         [{"fallback": ["us-host"]}, {"fallback": ["bare"]}], ["eu-host"], section="§2")  # fmt: skip

    for name, why, policy in (
        ("unknown-member", "A rule that nobody knows would be no rule.", {"fallbacks": "none"}),
        ("misspelt-plaintext", "anywhere or enclave.", {"plaintext": "tee"}),
        ("null-is-not-absent", "Null is not absent.", {"jurisdictions": None}),
        ("providers-as-list", "allow or deny has to be said.", {"providers": ["eu-host"]}),
        ("provider-is-a-url", "A provider is a code.", {"providers": {"allow": ["https://eu.example"]}}),
        ("named-twice", "A list names each once.", {"providers": {"deny": ["eu-host", "eu-host"]}}),
        ("fallback-as-boolean", "allowed, none or names.", {"fallback": False}),
        ("retries-without-end", "At most five.", {"retries": 6}),
        ("retries-as-boolean", "true is not 1.", {"retries": True}),
        ("shown-after-nothing", "At least one lane.", {"show_after": {"lanes": []}}),
        ("shown-after-a-verdict", "A lane has a state; there is no verdict.", {"show_after": {"lanes": ["verified"]}}),
    ):
        case(name, why, [policy], "route.fields", section="§1")
    case("price-with-a-sign", "A price is a decimal.", [{"max_usd": "-1"}], "pricing.decimal", section="§1")
    case("artifact-by-name", "An artifact is a digest.", [{"same_artifact": "small"}], "encoding.hex", section="§1")

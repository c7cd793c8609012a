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
    kept(out)

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


def kept(out: Writer) -> None:
    """routes.md §7: a route held against the policies that it names."""

    def attempt(upstream: str, why: str, end: str = "served") -> dict[str, Any]:
        return {"upstream": upstream, "why": why, "end": end, "sent": True}

    down = "upstream.unreachable"
    one, two = [attempt("a", "first")], [attempt("a", "first", down), attempt("b", "fallback")]
    again = [attempt("a", "first", down), attempt("a", "retry", down), attempt("a", "retry")]

    def case(
        name: str,
        why: str,
        policy: Any,
        answers: list[list[str]] | None,
        code: str | None = None,
        *,
        document: str | None = None,
        **more: Any,
    ) -> None:
        attempts = more.pop("attempts", one)
        value = {
            "upstream": attempts[-1]["upstream"] if attempts else more.get("upstream", "a"),
            "attempts": attempts,
            "fallback_from": [],
            "label": "small",
            "provider_model": "small-1",
            "artifact": None,
            "answered": True,
            **more,
        }
        whole = {"type": "urn:holdfast:route-policy:v1", "policies": [{"by": "request", "policy": policy}]}
        value["document"] = jcs(whole).decode() if document is None else document
        expect = "accept" if code is None else "reject" if code == "route_policy.broken" else "malformed"
        out.case(
            f"routes/kept-{name}",
            why,
            spec="routes.md §7",
            run=["keep-route-policy", "route.json"],
            expect=expect,
            code=code,
            bug=None if code is None else "WRONG_ROUTE" if expect == "reject" else "MALFORMED_POLICY",
            result=None if answers is None else {"rules": [["request", *answer] for answer in answers]},
            files={"route.json": jcs(value)},
        )

    broken, broke = "route_policy.broken", "The gateway's own account breaks what its caller had forbidden."
    allow, deny = {"providers": {"allow": ["a"]}}, {"providers": {"deny": ["b"]}}
    case(
        "providers",
        "Both sides hold.",
        {"providers": {"allow": ["a", "b"], "deny": ["c"]}},
        [["providers.allow", "yes"], ["providers.deny", "yes"]],
        attempts=two,
    )
    case("providers-not-allowed", broke, allow, [["providers.allow", "no"]], broken, attempts=two)
    case("providers-denied", broke, deny, [["providers.deny", "no"]], broken, attempts=two)
    case(
        "providers-denied-that-failed",
        broke,
        {"providers": {"deny": ["a"]}},
        [["providers.deny", "no"]],
        broken,
        attempts=two,
    )
    case(
        "nobody-turned-to",
        "A run that failed before anybody was asked broke nothing.",
        {"providers": {"allow": []}, "jurisdictions": ["eu"]},
        [["providers.allow", "yes"], ["jurisdictions", "yes"]],
        attempts=[],
        answered=False,
    )
    case(
        "no-attempts-told",
        "After a crash, whom it went to is what the route has.",
        deny,
        [["providers.deny", "yes"]],
        attempts=None,
        fallback_from=["c"],
        upstream="a",
    )
    case(
        "no-attempts-told-and-denied",
        broke,
        deny,
        [["providers.deny", "no"]],
        broken,
        attempts=None,
        fallback_from=["b"],
        upstream="a",
    )
    case(
        "models",
        "By its label, by its label there, by what the provider calls it.",
        {"models": {"allow": ["a:small-1"], "deny": ["b:small"]}},
        [["models.allow", "yes"], ["models.deny", "yes"]],
    )
    case("models-not-allowed", broke, {"models": {"allow": ["large"]}}, [["models.allow", "no"]], broken)
    case("models-denied", broke, {"models": {"deny": ["a:small"]}}, [["models.deny", "no"]], broken)
    case(
        "models-not-shown",
        "Without the request nobody can tell.",
        {"models": {"allow": ["large"], "deny": ["a:tiny"]}},
        [["models.allow", "cannot_tell"], ["models.deny", "cannot_tell"]],
        label=None,
        provider_model=None,
    )
    case(
        "models-half-shown",
        "One name is enough where it settles the rule.",
        {"models": {"allow": ["small"]}},
        [["models.allow", "yes"]],
        provider_model=None,
    )
    case("fallback-none", "Nobody followed.", {"fallback": "none"}, [["fallback", "yes"]], attempts=again)
    case("fallback-none-broken", broke, {"fallback": "none"}, [["fallback", "no"]], broken, attempts=two)
    case("fallback-named", "The one that followed is named.", {"fallback": ["b"]}, [["fallback", "yes"]], attempts=two)
    case("fallback-another", broke, {"fallback": ["c"]}, [["fallback", "no"]], broken, attempts=two)
    case(
        "fallback-without-attempts",
        broke,
        {"fallback": ["c"]},
        [["fallback", "no"]],
        broken,
        attempts=None,
        fallback_from=["c"],
        upstream="a",
    )
    case("retries", "Twice.", {"retries": 2}, [["retries", "yes"]], attempts=again)
    case("retries-too-many", broke, {"retries": 1}, [["retries", "no"]], broken, attempts=again)
    case(
        "retries-not-told",
        "A skipped check is never a pass.",
        {"retries": 1},
        [["retries", "cannot_tell"]],
        attempts=None,
        upstream="a",
    )
    case(
        "artifact",
        "The node computed with it.",
        {"same_artifact": "ab" * 32},
        [["same_artifact", "yes"]],
        artifact="ab" * 32,
    )
    case("artifact-another", broke, {"same_artifact": "ab" * 32}, [["same_artifact", "no"]], broken, artifact="cd" * 32)
    case("artifact-of-a-provider", broke, {"same_artifact": "ab" * 32}, [["same_artifact", "no"]], broken)
    case(
        "artifact-without-answer",
        "Nothing was computed.",
        {"same_artifact": "ab" * 32},
        [["same_artifact", "cannot_tell"]],
        answered=False,
    )
    case(
        "what-no-route-says",
        "A skipped check is never a pass.",
        {"plaintext": "enclave", "jurisdictions": ["eu"], "max_usd": "1"},
        [["plaintext", "cannot_tell"], ["jurisdictions", "cannot_tell"], ["max_usd", "cannot_tell"]],
    )
    case("nothing-asked", "A policy of no rule is kept.", {}, [])
    why = "What is no policy could be read as one that allows everything."
    case(
        "empty-document",
        why,
        {},
        None,
        "route.fields",
        document='{"policies":[],"type":"urn:holdfast:route-policy:v1"}',
    )
    case(
        "another-type",
        why,
        {},
        None,
        "route.fields",
        document='{"policies":[{"by":"request","policy":{}}],"type":"urn:holdfast:route-policy:v2"}',
    )
    case(
        "a-stranger",
        why,
        {},
        None,
        "route.fields",
        document='{"policies":[{"by":"operator","policy":{}}],"type":"urn:holdfast:route-policy:v1"}',
    )
    case(
        "in-another-order",
        why,
        {},
        None,
        "route.fields",
        document='{"policies":[{"by":"request","policy":{}},{"by":"workspace","policy":{}}],"type":"urn:holdfast:route-policy:v1"}',
    )
    case(
        "unknown-rule",
        why,
        {},
        None,
        "route.fields",
        document='{"policies":[{"by":"request","policy":{"quiet":true}}],"type":"urn:holdfast:route-policy:v1"}',
    )
    case(
        "loose-spelling",
        why,
        {},
        None,
        "json.spelling",
        document='{"type":"urn:holdfast:route-policy:v1","policies":[{"by":"request","policy":{}}]}',
    )

"""Route policies by the text of routes.md: how one is read, and who may be turned to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def refusals(policies: list[dict[str, Any]], candidate: dict[str, Any]) -> int:
    """How many rules of all policies refuse an upstream (§1)."""
    code, label = candidate["code"], candidate["label"]
    names = {label, f"{code}:{label}", f"{code}:{candidate['provider_model']}"}
    count = 0
    for policy in policies:
        providers, models = policy.get("providers", {}), policy.get("models", {})
        most, card = policy.get("max_usd"), candidate["most_usd"]
        count += sum(
            [
                "allow" in providers and code not in providers["allow"],
                code in providers.get("deny", []),
                "allow" in models and not names & set(models["allow"]),
                bool(names & set(models.get("deny", []))),
                policy.get("plaintext") == "enclave" and not candidate["enclave"],
                "same_artifact" in policy and policy["same_artifact"] != candidate["artifact"],
                "jurisdictions" in policy and candidate["jurisdiction"] not in policy["jurisdictions"],
                most is not None and (card is None or Decimal(card) > Decimal(most)),
            ]
        )
    return count


def order(policies: list[dict[str, Any]], starts: list[dict[str, Any]], follow: list[dict[str, Any]]) -> list[str]:
    """Codes in the only order in which they may be turned to (§4); empty where the request is refused."""
    allowed = [item["code"] for item in starts if not refusals(policies, item)]
    if not allowed:
        return []
    found = allowed[:1]
    for item in follow:
        kept = all(
            policy.get("fallback", "allowed") == "allowed"
            or (policy["fallback"] != "none" and item["code"] in policy["fallback"])
            for policy in policies
        )
        if kept and not refusals(policies, item) and item["code"] not in found:
            found.append(item["code"])
    return found

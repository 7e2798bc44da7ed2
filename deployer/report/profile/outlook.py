"""What a profile may take, said before anything is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.manifest.configuration import Configuration
from deployer.manifest.profile import ProfileSpec
from deployer.manifest.quantities import format_duration
from deployer.profile.pricing import PriceTag
from deployer.report.profile.text import slo_words


def outlook_text(spec: ProfileSpec, prices: Mapping[Configuration, PriceTag], warnings: Sequence[str] = ()) -> str:
    """Say what will be tried where, at most how long and for how much, and what is known to stand in the way."""
    profile, count = spec.profile, len(spec.configurations)
    costs = [prices[each].usd_per_hour * each.instance_count for each in spec.configurations]
    sources = dict.fromkeys(f"{each.instance_type or 'an instance'}: {prices[each]}" for each in spec.configurations)
    budget = f"at most {format_duration(profile.budget.time)}"
    if profile.budget.usd is not None:
        budget += f" and ${profile.budget.usd:,.2f}"
    slo = slo_words(profile.slo.model_dump(mode="json", exclude_none=True))
    what = "1 candidate" if count == 1 else f"{count} candidates"
    where = f"{what} on test endpoint {spec.endpoint.name} ({profile.platform.type.value}), one at a time"
    said = [
        f"{where}, ${min(costs):,.4g} to ${max(costs):,.4g} an hour each.",
        f"Wanted: {spec.rate:g} rps (peak {profile.peak_rps:g} and headroom) within {slo}.",
        f"It takes {budget}; everything that is made is removed at the end.",
    ]
    if profile.platform.type.value != "local":
        said += [f"  {each}" for each in sources]
    said += [f"  note: {each}" for each in warnings]
    return "\n".join(said)

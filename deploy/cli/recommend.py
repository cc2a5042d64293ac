"""``atelier recommend``: what to buy or rent for so many users, and what to serve on it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deploy.catalog import Use, load_catalog, parse_gpus
from deploy.cli.models import UseName
from deploy.cli.options import JsonOption, PageOption
from deploy.cli.output import print_json
from deploy.cost import Rates

RATES = Rates()


class WorkName(StrEnum):
    """What users do with it."""

    AGENTS = "agents"
    CHAT = "chat"
    COMPLETION = "completion"


def recommend(  # noqa: PLR0913, PLR0917  one parameter per option
    users: Annotated[int, typer.Option(help="People who use it; all may ask at once.")],
    gpus: Annotated[
        str | None,
        typer.Option(
            help="GPUs that you have, e.g. '2x l40s'; by default all that can be bought or rented."
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="EUR", help="The most to pay for GPUs; rent counts over --years."),
    ] = None,
    budget_per_month: Annotated[
        float | None, typer.Option(metavar="EUR", help="The most it may cost a month.")
    ] = None,
    use: Annotated[
        UseName, typer.Option(help="What it is for; decides which licences are possible.")
    ] = UseName.INTERNAL_COMMERCIAL,
    context: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a request; by default agents 65536, chat 8192, completion 1024."
        ),
    ] = None,
    work: Annotated[WorkName, typer.Option(help="What users do.")] = WorkName.AGENTS,
    with_completion: Annotated[
        bool,
        typer.Option("--with-completion", help="A small model completes code on the same GPUs."),
    ] = False,
    years: Annotated[
        float, typer.Option(help="Years over which bought GPUs are paid.")
    ] = RATES.years,
    eur_per_kwh: Annotated[
        float, typer.Option(metavar="EUR", help="Price of electricity.")
    ] = RATES.eur_per_kwh,
    utilization: Annotated[
        float, typer.Option(help="Share of all hours at full load; 0.2 is about working hours.")
    ] = RATES.utilization,
    saas_eur_per_million_tokens: Annotated[
        float | None, typer.Option(metavar="EUR", help="Price of a service to compare with.")
    ] = None,
    html: PageOption = None,
    json: JsonOption = False,
) -> None:
    """Recommend GPUs and a model for so many users, side by side with the alternatives."""
    from deploy.cli.recommend_page import write_recommendation_page
    from deploy.cli.recommend_text import print_recommendation
    from deploy.recommend import RecommendRequest, recommendation_to_json
    from deploy.recommend import recommend as find_recommendation

    catalog = load_catalog()
    request = RecommendRequest(
        users=users,
        gpus=() if gpus is None else parse_gpus(gpus, catalog),
        use=Use(use.value.replace("-", "_")),
        work=work.value,
        with_completion=with_completion,
        context_tokens=context,
        budget_eur=budget,
        budget_eur_per_month=budget_per_month,
        rates=Rates(years=years, eur_per_kwh=eur_per_kwh, utilization=utilization),
        saas_eur_per_million_tokens=saas_eur_per_million_tokens,
    )
    answer = find_recommendation(request, catalog)
    if html is not None:
        write_recommendation_page(html, answer, catalog)
    if json:
        print_json(recommendation_to_json(answer))
    else:
        print_recommendation(answer)

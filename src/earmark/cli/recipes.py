"""The verb `recipes`: what can be trained, and with which settings."""

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this recipe with all its settings, as TOML.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="Override one setting: section.key=value.")
    ] = None,
) -> None:
    """List the recipes, or print one with every setting resolved."""
    from earmark.training.recipe import DEFAULT_RECIPE, list_recipes, load_recipe, to_toml

    if name is not None:
        typer.echo(to_toml(load_recipe(name, overrides or ())), nl=False)
        return
    for recipe, description in list_recipes().items():
        typer.echo(f"{recipe:<12} {description}{' (default)' if recipe == DEFAULT_RECIPE else ''}")
    typer.echo("Every setting of one: earmark recipes NAME")

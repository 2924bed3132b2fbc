"""The verb `serve`: a model as a page and a service."""

from typing import Annotated

import typer

from earmark.cli.console import waiting
from earmark.cli.predicting import Model


def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any that is free.")] = 8000,
    token: Annotated[
        str, typer.Option(envvar="EARMARK_TOKEN", show_envvar=True, help="Answer only those who send this token.")
    ] = "",
    max_body_mb: Annotated[float, typer.Option("--max-body-mb", min=0.001, help="Largest request, megabytes.")] = 100.0,
    max_duration_s: Annotated[
        float, typer.Option("--max-duration-s", min=0.1, help="Longest sound in a request, seconds.")
    ] = 3600.0,
) -> None:
    """Open a page to drop sounds on, with a REST and WebSocket service behind it."""
    with waiting("Loading"):
        from earmark.errors import ServiceError
        from earmark.inference.classifier import Classifier

        try:
            from earmark.serving.app import build_app
            from earmark.serving.server import is_loopback, name_url, open_socket, run_server
            from earmark.serving.service import Service, name_model
        except ModuleNotFoundError as error:
            raise ServiceError(
                f'The service needs {error.name}, which is not installed: pip install "earmark[serve]".'
            ) from error
        from earmark.serving.limits import Limits

    with open_socket(host, port) as listening:
        classifier = Classifier.from_pretrained(model)
        limits = Limits(max_body_mb=max_body_mb, max_duration_s=max_duration_s)
        service = Service(classifier, name=name_model(model), limits=limits, token=token)
        if not token and not is_loopback(listening):
            typer.echo(
                "earmark: whoever can reach this machine can use the service; --token keeps others out.", err=True
            )
        run_server(
            build_app(service), listening, lambda: typer.echo(f"{model}: {name_url(listening)} (Ctrl+C ends it)")
        )
